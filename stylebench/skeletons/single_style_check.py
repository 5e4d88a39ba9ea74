"""MyMethod: it learns, and only its generator does."""

from typing import Any

import torch

from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose

TINY = [  # a run of seconds
    "dataset=procstyle", "dataset.store.size_px=32", "dataset.store.train_images=8", "dataset.store.val_images=4",
    "dataset.store.test_images=4", "metrics.scenes=0", "model.generator.width=4",
]  # fmt: skip


def built(*overrides: str) -> tuple[Any, Any]:
    """Build the method and its first batch."""
    config = compose("train", ["model=my_method", *TINY, *overrides])
    torch.manual_seed(0)
    data = build_data(config, open_data(config))
    return build_method(config, data), data.task.finish(data.task.batch(0))


def step(method: Any, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    """Take one step of training, without a trainer; return the loss."""
    loss = method.training_step(batch, 0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_my_method_overfits_one_batch() -> None:
    method, batch = built()
    optimizer = method.configure_optimizers()
    losses = [step(method, optimizer, batch) for _ in range(31)]
    assert losses[30] < 0.7 * losses[0]


def test_only_the_generator_learns() -> None:
    method, batch = built()
    step(method, method.configure_optimizers(), batch)
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"model"}
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_an_output_that_is_the_content_has_no_content_loss() -> None:
    method, batch = built()
    method.model.generator = torch.nn.Identity()
    method.training_step(batch, 0)
    assert float(method.latest["train"]["train/loss/content"]) == 0.0
