"""Attacks stay in their box and buy what arithmetic says; edits do what they are called."""

import pytest
import torch
from torch import Tensor

from stylebench.grading import EDITS, attack, edit
from stylebench.grading.attack import compressed, joint, map_distance, noisy, psnr_distance
from stylebench.metrics.extractors import RandomMultiScale
from stylebench.metrics.feature_pairs import GramDistance
from stylebench.metrics.pairs import PSNR


def pictures(count: int = 2, seed: int = 0, low: int = 32, high: int = 224) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_linear_metric_gives_the_closed_form(levels: int) -> None:
    images = pictures()
    weights = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = attack(lambda x: (x * weights).flatten(1).sum(1), images, levels)
    # The minimum over the box lies in the corner against the gradient; no value is near 0 or 255.
    assert torch.equal(found.int(), images.int() - levels * weights.sign().int())


def test_box_holds_after_rounding_at_the_ends_of_the_range() -> None:
    images = pictures(low=0, high=256)
    wanted = pictures(seed=5)
    network = RandomMultiScale(seeds=1)
    found = attack(map_distance(GramDistance("r"), network, wanted), images, 4, steps=10)
    assert (found.int() - images.int()).abs().max() == 4


def test_psnr_attack_moves_toward_the_target() -> None:
    images, target = pictures(seed=1), pictures(seed=2)
    found = attack(psnr_distance(PSNR(), target), images, 8)
    # Each level moves straight toward its target, at most 8; near it, steps of one level go back and forth.
    straight = images.int() + (target.int() - images.int()).clamp(-8, 8)
    assert (found.int() - straight).abs().max() <= 1


def test_gain_does_not_fall_as_the_box_grows() -> None:
    images, wanted = pictures(seed=3), pictures(seed=4, low=120, high=136)
    distance = map_distance(GramDistance("r"), RandomMultiScale(seeds=1), wanted)
    values = [distance(attack(distance, images, levels).float() / 255) for levels in (2, 4, 8)]
    start = distance(images.float() / 255)
    assert (start > values[0]).all()
    assert (values[0] > values[1]).all()
    assert (values[1] > values[2]).all()


def test_joint_attack_weighs_by_range() -> None:
    first, second = (lambda x: x.flatten(1).sum(1)), (lambda x: -x.flatten(1).sum(1))
    # (d / -2 + -d / -1) / 2 = d / 4 for the sum d: both metrics grow toward the style by less distance.
    assert torch.allclose(joint([first, second], [-2.0, -1.0])(torch.ones(1, 3, 2, 2)), torch.tensor([3.0]))


def test_only_saved_images_are_attacked() -> None:
    with pytest.raises(TypeError, match="uint8"):
        attack(lambda x: x.flatten(1).sum(1), torch.rand(1, 3, 8, 8), 4)


@pytest.mark.parametrize("name", EDITS)
def test_edits_change_images_and_keep_their_form(name: str) -> None:
    images, style = pictures(), pictures(seed=9, low=100)
    found = edit(name, images, style)
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    assert not torch.equal(found, images)
    assert torch.equal(found, edit(name, images, style))


def test_edits_do_what_they_are_called() -> None:
    images, style = pictures(low=90, high=140), pictures(seed=9, low=110, high=160)
    swapped = edit("palette_swap", images, style).double()
    assert (swapped.mean((2, 3)) - style.double().mean((2, 3))).abs().max() < 0.5
    assert (edit("unsharp", images, style).double().std() > images.double().std()).item()
    noise = noisy(torch.full((1, 3, 64, 64), 128, dtype=torch.uint8), 8.0, 0).double() - 128
    assert noise.std().item() == pytest.approx(8.0, rel=0.03)  # 12288 draws: standard error 0.6 %
    gray = torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)
    assert (compressed(gray, 90).int() - 77).abs().max() <= 1
    with pytest.raises(ValueError, match="unsharp"):
        edit("sharpen", images, style)
