"""Source images that were stylized toward the target: made once, labeled as before, in the training alone."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stylebench
from stylebench.adaptation import stylized as module
from stylebench.adaptation.domains import adapted_domains
from stylebench.adaptation.stylized import Stylization, stylized
from stylebench.checks import UsageError
from stylebench.data.domain import Domain
from stylebench.data.splits import layout_by_path, unit_hash
from stylebench.functional.pixels import quantize
from stylebench.inference.translators.base import Translator

RUNS = Path(__file__).parents[1] / "frozen" / "runs"
SIDE = 32


def domain(name: str, level: int) -> Domain:
    ids = [f"{split}/{kind}/{number}" for kind in "ab" for split in ("test", "train") for number in range(3)]
    random = np.random.default_rng(level)
    pixels = random.integers(level, level + 60, (len(ids), 40, 40, 3)).astype(np.uint8)
    return Domain(
        name=name, path=name, ids=sorted(ids), shapes=np.full((len(ids), 2), 40), pixels=pixels, digest=name,
        layout=layout_by_path(sorted(ids), 0.0, 0.0),
    )  # fmt: skip


def opened(**settings: Any) -> dict[str, Domain]:
    plain = {"source": domain("photos", 0), "target": domain("sketches", 150)}
    return stylized(plain, None, {"size_px": SIDE, "resize_px": None, "stylize": settings}, 0)  # type: ignore[arg-type]


def run(method: str) -> str:
    return str(RUNS / method / "run")


def test_stylized_images_join_the_training_with_their_labels() -> None:
    domains = opened(run=run("fast_transfer"))
    source, plain = domains["source"], domain("photos", 0)
    assert domains["target"].name == "sketches"
    train = plain.split("train")
    assert list(source.split("train")) == [*train, *range(12, 18)]
    assert list(source.split("test")) == list(plain.split("test"))
    assert source.labels is not None
    assert plain.labels is not None
    assert list(source.labels[12:]) == list(plain.labels[train])
    assert source.ids[12:] == [f"{plain.ids[index]}#{number}" for number, index in enumerate(train)]
    for index in plain.split("all"):
        assert np.array_equal(source.view(index), plain.view(index))
    model = stylebench.load(run("fast_transfer"))
    assert isinstance(model, Translator)
    expected = quantize(model.translate(module._crops(plain, train, (SIDE, SIDE)))).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.stack([source.view(index) for index in range(12, 18)]), expected)
    copied = pickle.loads(pickle.dumps(source))  # as a worker gets it
    assert np.array_equal(copied.view(13), source.view(13))


def test_they_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(run=run("fast_transfer"), originals=False)
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("they were there"))
    again = opened(run=run("fast_transfer"), originals=False)
    assert first["source"].digest == again["source"].digest
    assert list(again["source"].split("train")) == list(range(12, 18))
    assert again["source"].digest != opened(run=run("fast_transfer"))["source"].digest


def test_a_model_that_is_shown_a_style_gets_those_of_the_target() -> None:
    whole = opened(run=run("adain"), per_image=2)["source"]
    assert len(whole) == 12 + 12
    none = opened(run=run("adain"), per_image=2, controls={"alpha": 0.0})["source"]
    images, unstyled = (np.stack([each.view(index) for index in range(12, 24)]).astype(float) for each in (whole, none))
    assert not np.array_equal(images, unstyled)
    assert not np.array_equal(images[:6], images[6:])  # another style of each


def test_jitter_changes_colors_alone_and_follows_from_the_seed() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    source = opened(jitter=0.5, originals=False)["source"]
    assert torch.equal(torch.get_rng_state(), before)
    plain = quantize(module._crops(domain("photos", 0), domain("photos", 0).split("train"), (SIDE, SIDE))).permute(
        0, 2, 3, 1
    )
    found = np.stack([source.view(index) for index in range(12, 18)])
    assert not np.array_equal(found, plain.numpy())
    gray = [
        np.corrcoef(a.mean(-1).ravel(), b.mean(-1).ravel())[0, 1] for a, b in zip(found, plain.numpy(), strict=True)
    ]
    assert min(gray) > 0.8


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "run="),
        ({"run": "r", "jitter": 0.5}, "one of them"),
        ({"jitter": 2.0}, "jitter"),
        ({"jitter": 0.5, "per_image": 0}, "per_image"),
        ({"strength": 1}, "originals"),
    ],
)
def test_a_wrong_setting_is_said(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        opened(**settings)
    assert Stylization.of("outputs/a").run == "outputs/a"


def test_tasks_without_a_source_refuse_it() -> None:
    for settings in ({"stylize": "run"}, {"protocol": "transductive"}):
        with pytest.raises(UsageError, match="adaptation task"):
            adapted_domains({"content": domain("photos", 0)}, None, settings, 0)  # type: ignore[arg-type]


def test_the_target_is_split_or_taken_whole() -> None:
    plain = {"source": domain("photos", 0), "target": domain("sketches", 150)}
    split, whole = (
        adapted_domains(plain, None, {"protocol": name}, 0)["target"]  # type: ignore[arg-type]
        for name in ("split", "transductive")
    )
    assert split is plain["target"]
    for name in ("train", "val", "test"):
        assert list(whole.split(name)) == list(range(12))
    assert np.array_equal(whole.view(5), split.view(5))
    assert whole.labels is split.labels
    held = adapted_domains(plain, None, {"protocol": "holdout"}, 0)["target"]  # type: ignore[arg-type]
    train, test = held.split("train"), held.split("test")
    assert len(train) == 10
    assert sorted([*train, *test]) == list(range(12))
    assert list(held.split("val")) == list(test)
    hashes = [unit_hash(identity) for identity in held.ids]
    assert max(hashes[index] for index in train) < min(hashes[index] for index in test)
    with pytest.raises(ValueError, match="same domain"):
        adapted_domains({"source": plain["source"], "target": plain["source"]}, None, {}, 0)  # type: ignore[arg-type]
