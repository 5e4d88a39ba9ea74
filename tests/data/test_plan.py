"""Plans: each of many pairs of domains, each direction of one is measured as such a pair alone is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.build import build_data, build_method, measured_plans, open_data
from stylebench.cli.config import compose
from stylebench.data.images import write_png
from stylebench.data.plan import Piece, Plan, asked_for
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.measuring import asking, measure_method
from stylebench.renames import updated_config
from tests.helpers.dummy_methods import TARGETS

WORLD = [
    "dataset=procstyle",
    "dataset.store.size_px=16",
    "dataset.store.train_images=12",
    "dataset.store.val_images=6",
    "dataset.store.test_images=6",
    "dataset.batch_size=3",
    "metrics=smoke",
    "metrics.num_images=5",
    "metrics.scenes=3",
    "budget.batches=2",
    "budget.evaluate_every=2",
    "budget.validation_images=3",
    "samples=1",
]
DOMAINS = ["photo", "ink_hatch", "oil_noise"]
MANY = [*WORLD, f"dataset.domains=[{','.join(DOMAINS)}]"]
PAIR = [*WORLD, "dataset.a=ink_hatch", "dataset.b=oil_noise"]
NAMES = [f"{source}-to-{target}" for target in DOMAINS for source in DOMAINS if source != target]


def composed(task: str, *overrides: str) -> dict[str, Any]:
    """Return the config of the least method of a task."""
    return {**compose("train", list(overrides)), "model": {"_target_": TARGETS[task]}}


def plans(task: str, *overrides: str, **controls: Any) -> list[Plan]:
    config = composed(task, *overrides)
    return measured_plans(config["metrics"], asked_for(open_data(config).plans("test"), controls))


def assert_same(one: Plan, other: Plan) -> None:
    """Contents, exact answers and the reference set of two plans are equal."""
    (left,), (right,) = (list(plan.pieces(3, 0, 1, torch.device("cpu")))[:1] for plan in (one, other))
    assert left.known["style_id"] == right.known["style_id"]
    for field in ("content", "target"):
        torch.testing.assert_close(left.known[field], right.known[field], rtol=0, atol=0)
    for (own, _), (wanted, _) in zip(one.reference_batches(8), other.reference_batches(8), strict=True):
        torch.testing.assert_close(own, wanted, rtol=0, atol=0)


def test_domains_in_a_list_or_by_name_are_measured_as_a_pair_alone() -> None:
    named = [*WORLD, "~dataset.domains"]
    named += ["+dataset.domains={first: photo, second: ink_hatch, third: oil_noise}"]
    found = {plan.name: plan for plan in plans("multi_domain", *MANY)}
    by_name = {plan.name: plan for plan in plans("multi_domain", *named)}
    assert list(found) == NAMES
    assert {plan.request["domain"] for plan in found.values()} == set(DOMAINS)
    (alone,) = plans("unpaired", *PAIR)
    assert_same(found["ink_hatch-to-oil_noise"], alone)
    assert_same(by_name["second-to-third"], alone)
    assert by_name["second-to-third"].request == {"domain": "third"}


def test_the_target_that_is_asked_for_chooses_the_plans() -> None:
    assert [plan.name for plan in plans("multi_domain", *MANY, domain="ink_hatch")] == [NAMES[2], NAMES[3]]


def test_domains_of_several_data_sets_are_measured_within_each() -> None:
    groups = "+dataset.groups={first: {photo: [plain], ink_hatch: [lines]}, second: [oil_noise]}"
    assert [plan.name for plan in plans("multi_domain", *MANY, groups)] == ["ink_hatch-to-photo", "photo-to-ink_hatch"]
    assert [plan.name for plan in plans("multi_domain", *MANY, groups, domain="oil_noise")] == NAMES[4:]


def test_names_that_are_numbers_are_words(tmp_path: Path) -> None:
    for name in ("2019", "2020"):
        for number in range(12):
            write_png(np.full((16, 16, 3), 20 * number, np.uint8), tmp_path / name / f"{number}.png")
    folders = f"dataset.domains={{2019: {tmp_path}/2019, 2020: {tmp_path}/2020}}"
    found = plans("multi_domain", "dataset.size_px=16", folders, domain=2020)
    assert [(plan.name, plan.request) for plan in found] == [("2019-to-2020", {"domain": "2020"})]
    config = composed("multi_domain", "dataset.size_px=16", folders)
    translator = build_method(config, build_data(config, open_data(config))).model
    assert translator.translate(torch.rand(1, 3, 16, 16), domain=2020).shape == (1, 3, 16, 16)


def test_no_image_of_a_small_domain_counts_twice(tmp_path: Path) -> None:
    for name, count in (("few", 3), ("many", 8)):
        for number in range(count):
            write_png(np.full((16, 16, 3), 20 * number, np.uint8), tmp_path / name / "test" / f"{number}.png")
            write_png(np.full((16, 16, 3), 20 * number, np.uint8), tmp_path / name / "train" / f"{number}.png")
    ends = [f"dataset.a={tmp_path}/few", f"dataset.b={tmp_path}/many"]
    (there,) = plans("unpaired", "dataset.size_px=16", *ends)
    (back,) = plans("unpaired", "dataset.size_px=16", *ends, direction="b_to_a")
    assert (len(there), there.reference_count()) == (3, 8)
    assert (len(back), back.reference_count()) == (8, 3)
    pieces = list(there.pieces(2, 0, 1, torch.device("cpu")))
    assert len({tuple(piece) for part in pieces for piece in part.known["content"].flatten(1).tolist()}) == 3


def test_the_way_back_starts_from_the_other_domain() -> None:
    (there,), (back,) = plans("unpaired", *PAIR), plans("unpaired", *PAIR, direction="b_to_a")
    (swapped,) = plans("unpaired", *WORLD, "dataset.a=oil_noise", "dataset.b=ink_hatch")
    assert there.name == back.name == ""
    assert_same(back, swapped)


def test_the_overview_shows_what_fixed_samples_show() -> None:
    config = composed("multi_domain", *MANY)
    opened = open_data(config)
    overview = opened.task.overview("val")
    assert overview is not None
    few = overview.limited(6)
    assert few.scenes == 0
    (piece,) = few.pieces(6, 0, 1, torch.device("cpu"))
    fixed = opened.task.finish(opened.task.fixed(6, "val"))
    assert torch.equal(piece.images, fixed.image)
    assert piece.request == {"domain": [DOMAINS[number] for number in fixed.target_domain.tolist()]}
    assert set(fixed.domain.tolist()) == {0, 1, 2}
    method = build_method(config, build_data(config, opened))
    each = [
        method.model.translate(image, domain=target)
        for image, target in zip(piece.images, piece.request["domain"], strict=True)
    ]
    torch.testing.assert_close(asking(method.translated)(piece), torch.stack(each))
    one_target = asking(method.translated, domain="photo")(piece)
    assert torch.equal(one_target, method.model.translate(piece.images, domain="photo"))


def test_a_domain_may_be_called_like_a_setting() -> None:
    named = [*WORLD, "~dataset.domains"]
    named += ["+dataset.domains={size_px: photo, store: ink_hatch, b: oil_noise}"]
    odd = {plan.name: plan for plan in plans("multi_domain", *named)}
    plain = {plan.name: plan for plan in plans("multi_domain", *MANY)}
    assert_same(odd["store-to-b"], plain["ink_hatch-to-oil_noise"])


def test_answers_follow_the_style_of_each_picture() -> None:
    style = [*WORLD, "dataset.style=prior"]
    (plan,) = plans("style", *style)
    (piece, _) = plan.pieces(3, 0, 1, torch.device("cpu"))
    opened = open_data(composed("style", *style))
    world, domain = opened.world, opened.domains["style"]
    assert world is not None
    hidden = {domain.ids[int(index)]: f"hidden-{number}" for number, index in enumerate(domain.split("test"))}
    shown = [domain.ids[int(index)] for index in opened.task.order("style", "test")[:3]]
    assert piece.known["style_id"] == [hidden[id_] for id_ in shown]
    assert piece.known["styles"] == 3
    answer = world.render(piece.known["content_id"], piece.known["style_id"], draw=1)
    assert torch.equal(piece.known["target"][:, 1], answer)


def test_photographs_named_by_their_folder_are_answers_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(4):
            write_png(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), tmp_path / split / f"{split}{number}.png")
    world = ["dataset=filterstyle", f"dataset.content={tmp_path}", "dataset.store.size_px=16", "metrics=smoke"]
    (plan,) = plans("unpaired", *world, "dataset.a=kuwahara", f"dataset.b={tmp_path}", "metrics.scenes=2")
    piece = next(plan.pieces(2, 0, 1, torch.device("cpu")))
    assert piece.known["style_id"] == ["photo", "photo"]


def test_groups_name_domains_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"dataset\.groups names sepia, but the domains are photo, ink_hatch"):
        plans("multi_domain", *MANY, "+dataset.groups={first: [photo, sepia]}")


def test_groups_of_an_earlier_run_are_those_of_its_model() -> None:
    groups = {"first": {"photo": ["plain"]}, "second": ["oil_noise"]}
    model = {"model": {"translator": {"labels": {"groups": groups}}}}
    assert updated_config({**model, "dataset": {"size_px": 16}})["dataset"] == {"size_px": 16, "groups": groups}
    assert updated_config({**model, "dataset": {"groups": None}})["dataset"] == {"groups": None}
    for said in ({"model": {"inference": {}}, "dataset": {}}, {"dataset": 3}):
        assert updated_config(said) == said


def test_other_requests_for_a_content_are_its_alternatives(tmp_path: Path) -> None:
    (plan,) = plans("unpaired", *PAIR)
    several = replace(plan.limited(2), alternatives=({"add": 0.25}, {"add": 0.5}))
    assert "alternatives" in several.roles()
    assert "alternatives" not in plan.roles()
    seen: list[EvaluationBatch] = []

    def translate(piece: Piece) -> Tensor:
        return torch.full_like(piece.images, piece.request.get("add", 0.0))

    measure_method(
        Evaluator({}, {}), several, translate, cache=ReferenceCache(tmp_path), size=2, device=torch.device("cpu"),
        watch=seen.append,
    )  # fmt: skip
    (batch,) = seen
    assert batch.alternatives is not None
    assert batch.alternatives.shape == (2, 2, 3, 16, 16)
    assert batch.alternatives[0, :, 0, 0, 0].tolist() == [64, 128]
    assert batch.image.unique().tolist() == [0]
