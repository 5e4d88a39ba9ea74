import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from stylebench.data.datamodule import DomainData
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.tasks import StyleBatch, StyleTask

MakeDomain = Callable[..., Domain]
MakeData = Callable[..., DomainData]


@pytest.fixture
def make_data(make_domain: MakeDomain) -> MakeData:
    """Make a data module over small random domains; keyword arguments override its settings."""

    def make(batch_size: int = 4, contents: int = 30, **settings: int) -> DomainData:
        task = StyleTask(
            {
                "content": make_domain([(16, 20)] * contents, "photos"),
                "style": make_domain([(18, 16)] * 7, "paintings"),
            },
            seed=0,
            size_px=8,
            resize_px=12,
            flip=True,
            batch_size=batch_size,
            on_small="stop",
        )
        defaults = {"num_workers": 0, "evaluate_every": 5, "batches": 12, "validation_images": 100}
        return DomainData(task, **(defaults | settings))

    return make


def at_rank(data: DomainData, rank: int, world: int, device: str = "cpu") -> DomainData:
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world, strategy=strategy)
    return data


def contents(loader: Any) -> list[Tensor]:
    return [batch["content"].pixels for batch in loader]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_train_loader_yields_the_tasks_batches(make_data: MakeData, num_workers: int) -> None:
    data = make_data(num_workers=num_workers)
    data.position = lambda: 7
    loaded = list(data.train_dataloader())
    assert len(loaded) == 3  # 7, 8, 9; evaluated at 10
    for number, batch in zip((7, 8, 9), loaded, strict=True):
        expected = data.task.batch(number)
        for role in ("content", "style"):
            assert torch.equal(batch[role].pixels, expected[role].pixels)
            assert torch.equal(batch[role].flip, expected[role].flip)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_pinned_where_the_run_is_on_a_gpu(
    device: str, make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = at_rank(make_data(), 0, 1, device)
    assert [loader.pin_memory for loader in (data.train_dataloader(), data.val_dataloader())] == [device == "cuda"] * 2


@pytest.mark.parametrize(
    ("position", "expected"), [(0, 5), (1, 4), (4, 1), (5, 5), (9, 1), (10, 2), (11, 1), (12, 0), (15, 0)]
)
def test_train_loader_ends_at_the_next_evaluation_or_the_budget(
    make_data: MakeData, position: int, expected: int
) -> None:
    data = make_data()
    data.position = lambda: position
    loader = data.train_dataloader()
    assert len(loader) == expected
    assert len(list(loader)) == expected


def test_train_loader_reads_the_position_when_iterated(make_data: MakeData) -> None:
    data = make_data()
    loader = data.train_dataloader()
    data.position = lambda: 3
    assert torch.equal(contents(loader)[0], data.task.batch(3)["content"].pixels)


def test_ranks_get_their_slices(make_data: MakeData) -> None:
    whole = contents(make_data().train_dataloader())
    parts = [contents(at_rank(make_data(), rank, 2).train_dataloader()) for rank in range(2)]
    for number, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[number] for part in parts]), batch)


@pytest.mark.parametrize(("images", "world"), [(1, 1), (2, 2), (3, 1), (3, 2), (7, 2), (7, 4), (100, 1), (100, 4)])
def test_validation_shows_every_image_once_over_all_ranks(make_data: MakeData, images: int, world: int) -> None:
    data = make_data(contents=80, validation_images=images)
    batches = [batch for rank in range(world) for batch in contents(at_rank(data, rank, world).val_dataloader())]
    expected = data.task.fixed(images, "val")["content"].pixels
    assert torch.equal(torch.cat(batches), expected)
    assert max(len(batch) for batch in batches) <= 4 // world


def test_fewer_validation_images_than_devices_are_refused(make_data: MakeData) -> None:
    data = at_rank(make_data(contents=80, validation_images=3), 0, 4)
    with pytest.raises(
        ValueError, match=r"3 validation images cannot keep 4 devices busy: set budget\.validation_images"
    ):
        data.val_dataloader()


def test_validation_can_be_off(make_data: MakeData) -> None:
    assert make_data(validation_images=0).val_dataloader() == []


def test_setup_refuses_a_batch_that_does_not_divide(make_data: MakeData) -> None:
    with pytest.raises(ValueError, match=r"batch_size=4 .* over 3 devices; set it to 3 or 6"):
        at_rank(make_data(), 0, 3).setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_workers": -1}, r"dataset\.num_workers must be .* at least 0, got -1"),
        ({"batches": 0}, r"budget\.batches must be .* at least 1, got 0"),
        ({"evaluate_every": 0}, r"budget\.evaluate_every must be .* at least 1, got 0"),
    ],
)
def test_settings_out_of_range(make_data: MakeData, settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_data(**settings)


class Recorder(pl.LightningModule):
    """Count batches and remember what came."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[StyleBatch] = []
        self.validated: list[StyleBatch] = []

    def training_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        self.trained.append(batch)
        return self.weight * batch.content.mean()

    def validation_step(self, batch: StyleBatch, batch_idx: int) -> None:
        self.validated.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")  # torch's pytree, as in pyproject.toml
def test_a_trainer_runs_the_stream_in_order(make_data: MakeData, tmp_path: Path) -> None:
    data, module = make_data(), Recorder()
    data.position = lambda: len(module.trained)
    trainer = pl.Trainer(
        max_epochs=3,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=data)
    assert len(module.trained) == 12
    for number, batch in enumerate(module.trained):
        expected = data.task.finish(data.task.batch(number))
        assert torch.equal(batch.content, expected.content)
        assert torch.equal(batch.style, expected.style)
    assert sum(len(batch.content) for batch in module.validated) == 3 * data.task.size("val")


def test_a_packed_domain_reads_the_same_in_spawned_workers(
    tmp_path: Path, folders: Callable[..., Folders], write_images: Callable[..., dict[str, np.ndarray]]
) -> None:
    write_images(tmp_path / "images", [f"{i}.png" for i in range(9)], (16, 16))
    domain = folders().open(tmp_path / "images")
    task = StyleTask(
        {"content": domain},
        seed=0,
        size_px=8,
        resize_px=None,
        flip=True,
        batch_size=4,
        on_small="stop",
        draws=("content",),
    )
    task.batch(0)  # the map is open here, and must not travel
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(task.batch, (3,))
    assert torch.equal(there["content"].pixels, task.batch(3)["content"].pixels)
