import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from stylebench.metrics.batch import EvaluationBatch, Views
from stylebench.metrics.extractors.base import Extractor, unit_range
from stylebench.metrics.feature_pairs import (
    CFSD,
    Diversity,
    FeatureDistance,
    GramDistance,
    LPIPSDiversity,
    MomentDistance,
    PerceptualMaps,
)
from stylebench.metrics.pairs import MSSSIM, PSNR, PSNRY, RGBUV, SSIM, EdgeSSIM
from stylebench.metrics.perceptual import DISTS, LPIPS


class Colors(Extractor):
    """The pixels and their squares as feature maps; counts its passes."""

    name, alias, digest, origin, width, taps = "colors-0", "colors", "0", "none", 6, ("plain", "squares")

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []

    def maps(self, images: torch.Tensor, layers: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        self.passes.append(len(images))
        pixels = unit_range(images)
        return {"plain": pixels, "squares": pixels**2}

    def pool(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([part.mean((2, 3)) for part in maps.values()], 1)


def pictures(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def views(image: torch.Tensor, extractor: Extractor | None = None, **roles: Any) -> Views:
    if "target" in roles and roles["target"].ndim == 4:
        roles["target"] = roles["target"][:, None]
    batch = EvaluationBatch(image, torch.arange(len(image)), **roles)
    batch.check()
    return Views(batch, {"colors": extractor or Colors()})


def flat(value: int, size: int = 32) -> torch.Tensor:
    return torch.full((1, 3, size, size), value, dtype=torch.uint8)


def test_psnr_is_averaged_over_images_not_errors() -> None:
    # errors of 25.5 and 2.55 levels would be 20 and 40 dB; whole levels: 26 -> 19.83 dB, 3 -> 38.59 dB
    image = torch.cat([flat(100), flat(100)])
    found = PSNR().rows(views(image, target=torch.cat([flat(126), flat(103)])))[""]
    expected = [20 * math.log10(255 / 26), 20 * math.log10(255 / 3)]
    assert found.tolist() == pytest.approx(expected)


def test_psnr_is_torchmetrics_of_each_image_and_capped() -> None:
    image, target = pictures(3), pictures(3, seed=1)
    theirs = peak_signal_noise_ratio(image.double(), target.double(), data_range=255.0, dim=(1, 2, 3), reduction="none")
    assert torch.allclose(PSNR().rows(views(image, target=target))[""], theirs)
    assert PSNR().rows(views(image, target=image))[""].tolist() == [100] * 3


def test_the_nearest_of_several_answers_counts() -> None:
    image = pictures(2)
    answers = torch.stack([pictures(2, seed=1), image, pictures(2, seed=2)], 1)
    assert PSNR().rows(views(image, target=answers))["nearest3"].tolist() == [100, 100]
    assert SSIM().rows(views(image, target=answers))["nearest3"].tolist() == pytest.approx([1, 1])


def test_psnr_of_video_luma() -> None:
    # One level of luma is 255 / 219 of RGB where all channels move together: white is 235, black 16
    black, white = flat(0), flat(255)
    expected = 20 * math.log10(255 / 219)
    assert PSNRY(4).rows(views(black, target=white))[""].item() == pytest.approx(expected)


def test_psnr_y_ignores_the_border() -> None:
    image, other = flat(10), flat(10)
    other[..., :4, :] = 255
    assert PSNRY(4).rows(views(image, target=other))[""].item() == 100
    assert PSNRY(3).rows(views(image, target=other))[""].item() < 100


def test_ssim_of_constants() -> None:
    # (2 a b + C1) / (a^2 + b^2 + C1) with a = .2, b = .8, C1 = 1e-4
    expected = (2 * 0.16 + 1e-4) / (0.04 + 0.64 + 1e-4)
    assert expected == pytest.approx(0.47067, abs=5e-6)
    for valid in (True, False):
        found = SSIM(valid=valid).rows(views(flat(51), target=flat(204)))[""]
        assert found.item() == pytest.approx(expected, abs=1e-4)


def test_ssim_of_itself_and_of_its_negative() -> None:
    image = pictures(2)
    assert SSIM().rows(views(image, target=image))[""].tolist() == pytest.approx([1, 1])
    assert (SSIM().rows(views(image, target=255 - image))[""] < 0).all()


def test_mirrored_ssim_is_torchmetrics() -> None:
    image, target = pictures(3), pictures(3, seed=1)
    theirs = structural_similarity_index_measure(
        image.double() / 255, target.double() / 255, data_range=1.0, reduction="none"
    )
    assert torch.allclose(SSIM(valid=False).rows(views(image, target=target))[""], theirs)


def test_ms_ssim_of_itself() -> None:
    image = pictures(1, size=MSSSIM.smallest_px)
    assert MSSSIM().rows(views(image, target=image))[""].item() == pytest.approx(1)


def test_edges_forgive_colors() -> None:
    content = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    content[..., 16:] = 200
    recolored = content.clone()
    recolored[:, 0] += 30
    moved = content.roll(4, dims=3)
    kept, shifted = (EdgeSSIM().rows(views(x, content=content))[""].item() for x in (recolored, moved))
    assert kept > 0.99 > 0.9 > shifted


def test_color_histograms_ignore_places() -> None:
    image = pictures(2)
    shuffled = image.flatten(2)[..., torch.randperm(32 * 32)].view_as(image)
    assert RGBUV().rows(views(shuffled, style=image))[""].max() < 1e-3
    red, blue = flat(0), flat(0)
    red[:, 0], blue[:, 2] = 200, 200
    assert 0.9 < RGBUV().rows(views(red, style=blue))[""].item() <= 1


def test_one_style_for_all_images() -> None:
    image, style = pictures(3), pictures(1, size=40, seed=1)
    shared = GramDistance("colors").rows(views(image, style=style))[""]
    single = [GramDistance("colors").rows(views(image[i : i + 1], style=style))[""].item() for i in range(3)]
    assert shared.tolist() == pytest.approx(single)


def test_gram_distance_known_answers() -> None:
    image = pictures(1) // 2
    metric = GramDistance("colors", layers=["plain"])
    assert metric.rows(views(image, style=image))[""].item() == 0
    # Grams of twice the signal are four times as large: (4 - 1)^2 / (16 + 1)
    assert metric.rows(views(image * 2, style=image))[""].item() == pytest.approx(9 / 17, rel=1e-5)
    red, blue = flat(0), flat(0)
    red[:, 0], blue[:, 2] = 200, 100
    assert metric.rows(views(red, style=blue))[""].item() == pytest.approx(1)


def test_layers_are_listed_and_averaged() -> None:
    rows = MomentDistance("colors").rows(views(pictures(2), style=pictures(2, seed=1)))
    assert list(rows) == ["", "plain", "squares"]
    assert torch.allclose(rows[""], (rows["plain"] + rows["squares"]) / 2)


def test_unknown_layer() -> None:
    with pytest.raises(ValueError, match="no maps relu9"):
        GramDistance("colors", layers=["relu9"]).rows(views(pictures(1), style=pictures(1)))


@pytest.mark.parametrize("metric", [FeatureDistance("colors"), CFSD("colors", ["plain"]), PerceptualMaps("colors")])
def test_content_distances_of_the_content(metric: FeatureDistance) -> None:
    content = pictures(2, size=8)
    assert metric.rows(views(content, content=content))[""].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert (metric.rows(views(pictures(2, size=8, seed=1), content=content))[""] > 0).all()


def test_self_similarity_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    image, content = pictures(1, size=8), pictures(1, size=8, seed=1)
    whole = CFSD("colors", ["plain"]).rows(views(image, content=content))[""]
    monkeypatch.setattr("stylebench.functional.self_similarity._ROWS", 7)
    assert torch.allclose(CFSD("colors", ["plain"]).rows(views(image, content=content))[""], whole)


def test_diversity_takes_one_pass_a_result() -> None:
    colors = Colors()
    results = pictures(20, size=8).view(2, 10, 3, 8, 8)
    found = Diversity("colors").rows(views(results[:, 0], colors, alternatives=results))[""]
    assert colors.passes == [20]
    pairs = [
        PerceptualMaps("colors", against="content").rows(views(results[:, i], content=results[:, j]))[""]
        for i in range(10)
        for j in range(i + 1, 10)
    ]
    assert len(pairs) == 45
    assert torch.allclose(found, torch.stack(pairs).mean(0))


def test_equal_results_have_no_diversity() -> None:
    same = pictures(2, size=8)[:, None].expand(-1, 10, -1, -1, -1)
    assert Diversity("colors").rows(views(same[:, 0], alternatives=same))[""].tolist() == [0, 0]


def test_maps_of_a_role_are_made_once() -> None:
    colors = Colors()
    shared = views(pictures(3), colors, style=pictures(3, seed=1))
    GramDistance("colors").rows(shared)
    MomentDistance("colors").rows(shared)
    shared.features("colors", "image")
    assert colors.passes == [3, 3]


def test_lpips_is_torchmetrics_network(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = LPIPS(weights="random")
    assert metric.stem == "pd"
    image, content = pictures(2, size=64), pictures(2, size=64, seed=1)
    theirs = metric.network(image.float() / 255, content.float() / 255, normalize=True).flatten()
    assert torch.allclose(metric.rows(views(image, content=content))[""].float(), theirs, rtol=1e-5)
    assert metric.rows(views(image, content=image))[""].tolist() == [0, 0]


def test_lpips_diversity_is_the_mean_over_pairs() -> None:
    metric, pair = LPIPSDiversity(weights="random"), LPIPS(weights="random")
    results = pictures(3, size=32)[None]
    pairs = [pair.rows(views(results[:, i], content=results[:, j]))[""].item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert metric.stem == "pd_diversity"
    assert metric.rows(views(results[:, 0], alternatives=results))[""].item() == pytest.approx(sum(pairs) / 3)


@pytest.mark.slow
def test_dists_is_torchmetrics_network() -> None:
    metric = DISTS(weights="random")
    image, target = pictures(2, size=64), pictures(2, size=64, seed=1)
    theirs = metric.network(image.float() / 255, target.float() / 255)
    assert torch.allclose(metric.rows(views(image, target=target))[""].float(), theirs, rtol=1e-4)
    assert metric.rows(views(image, target=image))[""].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_missing_weights_name_file_and_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"alexnet-owt-7be5be79\.pth .*or to imagenet to have it downloaded"):
        LPIPS()


def test_pictures_of_other_sizes_and_types_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        PSNR("content").rows(views(pictures(2), content=pictures(2, size=40)))
    with pytest.raises(TypeError, match="uint8 pictures as image"):
        views(pictures(2).float())
    with pytest.raises(ValueError, match="B = 2"):
        views(pictures(2), content=pictures(3))
    with pytest.raises(ValueError, match="compares with target or content"):
        PSNR("style")
