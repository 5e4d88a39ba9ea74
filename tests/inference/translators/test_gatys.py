"""Style transfer and texture synthesis by optimizing pixels, on small pictures and a small encoder."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.functional.content import content_loss
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.inference.translators.gatys import GatysTranslator, TextureTranslator
from stylebench.nn.encoders import CompactEncoder, Encoder
from stylebench.optimization.gatys import Progress
from stylebench.optimization.style_losses import (
    BatchStatistics,
    GaussianMMD,
    GaussianWasserstein,
    GramStyle,
    LinearMMD,
    PolynomialMMD,
    StyleLoss,
)

CONTENT, STYLE = ["relu2_1"], ["relu1_1", "relu2_1", "relu3_1"]
LBFGS = partial(
    torch.optim.LBFGS, lr=1.0, history_size=20, line_search_fn="strong_wolfe", max_iter=10000, max_eval=100000,
    tolerance_grad=0.0, tolerance_change=0.0,
)  # fmt: skip
ADAM = partial(torch.optim.Adam, lr=0.02)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return CompactEncoder("shipped", CONTENT, STYLE, "relu3_1")


def gatys(encoder: Encoder, **options: Any) -> GatysTranslator:
    settings: dict[str, Any] = {
        "content_layers": CONTENT, "style_layers": STYLE, "style_loss": GramStyle(), "minimizer": LBFGS,
        "layer_weights": None, "weight_content": 1.0, "weight_style": 5.0, "weight_tv": 0.0, "calibrate": True,
        "content_norm": "mean", "tv_convention": "magenta", "init": "content", "seed": 0, "evaluations": 20,
        "evaluations_per_scale": 5, "smallest_px": None, "bounds": "auto", "style_fit": "area", "tile_px": None,
    }  # fmt: skip
    return GatysTranslator(encoder=encoder, **{**settings, **options})


def texture(encoder: Encoder, **options: Any) -> TextureTranslator:
    settings: dict[str, Any] = {
        "style_layers": STYLE, "style_loss": GramStyle(), "minimizer": LBFGS, "layer_weights": None, "weight_tv": 0.0,
        "seed": 0,
        "evaluations": 30, "evaluations_per_scale": 5, "smallest_px": None, "bounds": "auto",
        "match_histogram": False, "style_fit": "own", "tile_px": None,
    }  # fmt: skip
    return TextureTranslator(encoder=encoder, **{**settings, **options})


def picture(seed: int, height: int = 40, width: int = 48) -> Tensor:
    """Draw smooth color fields."""
    small = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)[0]


def stripes(height: int = 40, width: int = 48) -> Tensor:
    """Draw red and black stripes."""
    on = (torch.arange(width) // 3 % 2).float().expand(height, width)
    return torch.stack([on, 0.1 * on, 0.2 * (1 - on)])


def distances(encoder: Encoder, image: Tensor, content: Tensor, style: Tensor) -> tuple[float, float]:
    maps = encoder(image[None], [*CONTENT, *STYLE])
    style_maps = encoder(style[None], STYLE)
    styled = [gram_loss(gram_matrix(maps[layer]), gram_matrix(style_maps[layer]), "relative") for layer in STYLE]
    kept = content_loss(maps[CONTENT[0]], encoder(content[None], CONTENT)[CONTENT[0]])
    return float(kept), float(torch.stack(styled).mean())


@pytest.mark.parametrize("minimizer", [LBFGS, ADAM], ids=["lbfgs", "adam"])
def test_style_comes_nearer_and_content_stays(encoder: Encoder, minimizer: Any) -> None:
    content, style = picture(0), stripes()
    made = gatys(encoder, minimizer=minimizer, evaluations=60).translate(content, style=style)
    assert made.shape == content.shape
    before, after = distances(encoder, content, content, style), distances(encoder, made, content, style)
    other = distances(encoder, style, content, style)
    assert after[1] < 0.4 * before[1]
    assert after[0] < 0.5 * other[0]


def test_weight_moves_the_balance(encoder: Encoder) -> None:
    content, style = picture(0), stripes()
    found = [
        distances(encoder, gatys(encoder).translate(content, style=style, weight_style=weight), content, style)
        for weight in (0.2, 5.0, 100.0)
    ]
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[0][1] > found[1][1] > found[2][1]


def test_content_reconstruction_from_noise(encoder: Encoder) -> None:
    content = picture(0)
    made = gatys(encoder, init="noise", content_layers=["relu1_1"], evaluations=80).translate(
        content, style=stripes(), weight_style=0
    )
    error = float((made - content).square().mean())
    assert error < 0.1 * float((torch.rand(3, 40, 48) - content).square().mean())


def test_evaluations_are_counted_and_their_curve_falls(encoder: Encoder) -> None:
    translator, seen = gatys(encoder), list[tuple[int, int, float, set[str]]]()

    def watch(progress: Progress) -> None:
        assert float(progress.image.min()) >= -0.03
        assert float(progress.image.max()) <= 1.03
        seen.append((progress.evaluation, progress.evaluations, float(progress.total), set(progress.terms)))

    translator.translate(picture(0), style=stripes(), watch=watch, evaluations=17)
    assert [part[:2] for part in seen] == [(number, 17) for number in range(1, 18)]
    assert min(part[2] for part in seen) < 0.5 * seen[0][2]
    assert seen[0][3] == {"content", "style"}


def test_ladder_ends_at_the_pictures_size(encoder: Encoder) -> None:
    translator, sizes = gatys(encoder, smallest_px=24, minimizer=ADAM), list[tuple[int, ...]]()
    made = translator.translate(
        picture(0), style=stripes(), evaluations=4, watch=lambda progress: sizes.append(tuple(progress.image.shape[2:]))
    )
    assert made.shape == (3, 40, 48)
    assert sizes == [(20, 24)] * 4 + [(28, 34)] * 5 + [(40, 48)] * 5


def test_tiles_give_the_same_picture(encoder: Encoder) -> None:
    content, style = picture(0, 70, 50), stripes(60, 40)
    results = [
        gatys(encoder, minimizer=ADAM, tile_px=side).translate(content, style=style, evaluations=5)
        for side in (None, 32)
    ]
    assert (results[0] - results[1]).abs().mean() < 1e-4  # Adam's first steps are signs of gradients: rounding shows


def test_same_seed_same_picture_and_the_batch_does_not_matter(encoder: Encoder) -> None:
    contents, styles = torch.stack([picture(0), picture(1)]), torch.stack([stripes(), picture(2)])
    translator = gatys(encoder, init="noise", evaluations=5)
    both = translator.translate(contents, style=styles)
    alone = translator.translate(contents[1], style=styles[1])
    assert torch.equal(both[1], alone)
    assert not torch.equal(translator.translate(contents[1], style=styles[1], seed=1), alone)


def test_two_styles_with_weights(encoder: Encoder) -> None:
    translator, content = gatys(encoder), picture(0)
    one = translator.translate(content, style=stripes())
    corner = translator.translate(content, style=[stripes(), picture(3)], style_weights=[1, 0])
    mixed = translator.translate(content, style=[stripes(), picture(3)], style_weights=[0.5, 0.5])
    assert torch.allclose(corner, one, atol=1e-3)
    assert not torch.allclose(mixed, one, atol=1e-2)


def test_style_scale_and_fit(encoder: Encoder) -> None:
    translator, images = gatys(encoder), torch.zeros(1, 3, 40, 90)
    style = torch.rand(1, 3, 30, 30)
    # area: sqrt(40 * 90 / 900) = 2 times larger
    assert translator.fit_style(style, images, 1.0).shape == (1, 3, 60, 60)
    assert translator.fit_style(style, images, 0.5).shape == (1, 3, 30, 30)
    assert gatys(encoder, style_fit="stretch").fit_style(style, images, 1.0).shape == (1, 3, 40, 90)
    assert gatys(encoder, style_fit="own").fit_style(style, images, 2.0).shape == (1, 3, 60, 60)


def test_content_and_style_of_very_different_sizes(encoder: Encoder) -> None:
    made = gatys(encoder, evaluations=2).translate(picture(0), style=stripes(400, 33))
    assert made.shape == (3, 40, 48)
    assert bool(made.isfinite().all())


@pytest.mark.parametrize("loss", [GramStyle(), BatchStatistics(), GaussianWasserstein(), LinearMMD(), PolynomialMMD()])
def test_one_color_style_is_finite(encoder: Encoder, loss: StyleLoss) -> None:
    made = gatys(encoder, style_loss=loss, evaluations=5).translate(picture(0), style=torch.full((3, 20, 20), 0.5))
    assert bool(made.isfinite().all())


def test_smooth_contents_are_not_held_still_by_total_variation(encoder: Encoder) -> None:
    smooth = torch.linspace(0.2, 0.8, 48).expand(3, 40, 48)
    free, held = (
        gatys(encoder, weight_tv=weight, evaluations=30).translate(smooth, style=stripes()) - smooth
        for weight in (0.0, 0.3)
    )
    assert float(held.abs().mean()) > 0.5 * float(free.abs().mean())


def test_autocast_changes_nothing(encoder: Encoder) -> None:
    plain = gatys(encoder, evaluations=5).translate(picture(0), style=stripes())
    with torch.autocast("cpu", torch.bfloat16):
        cast = gatys(encoder, evaluations=5).translate(picture(0), style=stripes())
    assert torch.equal(plain, cast)


def test_color_controls(encoder: Encoder) -> None:
    content, translator = picture(0), gatys(encoder, evaluations=15)

    def chroma(image: Tensor) -> Tensor:
        return torch.stack([image[0] - image[1], image[1] - image[2]])

    plain, coral, luminance = (
        translator.translate(content, style=stripes(), color=color) for color in ("none", "coral", "luminance")
    )
    far = float((chroma(plain) - chroma(content)).abs().mean())
    assert float((chroma(coral) - chroma(content)).abs().mean()) < 0.7 * far
    assert float((chroma(luminance) - chroma(content)).abs().mean()) < 0.5 * far


def test_texture_grows_from_noise(encoder: Encoder) -> None:
    translator, style = texture(encoder), stripes(60, 60)
    made = translator.translate(torch.zeros(3, 48, 48), style=style, evaluations=60)
    noise = torch.rand(3, 48, 48)
    assert distances(encoder, made, noise, style)[1] < 0.1 * distances(encoder, noise, noise, style)[1]
    ignored = translator.translate(torch.ones(3, 48, 48), style=style, evaluations=60)
    assert torch.equal(made, ignored)


def test_total_variation_takes_the_grain_of_a_texture(encoder: Encoder) -> None:
    blank, style = torch.zeros(3, 48, 48), picture(1, 60, 60)
    rough, smooth = (texture(encoder).translate(blank, style=style, weight_tv=weight) for weight in (0.0, 0.1))

    def roughness(image: Tensor) -> float:
        return float((image[:, 1:] - image[:, :-1]).abs().mean())

    assert roughness(smooth) < 0.7 * roughness(rough)


def test_texture_has_no_color_control(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="no control 'color'"):  # of a content that is not looked at
        texture(encoder).translate(torch.zeros(3, 48, 48), style=stripes(), color="coral")


def test_texture_takes_the_histogram(encoder: Encoder) -> None:
    style = stripes(60, 60)
    made = texture(encoder, match_histogram=True, evaluations=3).translate(torch.zeros(3, 48, 48), style=style)
    assert torch.allclose(made.mean((1, 2)), style.mean((1, 2)), atol=0.01)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"style_fit": "crop"}, "style_fit must be one of area, stretch, own"),
        ({"bounds": "box"}, "bounds must be one of"),
        ({"style_layers": ["relu7_1"]}, "no layer 'relu7_1'; choose from conv1_1"),
        ({"style_loss": GaussianMMD(64)}, "use Adam as the minimizer"),
        ({"layer_weights": [1, -1, 1]}, "each of layer_weights must be a finite number of at least 0, got -1"),
    ],
)
def test_settings_that_make_no_sense(encoder: Encoder, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        gatys(encoder, **options)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "needs a picture of the style"),
        ({"style": []}, "the list of style pictures is empty"),
        ({"style": torch.rand(1, 20, 20)}, "style: expected images of shape"),
        ({"style": torch.rand(3, 20, 20), "weight_content": 0, "weight_style": 0}, "both 0"),
        ({"style": torch.rand(3, 20, 20), "masks": torch.ones(1, 40, 48)}, "no control 'masks'"),
        ({"style": torch.rand(3, 20, 20), "evaluations": 0}, r"evaluations lies in \[1, "),
        ({"style": torch.rand(3, 20, 20), "evaluations": 2.5}, "evaluations is a whole number"),
        ({"style": torch.rand(3, 20, 20), "init": "gray"}, "init is one of content, style, noise"),
        ({"style": [torch.rand(3, 9, 9)], "style_weights": [1, 2]}, "a weight for each of 1 styles, got 2"),
        ({"style": [torch.rand(3, 9, 9)], "style_weights": [-1]}, "at least 0, got -1"),
        ({"style": [torch.rand(3, 9, 9)], "style_weights": [0]}, "all style_weights are 0"),
    ],
)
def test_input_that_makes_no_sense(encoder: Encoder, given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        gatys(encoder).translate(picture(0), **given)


def test_picture_too_small_for_a_layer(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="needs images of at least"):
        gatys(encoder).translate(torch.rand(3, 3, 3), style=stripes())


def test_terms_without_layers_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="weight_content is 1, but content_layers is empty"):
        gatys(encoder, content_layers=[]).translate(picture(0), style=stripes())
    with pytest.raises(ValueError, match="style_layers is empty"):
        gatys(encoder, style_layers=[]).translate(picture(0), style=stripes())
