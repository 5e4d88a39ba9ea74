"""Inputs that are made of targets: settings, the domain that stands for them, and the paired task that draws them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylebench.checks import UsageError
from stylebench.data.degradation import Degradation, Degraded
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.tasks import PairedTask
from stylebench.functional.bicubic import degrade
from stylebench.functional.pixels import quantize

MakeDomain = Callable[..., Domain]
SETTINGS = {"seed": 0, "size_px": 16, "resize_px": None, "flip": True, "batch_size": 3, "on_small": "stop"}
X4 = {"factor": 4, "blur_sigma_px": 1.0}


def make_task(targets: Domain, factor: int = 4, **settings: Any) -> PairedTask:
    domains = {"input": Degraded(targets, Degradation(factor, 1.0)), "target": targets}
    return PairedTask(domains, **(SETTINGS | settings))


def test_inputs_are_the_degraded_crops_of_the_targets(make_domain: MakeDomain) -> None:
    task = make_task(make_domain([(20, 24)] * 12))
    for raw in (task.batch(0), task.fixed(2, "val")):
        assert list(raw) == ["target"]  # nothing is read twice
        batch = task.finish(raw)
        assert batch.target.shape[1:] == (3, 16, 16)
        assert batch.input.shape[1:] == (3, 4, 4)
        assert torch.equal(batch.input, degrade(batch.target, 4, 1.0))


def test_the_targets_are_those_of_a_task_without_degradation(make_domain: MakeDomain) -> None:
    targets = make_domain([(20, 24)] * 12)
    plain = PairedTask({"input": targets, "target": targets}, **SETTINGS)
    made = make_task(targets)
    assert torch.equal(made.finish(made.batch(5)).target, plain.finish(plain.batch(5)).target)
    assert plain.degradation is None
    assert torch.equal(plain.finish(plain.batch(5)).input, plain.finish(plain.batch(5)).target)


def test_the_inputs_describe_themselves(make_domain: MakeDomain) -> None:
    targets = make_domain([(20, 24)] * 4)
    four, eight = (Degraded(targets, Degradation(factor, 1.0)) for factor in (4, 8))
    assert len({targets.digest, four.digest, eight.digest}) == 3
    assert four.describe()["name"] == "random_4x_smaller"
    assert four.ids == targets.ids
    again = pickle.loads(pickle.dumps(four))  # as a worker process gets it
    assert np.array_equal(again.image(1), targets.image(1))
    assert again.degradation == four.degradation


def test_a_folder_of_photographs_is_enough(
    tmp_path: Path, folders: Callable[..., Folders], write_images: Callable[..., Any]
) -> None:
    write_images(tmp_path / "photos", ["a.png", "b.png", "c.png"])
    settings = {"input": None, "pairs": None, "target": str(tmp_path / "photos"), "degradation": X4}
    assert PairedTask.is_named(settings)
    task = PairedTask(PairedTask.open(folders(), settings), **SETTINGS)
    assert task.degradation == Degradation(4, 1.0)
    assert not PairedTask.is_named({**settings, "degradation": None})


@pytest.mark.parametrize("key", ["input", "pairs"])
def test_given_inputs_and_made_ones_are_a_contradiction(key: str) -> None:
    settings = {"input": None, "pairs": None, "target": "x", "degradation": X4, key: "y"}
    expected = rf"dataset\.{key} is set too \(y\); drop one: dataset\.{key}=null, or dataset\.degradation=null"
    with pytest.raises(UsageError, match=expected):
        PairedTask.open(None, settings)


def test_without_a_target_the_key_is_named() -> None:
    with pytest.raises(UsageError, match=r"dataset\.target is not set"):
        PairedTask.open(None, {"target": None, "degradation": X4})


@pytest.mark.parametrize(("size_px", "nearest"), [(18, "16 or 20"), (3, "4")])
def test_crops_are_multiples_of_the_factor(make_domain: MakeDomain, size_px: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"size_px={size_px} is not a multiple of 4.* set it to {nearest}$"):
        make_task(make_domain([(20, 24)] * 4), size_px=size_px)


def test_small_images_are_told_of_the_targets(make_domain: MakeDomain) -> None:
    with pytest.raises(ValueError, match=r"4 of 4 images of memory:random \(target\) are smaller than the crop of 32"):
        make_task(make_domain([(20, 24)] * 4), size_px=32)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"factor": 1, "blur_sigma_px": 1.0}, r"factor must be a whole number of at least 2, got 1"),
        ({"factor": 4.0, "blur_sigma_px": 1.0}, r"factor must be a whole number of at least 2, got 4\.0"),
        ({"factor": 4, "blur_sigma_px": -1}, r"blur_sigma_px must be a finite number of at least 0, got -1"),
        ({"factor": 4}, r"has the keys factor and blur_sigma_px, or is null; got \{'factor': 4\}"),
        (4, r"has the keys factor and blur_sigma_px, or is null; got 4"),
    ],
)
def test_wrong_settings_are_refused(settings: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Degradation.of(settings)


def test_results_are_compared_with_targets_alone(make_domain: MakeDomain) -> None:
    targets = make_domain([(20, 24)] * 12)

    def roles(task: PairedTask) -> tuple[set[str], set[str]]:
        (plan,) = task.plans("val")
        plan = plan.limited(2)
        piece = next(plan.pieces(2, 0, 1, torch.device("cpu")))
        batch = task.finish(task.fixed(2, "val"))
        assert torch.equal(piece.images, batch.input)
        assert torch.equal(piece.known["target"][:, 0], quantize(batch.target))
        assert piece.known["content_id"] is not None
        return plan.roles(), {"content", "target"} & set(piece.known)

    assert roles(make_task(targets)) == ({"target", "reference"}, {"target"})
    plain = PairedTask({"input": targets, "target": targets}, **SETTINGS)
    assert roles(plain) == ({"content", "target", "reference"}, {"content", "target"})
