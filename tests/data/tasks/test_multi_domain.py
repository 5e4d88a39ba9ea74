from collections import Counter
from collections.abc import Callable

import pytest
import torch

from stylebench.checks import UsageError
from stylebench.data.domain import Domain
from stylebench.data.stores import Part
from stylebench.data.tasks import MultiDomainTask, Task
from tests.data.tasks.marked import mark, marked

MakeDomain = Callable[..., Domain]
MakeTask = Callable[..., Task]


class Shelf:
    """A store that hands out marked domains and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Part | None]] = []

    def open(self, value: str, part: Part | None = None) -> Domain:
        self.asked.append((value, part))
        return marked(len(value), 20)


def test_domains_and_targets_are_balanced_in_every_block(make_task: MakeTask) -> None:
    task = make_task("multi_domain", batch_size=3)
    pairs: Counter[tuple[int, int]] = Counter()
    orders = set()
    for number in range(120):
        raw = task.batch(number)
        assert sorted(raw["domain"].tolist()) == sorted(raw["target_domain"].tolist()) == [0, 1, 2]
        pairs.update(zip(raw["domain"].tolist(), raw["target_domain"].tolist(), strict=True))
        orders.add(tuple(raw["domain"].tolist()))
    assert len(orders) == 6
    # 360 pairs over nine cells, 40 each expected; four standard deviations of a binomial are 24.
    assert len(pairs) == 9
    assert all(abs(count - 40) < 24 for count in pairs.values())


def test_images_come_from_the_domains_they_are_said_to_come_from(make_task: MakeTask) -> None:
    task = make_task("multi_domain")
    for raw in (task.batch(3), task.fixed(20, "val")):
        assert [image[1] for image in mark(raw["image"])] == raw["domain"].tolist()
        for field in ("reference", "other_reference"):
            assert [image[1] for image in mark(raw[field])] == raw["target_domain"].tolist()


def test_two_references_are_never_the_same_image() -> None:
    domains = {f"d{i}": marked(i, 7) for i in range(2)}  # odd counts of training images: passes end inside pairs
    task = MultiDomainTask(domains, seed=1, size_px=8, resize_px=None, flip=False, batch_size=4, on_small="stop")
    assert {len(domain.split("train")) for domain in domains.values()} == {3}
    for number in range(60):
        raw = task.batch(number)
        assert all(
            one != other for one, other in zip(mark(raw["reference"]), mark(raw["other_reference"]), strict=True)
        )


def test_each_pass_shows_every_image_of_a_domain_once(make_task: MakeTask) -> None:
    task = make_task("multi_domain", batch_size=3)
    count = len(task.domains["d1"].split("train"))
    drawn = [image[0] for k in range(count) for image in mark(task.batch(k)["image"]) if image[1] == 1]
    assert sorted(drawn) == task.domains["d1"].split("train").tolist()


def test_fixed_samples_show_every_image_once_and_go_elsewhere(make_task: MakeTask) -> None:
    task = make_task("multi_domain")
    raw = task.fixed(1000, "val")
    everything = [(int(i), n) for n, domain in enumerate(task.domains.values()) for i in domain.split("val")]
    assert sorted(image[:2] for image in mark(raw["image"])) == sorted(everything)
    assert not bool((raw["domain"] == raw["target_domain"]).any())


def test_fixed_references_never_show_the_scene_of_their_image(make_task: MakeTask) -> None:
    raw = make_task("multi_domain", {f"d{i}": marked(i, 30) for i in range(3)}).fixed(1000, "val")
    images = [image[0] for image in mark(raw["image"])]
    for field in ("reference", "other_reference"):
        assert all(image != other[0] for image, other in zip(images, mark(raw[field]), strict=True))


def test_domains_of_different_sizes_share_a_batch(make_task: MakeTask) -> None:
    task = make_task("multi_domain", {"small": marked(0, 9), "large": marked(1, 9, size=(16, 20))})
    batch = task.finish(task.batch(1))
    assert batch.image.shape == (12, 3, 8, 8)
    assert torch.equal((batch.image[:, 1].mean((1, 2)) * 255).round().long(), batch.domain)


def test_domains_are_opened_apart_and_named() -> None:
    shelf = Shelf()
    opened = MultiDomainTask.open(shelf, {"domains": ["a", "bb", "ccc"]})
    assert list(opened) == ["domain1", "domain2", "domain3"]
    assert [part for _, part in shelf.asked] == [Part(i, 3, shared_evaluation=True) for i in range(3)]
    assert list(MultiDomainTask.open(shelf, {"domains": {"cat": "a", "dog": "bb"}})) == ["cat", "dog"]


def test_domains_that_cannot_be_told_apart() -> None:
    with pytest.raises(ValueError, match=r"dataset.domains names domain1 more than once; .* names of their own"):
        MultiDomainTask.open(Shelf(), {"domains": ["a", "b"]})
    with pytest.raises(ValueError, match=r"must be a list of domains, got 'a': dataset.domains=\[a,...\]"):
        MultiDomainTask.open(Shelf(), {"domains": "a"})
    with pytest.raises(UsageError, match=r"dataset.domains is not set"):
        MultiDomainTask.open(Shelf(), {"domains": None})


def test_one_domain_is_too_few(make_task: MakeTask) -> None:
    with pytest.raises(ValueError, match=r"needs at least 2 domains, got 1 \(d0\); name more: dataset.domains="):
        make_task("multi_domain", {"d0": marked(0, 9)})


def test_a_message_says_where_the_images_of_a_small_domain_are(make_domain: MakeDomain, make_task: MakeTask) -> None:
    def task(**fractions: float) -> Task:
        return make_task("multi_domain", {"d0": marked(0, 9), "d1": make_domain([(16, 16)] * 3, **fractions)})

    with pytest.raises(
        ValueError, match=r"has 1 of its 3 images \(1 in val, 1 in test\); hold nothing out by .*val_fraction=0"
    ):
        task().check_trainable()
    whole = task(val_fraction=0.0, test_fraction=0.0)
    whole.check_trainable()
    assert all(list(whole.domains["d1"].split(name)) == [0, 1, 2] for name in ("train", "val", "test"))


def test_one_image_in_a_domain_is_too_few(make_task: MakeTask) -> None:
    with pytest.raises(ValueError, match=r"at least 2 training images of d1, but memory:1 has 1; .*single picture"):
        make_task("multi_domain", {"d0": marked(0, 9), "d1": marked(1, 1)}).check_trainable()
