"""Domains as label vectors: their layout, the losses of a classifier, and targets that stay in their data set."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.nn.labels import DomainLabels

FACES = {"blond": ["blond_hair"], "young": ["young"], "both": ["blond_hair", "young"], "neither": []}
MIXED: dict[str, Any] = {"celeba": FACES, "rafd": ["angry", "happy", "sad"]}
NAMES = ["angry", "blond", "happy", "young", "sad", "both", "neither"]  # not in the order of the groups


def logits(batch: int, classes: int) -> Tensor:
    return torch.randn(batch, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_one_hot_vectors_by_default() -> None:
    labels = DomainLabels(["data/photo", "painting", "x/y/sketch"])
    assert labels.domains == ("photo", "painting", "sketch")
    assert torch.equal(labels.vectors, torch.eye(3))
    assert labels.classes == 3
    assert not labels.state_dict()  # the config says it all


def test_one_group_has_no_mask() -> None:
    labels = DomainLabels(["blond", "young", "both", "neither"], {"celeba": FACES})
    assert labels.vectors.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert labels.classes == 2


def test_names_of_a_mapping_are_its_keys() -> None:
    assert DomainLabels({"first": "some/photo", "second": "other/photo"}).domains == ("first", "second")


def test_several_data_sets_stand_side_by_side_with_a_mask() -> None:
    """Columns: blond_hair, young | angry, happy, sad | celeba, rafd."""
    labels = DomainLabels(NAMES, MIXED)
    assert dict(zip(labels.domains, labels.vectors.int().tolist(), strict=True)) == {
        "angry": [0, 0, 1, 0, 0, 0, 1],
        "blond": [1, 0, 0, 0, 0, 1, 0],
        "happy": [0, 0, 0, 1, 0, 0, 1],
        "young": [0, 1, 0, 0, 0, 1, 0],
        "sad": [0, 0, 0, 0, 1, 0, 1],
        "both": [1, 1, 0, 0, 0, 1, 0],
        "neither": [0, 0, 0, 0, 0, 1, 0],
    }
    assert labels.classes == 5


def test_published_sizes_of_joint_training() -> None:
    """Choi et al. 2018: 5 attributes, 8 expressions and a mask of 2 beside 3 channels of color make 18; 13 outputs."""
    attributes = {f"face{i}": [f"attribute{i}"] for i in range(5)}
    expressions = [f"expression{i}" for i in range(8)]
    labels = DomainLabels([*attributes, *expressions], {"celeba": attributes, "rafd": expressions})
    assert labels.vectors.shape == (13, 15)
    assert labels.classes == 13


def test_the_loss_of_one_hot_domains_is_the_cross_entropy() -> None:
    labels, domains = DomainLabels(["a", "b", "c"]), torch.tensor([2, 0, 0, 1])
    given = logits(4, 3).requires_grad_()
    found, expected = labels.classification_loss(given, domains), F.cross_entropy(given, domains)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, given)[0] for loss in (found, expected)))


def test_the_loss_of_attributes_is_summed_over_them() -> None:
    labels, domains = DomainLabels(list(FACES), {"celeba": FACES}), torch.tensor([3, 1, 2])
    right = torch.tensor([[0, 0], [0, 1], [1, 1]], dtype=torch.float64)
    given = logits(3, 2)
    expected = F.binary_cross_entropy_with_logits(given, right, reduction="sum") / 3
    torch.testing.assert_close(labels.classification_loss(given, domains), expected)


def test_of_several_data_sets_each_image_counts_in_its_own_columns() -> None:
    labels, domains = DomainLabels(NAMES, MIXED), torch.tensor([0, 5, 4])  # angry, both, sad
    given = logits(3, 5).requires_grad_()
    loss = labels.classification_loss(given, domains)
    faces = F.binary_cross_entropy_with_logits(given[1, :2], torch.ones(2).double(), reduction="sum")
    moods = F.cross_entropy(given[[0, 2], 2:], torch.tensor([0, 2]), reduction="sum")
    torch.testing.assert_close(loss, (faces + moods) / 3)
    (gradient,) = torch.autograd.grad(loss, given)
    assert not gradient[[0, 2], :2].any()
    assert not gradient[1, 2:].any()


def test_the_loss_is_float32_under_autocast() -> None:
    labels, given, domains = DomainLabels(["a", "b"]), logits(2, 2).bfloat16(), torch.tensor([0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = labels.classification_loss(given, domains)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(given.float(), domains))


def test_targets_of_one_data_set_are_those_drawn() -> None:
    wanted = torch.tensor([2, 0, 1])
    assert torch.equal(DomainLabels(["a", "b", "c"]).targets(torch.tensor([0, 0, 0]), wanted), wanted)


def test_targets_stay_in_the_data_set_and_reach_all_of_it() -> None:
    labels = DomainLabels(NAMES, MIXED)
    of = {name: "rafd" if name in MIXED["rafd"] else "celeba" for name in NAMES}
    domains, wanted = (grid.flatten() for grid in torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij"))
    found = labels.targets(domains, wanted)
    pairs = [(NAMES[d], NAMES[t]) for d, t in zip(domains.tolist(), found.tolist(), strict=True)]
    assert all(of[source] == of[target] for source, target in pairs)
    for source in NAMES:
        counts = [pairs.count((source, target)) for target in NAMES if of[target] == of[source]]
        assert max(counts) - min(counts) <= 1  # 7 draws over 4 or 3 domains


@pytest.mark.parametrize(
    ("domains", "groups", "match"),
    [
        (["x/photo", "y/photo"], None, r"domains must each have a name of their own, got photo, photo; name them"),
        ([], None, "domains must each have a name of their own, got none"),
        (["a", "b"], {"one": ["a"]}, r"must hold each of the domains a, b exactly once, got a$"),
        (["a", "b"], {"one": ["a", "b"], "two": ["b"]}, r"exactly once, got a, b, b$"),
        (["a", "b"], {"one": ["a", "c"]}, r"exactly once, got a, c$"),
    ],
)
def test_wrong_domains_are_refused(domains: Any, groups: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DomainLabels(domains, groups)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": {"photo": "young", "cartoon": ["male"]}}, "mind the brackets"),
        (["photo", "cartoon"], "mind the brackets"),
        ({"a": "photo", "b": ["cartoon"]}, "mind the brackets"),
        ({"a": {"photo": ["x"], "cartoon": ["x"]}}, "photo and cartoon the same attributes"),
    ],
)
def test_groups_that_say_nothing_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DomainLabels(["photo", "cartoon"], groups)
