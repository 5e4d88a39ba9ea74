"""Exponential moving average of named networks, one update a batch whatever the number of optimizers."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stylebench.methods.base import Method
from stylebench.run_folder import CHECKPOINT_KEY
from stylebench.training.average_statistics import take_average_statistics

State = dict[str, Tensor]


class EMA(pl.Callback):
    """Follow the weights of `method.ema_networks` with a moving average.

    After update t the decay is `min(decay, (1 + t) / (10 + t))`, so that short runs are not dominated by their
    initial weights. Parameters are averaged in float32; buffers are copied. Only the named networks are copied, never
    losses' frozen encoders or other players.

    The running statistics of batch norms belong to the weights of the moment, and an average of weights has none of its
    own: before it is scored or saved they are taken again, over training images (`training/average_statistics.py`).

    Args:
        decay: in [0, 1); near 1 is slower.

    Raises:
        ValueError: if `decay` is out of range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must be in [0, 1), got {decay}; set ema=null for no moving average")
        self.decay = decay
        self.updates = 0
        self.networks: dict[str, State] = {}
        self._settled = -1  # the update whose averages have statistics of their own
        self._evaluation = contextlib.ExitStack()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the current weights, or move the restored averages to the device."""
        for name, network in self._live(pl_module).items():
            restored = self.networks.get(name)
            state = network.state_dict()
            self.networks[name] = {
                key: (value if restored is None else restored[key]).detach().to(value.device, copy=True)
                for key, value in state.items()
            }

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Move the averages a step toward the weights."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, network in self._live(pl_module).items():
            average = self.networks[name]
            parameters = dict(network.named_parameters())
            torch._foreach_lerp_(
                [average[key] for key in parameters], [p.detach() for p in parameters.values()], 1 - keep
            )
            for key, buffer in network.named_buffers():
                if key in average:
                    average[key].copy_(buffer)

    @contextlib.contextmanager
    def swapped(self, method: pl.LightningModule) -> Iterator[None]:
        """Put the averages into the live networks for the time of a `with` block, and the weights back after it.

        Values are copied in place, so optimizers, compiled graphs and other processes see the same tensors.
        """
        live = self._live(method)
        weights = {
            name: {key: value.clone() for key, value in network.state_dict().items()} for name, network in live.items()
        }
        try:
            for name, network in live.items():
                network.load_state_dict(self.networks[name])
            yield
        finally:
            for name, network in live.items():
                network.load_state_dict(weights[name])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate the averages."""
        self._evaluation.enter_context(self.swapped(pl_module))
        self._settle(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Return to the weights."""
        self._evaluation.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Return to the weights if an evaluation was interrupted, before any other callback looks at them."""
        self._evaluation.close()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the averages as plain state dicts."""
        if self._settled != self.updates:
            with self.swapped(pl_module):
                self._settle(trainer, pl_module)
        checkpoint.setdefault(CHECKPOINT_KEY, {})["ema"] = {
            "decay": self.decay,
            "updates": self.updates,
            "networks": {name: {k: v.cpu() for k, v in state.items()} for name, state in self.networks.items()},
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the averages of the checkpoint."""
        saved = checkpoint[CHECKPOINT_KEY]["ema"]
        if saved is None:
            raise ValueError("the checkpoint has no moving average; resume with ema=null as it was trained")
        self.updates = self._settled = int(saved["updates"])
        self.networks = dict(saved["networks"])

    def _settle(self, trainer: pl.Trainer, method: pl.LightningModule) -> None:
        """Take the statistics of batch norms for the averages, which are in the live networks."""
        if self._settled == self.updates:
            return
        for name, network in self._live(method).items():
            for key in take_average_statistics(network, cast(Method, method), trainer):
                self.networks[name][key].copy_(network.get_buffer(key))
        self._settled = self.updates

    @staticmethod
    def _live(method: pl.LightningModule) -> dict[str, nn.Module]:
        names: tuple[str, ...] = method.ema_networks  # type: ignore[assignment]
        return {name: method.get_submodule(name) for name in names}
