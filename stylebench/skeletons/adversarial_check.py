"""MyMethod: its players move in turn, each by its own loss, and the generator learns."""

from typing import Any

import torch

from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose

TINY = [  # a run of seconds
    "dataset=procstyle", "dataset.store.size_px=32", "dataset.store.train_images=8", "dataset.store.val_images=4",
    "dataset.store.test_images=4", "metrics.scenes=0", "model.generator.width=4", "model.discriminator.width=4",
    "model.discriminator.receptive_field_px=16",
]  # fmt: skip


def built(*overrides: str) -> tuple[Any, Any]:
    """Build the method and its first batch."""
    config = compose("train", ["model=my_method", *TINY, *overrides])
    torch.manual_seed(0)
    data = build_data(config, open_data(config))
    return build_method(config, data), data.task.finish(data.task.batch(0))


def train(method: Any, batch: Any, steps: int) -> list[tuple[str, ...]]:
    """Take steps of training on one batch, without a trainer; return who moved, in their order."""
    optimizers = dict(zip(method.players, method.configure_optimizers(), strict=True))
    moved = []

    def step(players: tuple[str, ...], loss: Any, clip_norm: float | None) -> None:
        for player in players:
            optimizers[player].zero_grad()
        loss.backward()
        for player in players:
            optimizers[player].step()
        moved.append(players)

    with method.stepping_by(step):
        for number in range(steps):
            method.training_step(batch, number)
    return moved


def test_the_discriminator_moves_then_the_generator() -> None:
    method, batch = built()
    before = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    assert train(method, batch, 2) == [("discriminator",), ("generator",)] * 2
    changed = {
        name.split(".")[0] for name, weight in method.named_parameters() if not torch.equal(weight, before[name])
    }
    assert changed == {"model", "discriminator"}


def test_my_method_overfits_one_batch_where_images_must_stay() -> None:
    method, batch = built("model.weight_gan=0")
    train(method, batch, 1)
    first = float(method.latest["train"]["train/loss/generator_stay"])
    train(method, batch, 30)
    assert float(method.latest["train"]["train/loss/generator_stay"]) < 0.7 * first


def test_an_output_that_is_the_input_did_not_change() -> None:
    method, batch = built()
    method.model.generator = torch.nn.Conv2d(3, 3, 1, bias=False)
    torch.nn.init.dirac_(method.model.generator.weight)
    train(method, batch, 1)
    assert float(method.latest["train"]["train/loss/generator_stay"]) == 0.0
