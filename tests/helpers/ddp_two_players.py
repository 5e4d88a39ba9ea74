"""Run by test_processes on two processes: toy games of players under plain DDP, with different data on each."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from stylebench.methods.base import Method
from tests.helpers.games import Styles, TwoPlayers


class Recorded(Method):
    """Keeps the size of what each phase sends, and what is drawn in each batch."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sent: list[int] = []
        self.drawn: list[Tensor] = []

    def sync_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Count the elements, then average as always."""
        self.sent.append(sum(p.numel() for p in parameters if p.grad is not None))
        super().sync_gradients(parameters)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Draw."""
        super().on_train_batch_start(batch, batch_idx)
        self.drawn.append(self.normal(2, 3))


class RecordedPlayers(TwoPlayers, Recorded):
    """Two players, one after the other."""


class RecordedStyles(Styles, Recorded):
    """A phase of two players; one of their weights has no gradient on any process."""


def fit(method: Recorded, rank: int) -> dict[str, Any]:
    """Train on three batches; return the weights, and what was sent and drawn."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=False,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    data = torch.randn(3, 2, generator=torch.Generator().manual_seed(rank))
    loader = DataLoader(TensorDataset(data), batch_size=1)
    trainer.fit(method, loader, loader)
    return {"weights": method.state_dict(), "sent": method.sent, "drawn": method.drawn}


def main(folder: Path) -> None:
    """Write what became of both games on each process to `<folder>/end-<rank>.pt`."""
    rank = int(os.environ["LOCAL_RANK"])
    torch.manual_seed(0)
    ends = {"players": fit(RecordedPlayers(), rank), "styles": fit(RecordedStyles(), rank)}
    torch.save(ends, folder / f"end-{rank}.pt")
