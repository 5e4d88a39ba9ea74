"""What every task promises: batches are pure, ranks share them, splits do not leak, the position is one integer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.data.augmentation import RawImages
from stylebench.data.datamodule import DomainData
from stylebench.data.tasks import TASKS as TASK_TYPES
from stylebench.data.tasks import Task
from tests.data.tasks.marked import TASKS, mark, same

MakeTask = Callable[..., Task]
every_task = pytest.mark.parametrize("name", sorted(TASKS))


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for key, first in parts[0].items():
        if isinstance(first, Tensor):
            whole[key] = torch.cat([part[key] for part in parts])
        else:
            images = torch.cat([torch.stack(list(part[key].pixels)) for part in parts])
            whole[key] = RawImages(images, torch.cat([part[key].flip for part in parts]))
    return whole


def test_every_task_is_tested_here() -> None:
    assert {task.name for task in TASK_TYPES} == set(TASKS)


@every_task
def test_batches_depend_on_seed_and_number_alone(name: str, make_task: MakeTask) -> None:
    task = make_task(name)
    before = torch.get_rng_state(), np.random.get_state(legacy=True)  # noqa: NPY002 (must not be touched)
    first = [task.batch(number) for number in range(8)]
    again = make_task(name)
    assert all(same(again.batch(number), first[number]) for number in reversed(range(8)))
    assert not same(first[0], first[1])
    assert not same(make_task(name, seed=1).batch(0), first[0])
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1][1], np.random.get_state(legacy=True)[1])  # noqa: NPY002


@every_task
@pytest.mark.parametrize("world", [2, 3, 12])
def test_ranks_share_the_global_batch(name: str, world: int, make_task: MakeTask) -> None:
    task = make_task(name)
    for number in (0, 5):
        whole = joined([task.batch(number, rank, world) for rank in range(world)])
        assert same(whole, task.batch(number))


@every_task
def test_the_batch_size_does_not_change_the_stream(name: str, make_task: MakeTask) -> None:
    twelves, threes = make_task(name), make_task(name, batch_size=3)
    assert same(joined([twelves.batch(k) for k in range(2)]), joined([threes.batch(k) for k in range(8)]))


@every_task
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_loader_goes_on_with_the_same_batches(name: str, num_workers: int, make_task: MakeTask) -> None:
    task = make_task(name)
    data = DomainData(task, num_workers=num_workers, evaluate_every=4, batches=8, validation_images=4)
    data.position = lambda: 6
    loaded = list(data.train_dataloader())
    assert len(loaded) == 2
    assert all(same(batch, task.batch(number)) for number, batch in zip((6, 7), loaded, strict=True))


@every_task
def test_no_image_of_another_split_is_drawn(name: str, make_task: MakeTask) -> None:
    task = make_task(name)
    domains = list(task.domains.values())
    for split in ("train", "val", "test"):
        drawn = [task.batch(number, split=split) for number in range(12)] + [task.fixed(200, split)]
        seen = {
            image[:2] for raw in drawn for part in raw.values() if isinstance(part, RawImages) for image in mark(part)
        }
        allowed = {(int(i), number) for number, domain in enumerate(domains) for i in domain.split(split)}
        assert seen <= allowed
        assert {number for _, number in seen} == set(range(len(domains)))


@every_task
def test_fixed_samples_are_central_repeatable_and_in_pieces(name: str, make_task: MakeTask) -> None:
    task = make_task(name)
    count = task.size("val")
    whole = task.fixed(count, "val")
    assert same(make_task(name, seed=5).fixed(count, "val"), whole)
    assert same(joined([task.fixed(2, "val", start) for start in range(0, count, 2)]), whole)
    assert not any(part.flip.any() for part in whole.values() if isinstance(part, RawImages))
    with pytest.raises(ValueError, match=rf"start at {count}, but the val split has {count} "):
        task.fixed(1, "val", count)


@every_task
def test_finished_batches_are_float_images_and_labels(name: str, make_task: MakeTask) -> None:
    task = make_task(name)
    batch = task.finish(task.batch(0))
    assert isinstance(batch, task.batch_type)
    for field, value in zip(batch._fields, batch, strict=True):
        if value is not None and value.is_floating_point():
            assert value.shape == (12, 3, 8, 8)
            assert 0 <= float(value.min()) <= float(value.max()) <= 1
        elif value is not None:
            assert (value.shape, value.dtype) == ((12,), torch.int64), field


@every_task
def test_a_domain_without_training_images_is_refused(name: str, make_task: MakeTask) -> None:
    kind, make = TASKS[name]
    domains = make()
    role = next(iter(domains))
    domains[role].splits["train"] = np.array([], dtype=np.int64)
    with pytest.raises(
        ValueError, match=rf"{name} task needs at least {kind.fewest} training images of {role}, but .* 0"
    ):
        make_task(name, domains).check_trainable()
