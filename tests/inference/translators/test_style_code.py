"""Translation by style codes: seeds, references, mixes, truncation, and what is refused."""

import pytest
import torch
from torch import Tensor

from stylebench.checks import UnknownControlError
from stylebench.functional.hash_noise import hash_normal
from stylebench.inference.translators.style_code import StyleCodeTranslator
from tests.helpers.style_codes import PX, tiny_style_translator


def images(*size: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> StyleCodeTranslator:
    return tiny_style_translator().double()


def test_a_seed_is_one_style_for_all_images_and_domains_have_their_own(model: StyleCodeTranslator) -> None:
    shown = images(PX, PX)
    whole = model.translate(shown, domain="dog", seed=3)
    torch.testing.assert_close(whole[1], model.translate(shown[1], domain="dog", seed=3))
    assert (model.translate(shown, domain="dog", seed=4) - whole).abs().max() > 1e-3
    assert (model.translate(shown, domain="cat", seed=3) - whole).abs().max() > 1e-3
    codes = model.mapping(hash_normal(torch.tensor([3]), 3).double(), torch.tensor([1]))
    expected = (model((2 * shown - 1).double(), codes.expand(2, -1)) + 1) / 2
    torch.testing.assert_close(whole.double(), expected.clamp(0, 1).detach(), rtol=0, atol=1e-6)


def test_between_two_seeds_codes_are_mixed(model: StyleCodeTranslator) -> None:
    first, last = (model.codes_by_seed(seed, 0, 0.0, 0) for seed in (5, 9))
    torch.testing.assert_close(model.codes_by_seed(5, 9, 0.25, 0), 0.75 * first + 0.25 * last)
    shown = images(PX, PX)
    ends = [model.translate(shown, domain="cat", seed=5, other_seed=9, between=share) for share in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], model.translate(shown, domain="cat", seed=5))
    torch.testing.assert_close(ends[1], model.translate(shown, domain="cat", seed=9))


def test_truncation_ends_at_the_mean_style_of_the_domain(model: StyleCodeTranslator) -> None:
    shown = images(PX, PX)
    mean = [model.translate(shown, domain="dog", seed=seed, psi=0.0) for seed in (1, 2)]
    assert torch.equal(*mean)
    latents = hash_normal(torch.arange(1024), 3, 1).double()
    expected = model.mapping(latents, torch.ones(1024, dtype=torch.int64)).mean(0, keepdim=True)
    torch.testing.assert_close(model.mean_code(1), expected)
    half = torch.lerp(model.mean_code(1), model.codes_by_seed(1, 0, 0.0, 1), 0.5)
    found = model.translate(shown, domain="dog", seed=1, psi=0.5)
    expected = ((model((2 * shown - 1).double(), half.expand(2, -1)) + 1) / 2).clamp(0, 1).detach()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_references_give_their_styles_and_mixes_of_them(model: StyleCodeTranslator) -> None:
    shown, first, second = images(PX, PX), images(PX, PX, batch=1, seed=2), images(PX, PX, batch=1, seed=3)
    alone = model.translate(shown, domain="dog", reference=first)
    assert (alone - model.translate(shown, domain="dog")).abs().max() > 1e-4
    all_first = model.translate(shown, domain="dog", reference=[first, second], reference_weights=[1, 0])
    torch.testing.assert_close(all_first, alone)
    codes = [model.codes_of((each.double(),), (1.0,), 1) for each in (first, second)]
    mixed = model.codes_of((first.double(), second.double()), (0.25, 0.75), 1)
    torch.testing.assert_close(mixed, 0.25 * codes[0] + 0.75 * codes[1])
    own = model.translate(shown, domain="dog", reference=torch.cat([first, second]))  # one for each image
    torch.testing.assert_close(own[0], alone[0])


def test_references_of_any_size_show_their_middle_square(model: StyleCodeTranslator) -> None:
    square = images(PX, PX, batch=1, seed=2)
    wide = torch.zeros(1, 3, PX, 2 * PX)
    wide[..., PX // 2 : PX // 2 + PX] = square
    shown = images(PX, PX)
    expected = model.translate(shown, domain="dog", reference=square)
    torch.testing.assert_close(model.translate(shown, domain="dog", reference=wide), expected)
    assert model.translate(shown, domain="dog", reference=images(50, 70, batch=1)).shape == shown.shape


def test_pictures_of_any_size_come_back(model: StyleCodeTranslator) -> None:
    assert model.translate(images(33, 46), seed=2).shape == (2, 3, 33, 46)


def test_what_it_does_not_know_is_refused(model: StyleCodeTranslator) -> None:
    shown = images(PX, PX)
    with pytest.raises(ValueError, match="domain is one of cat, dog, got 'bird'"):
        model.translate(shown, domain="bird")
    with pytest.raises(ValueError, match=r"seed is a whole number, got 1\.5"):
        model.translate(shown, seed=1.5)
    with pytest.raises(ValueError, match=r"psi lies in \[0, 1\], got 2"):
        model.translate(shown, psi=2)
    with pytest.raises(UnknownControlError, match="no control 'latent'"):
        model.translate(shown, latent=3)
