"""The moment from which a session writes into its run folder."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl


class Beginning(pl.Callback):
    """Let a session begin: at once, or when its first batch is trained, so that a failed start leaves all as it was.

    Args:
        actions: what is done then, in this order.
        at_once: whether there is nothing to be left as it was: then it begins once all processes are there.
    """

    def __init__(self, *actions: Callable[[], object], at_once: bool) -> None:
        self.actions = actions
        self.at_once = at_once
        self.begun = False

    def begin(self) -> None:
        """Do what is to be done, once."""
        if not self.begun:
            self.begun = True
            for action in self.actions:
                action()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin in a folder that holds no run."""
        if self.at_once:
            self.begin()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Begin with the first batch."""
        self.begin()
