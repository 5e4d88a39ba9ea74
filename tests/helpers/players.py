"""Helpers for methods with several players: a trainer of seconds, what it saw, and counted calls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stylebench.methods.base import Method

Gradients = dict[str, Tensor | None]


class Watch(pl.Callback):
    """Keeps the gradients of all parameters before every optimizer step, and who moved in each batch."""

    def __init__(self) -> None:
        self.gradients: list[Gradients] = []
        self.rates: list[float] = []
        self.moved: list[set[str]] = []
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self._before = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.gradients.append(
            {name: None if p.grad is None else p.grad.clone() for name, p in pl_module.named_parameters()}
        )
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        changed = {
            name.split(".")[0] for name, p in pl_module.named_parameters() if not torch.equal(p, self._before[name])
        }
        self.moved.append(changed)


def fit(method: Method, batches: Sequence[Any]) -> Watch:
    """Train on batches of tensors, one after another."""
    watch = Watch()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch], limit_val_batches=0,
    )  # fmt: skip
    loader = DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(method, loader, loader)
    return watch


class Calls:
    """Counts the calls of networks, and the images they were given; hooks do not see a plain `forward`."""

    def __init__(self, **networks: nn.Module) -> None:
        self.calls: Counter[str] = Counter()
        self.images: Counter[str] = Counter()
        self.with_graph: dict[str, list[bool]] = {name: [] for name in networks}
        for name, network in networks.items():
            network.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def count(network: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.calls[name] += 1
            self.images[name] += len(inputs[0])
            self.with_graph[name].append(isinstance(output, Tensor) and output.requires_grad)

        return count


def assert_gradients(found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor]) -> None:
    """Compare in float64; what is left between a batched call and separate ones is the order of a few sums."""
    assert expected
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: name + text
        )
