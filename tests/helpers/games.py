"""Toy games of players: who moves, and what is left."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stylebench.methods.base import Method

SGD = partial(torch.optim.SGD, lr=0.1)


class TwoPlayers(Method):
    """A toy game: both players move once a batch, the first clipped."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {"first": ("first",), "second": ("second",)}

    def __init__(self) -> None:
        super().__init__(optimizers={"first": SGD, "second": SGD})
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)
        self.norms: list[float] = []
        self.left_over: list[bool] = []
        self.on_step: Callable[[], None] = lambda: None

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step()
        with self.moving("first"):
            self.update(1e3 * self.second(self.first(batch[0])).square().mean(), clip_norm=0.1)
        self.norms.append(
            float(nn.utils.get_total_norm([p.grad for p in self.first.parameters() if p.grad is not None]))
        )
        self.left_over.append(any(p.grad is not None for p in self.second.parameters()))
        with self.moving("second"):
            self.update(self.second(self.first(batch[0]).detach()).mean())


def fit_players(method: Method, batches: int, **settings: Any) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, **settings,
    )  # fmt: skip
    loader = DataLoader(TensorDataset(torch.randn(batches, 2)), batch_size=1)
    trainer.fit(method, loader, loader)


class Styles(Method):
    """A game with a phase of two players, then one of them alone; one weight of a player never has a gradient."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("generator",), "style_encoder": ("style_encoder",), "discriminator": ("discriminator",),
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__(optimizers=dict.fromkeys(self.players, SGD))
        torch.manual_seed(0)
        self.generator, self.style_encoder, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        self.style_encoder.lazy = nn.Parameter(torch.ones(2))
        self.seen: list[set[str]] = []
        self.moved: list[set[str]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        with self.moving("discriminator"):
            self.move({"gan": self.discriminator(self.generator(batch[0]).detach()).square().mean()})
        with self.moving("generator", "style_encoder", phase="generator_latent"):
            made = self.generator(self.style_encoder(batch[0]))
            self.move({"gan": self.discriminator(made).square().mean(), "style": (made - batch[0]).square().mean()})
        with self.moving("generator", phase="generator_reference"):
            self.move({"gan": self.discriminator(self.generator(self.style_encoder(batch[0]))).square().mean()})

    def move(self, terms: dict[str, Tensor]) -> None:
        before = {name: weight.detach().clone() for name, weight in self.named_parameters()}
        for weight in self.parameters():
            weight.grad = None
        self.update(self.log_and_sum(terms, {"gan": 1.0, "style": 2.0}))
        self.seen.append({name.split(".")[0] for name, weight in self.named_parameters() if weight.grad is not None})
        changed = {name for name, weight in self.named_parameters() if not torch.equal(weight, before[name])}
        self.moved.append({name.split(".")[0] for name in changed})
        assert "style_encoder.lazy" not in changed
