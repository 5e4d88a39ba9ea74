"""A run of seconds, as overrides of a command."""

FAST_TRANSFER = ["model.generator.width=4", "model.style_size_px=32"]
TINY = [
    *FAST_TRANSFER,
    "dataset=procedural",
    "dataset.store.count=12",
    "dataset.store.size_px=48",
    "dataset.size_px=32",
    "dataset.flip=true",
    "encoder=squeezenet",
    "encoder.weights=random",
    "encoder.normalize=false",
    "budget.batches=6",
    "budget.evaluate_every=3",
    "budget.validation_images=2",
    "samples=2",
    "logger.every_n_batches=2",
]
