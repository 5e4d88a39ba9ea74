"""Run by test_processes on two processes: a toy game of two players under plain DDP, with different data on each."""

import os
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.methods.test_base import TwoPlayers


class Recorded(TwoPlayers):
    """Keeps the size of what each player sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[int] = []

    def sync_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Count the elements, then average as always."""
        self.sent.append(sum(p.numel() for p in parameters if p.grad is not None))
        super().sync_gradients(parameters)


def main(folder: Path) -> None:
    """Write each process's weights and what it sent to `<folder>/end-<rank>.pt`."""
    rank = int(os.environ["LOCAL_RANK"])
    torch.manual_seed(0)
    method = Recorded()
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
    )
    data = torch.randn(3, 2, generator=torch.Generator().manual_seed(rank))
    trainer.fit(method, DataLoader(TensorDataset(data), batch_size=1))
    torch.save({"weights": method.state_dict(), "sent": method.sent}, folder / f"end-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
