"""The classifier of a labeled source that is tested on a target: training, strategies, and what is left of a run."""

TINY = [
    "model=classifier", "dataset=procstyle", "dataset.store.size_px=32", "dataset.source=photo", "dataset.size_px=32",
    "dataset.store.train_images=24",
    "model.network.width=4", "budget.validation_images=4", "samples=2", "logger.every_n_batches=2",
]  # fmt: skip
