from collections.abc import Callable

import numpy as np
import pytest
import torch

from stylebench.data.domain import Domain
from stylebench.data.splits import Layout
from stylebench.data.tasks import Task
from tests.data.tasks.marked import CLASSES, mark, marked

MakeTask = Callable[..., Task]


def relabeled(domain: Domain, classes: tuple[str, ...], labels: np.ndarray | None) -> Domain:
    return Domain(
        name=domain.name, path=domain.path, ids=domain.ids, shapes=domain.shapes,
        pixels=np.zeros(int(3 * domain.shapes.prod(axis=1).sum()), dtype=np.uint8), digest=domain.digest,
        layout=Layout(domain.splits, classes, labels),
    )  # fmt: skip


def test_labels_are_those_of_the_source_images(make_task: MakeTask) -> None:
    task = make_task("adaptation")
    for number in range(4):
        raw = task.batch(number)
        assert [image[2] for image in mark(raw["source"])] == raw["label"].tolist()
    assert task.classes == list(CLASSES)


def test_target_classes_are_kept_from_training_and_given_for_scoring(make_task: MakeTask) -> None:
    task = make_task("adaptation")
    assert task.finish(task.batch(0)).target_label is None
    raw = task.fixed(5, "test")
    assert [image[2] for image in mark(raw["target"])] == raw["target_label"].tolist()


def test_source_and_target_are_drawn_independently(make_task: MakeTask) -> None:
    domains = {"source": marked(0, 40), "target": marked(1, 40)}
    raw = make_task("adaptation", domains, batch_size=24).batch(0)
    assert [image[0] for image in mark(raw["source"])] != [image[0] for image in mark(raw["target"])]
    assert not torch.equal(raw["source"].flip, raw["target"].flip)


def test_a_target_without_classes_is_fine(make_task: MakeTask) -> None:
    target = relabeled(marked(1, 25), (), None)
    task = make_task("adaptation", {"source": marked(0, 40), "target": target})
    assert task.finish(task.fixed(3, "val")).target_label is None


def test_a_source_without_classes_is_refused(make_task: MakeTask) -> None:
    source = relabeled(marked(0, 40), (), None)
    with pytest.raises(
        ValueError, match=r"needs a class for every source image, but memory:0 has none; sort its images"
    ):
        make_task("adaptation", {"source": source, "target": marked(1, 25)})


def test_other_classes_in_the_target_are_named(make_task: MakeTask) -> None:
    target = relabeled(marked(1, 25), ("bar", "disc", "cup"), np.arange(25) % 3)
    with pytest.raises(ValueError, match=r"star only in memory:0 and cup only in memory:1; name domains with the same"):
        make_task("adaptation", {"source": marked(0, 40), "target": target})
