import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache, fingerprint
from stylebench.metrics.combined import ArtFD
from stylebench.metrics.evaluator import Evaluator, mean_over
from stylebench.metrics.extractors.base import Extractor, unit_range
from stylebench.metrics.feature_pairs import FeatureDistance, GramDistance
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.pairs import MSSSIM, PSNR
from stylebench.metrics.perceptual import LPIPS
from stylebench.metrics.records import Value, to_record
from stylebench.metrics.sets import FrechetDistance, KernelDistance, Manifold
from stylebench.metrics.weights import MissingWeightsError
from stylebench.run_folder import dashboard
from stylebench.statistics.columns import one_column


class Pixels(Extractor):
    """Every pixel is a feature."""

    name, alias, digest, origin, taps = "pixels-0", "pixels", "0", "none", ()

    def __init__(self, side: int = 4, canonical: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.width, self.canonical = 3 * side * side, canonical
        self.num_features = self.width  # torchmetrics asks
        self.passes = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += len(images)
        return unit_range(images).flatten(1)


def pictures(count: int, seed: int = 0, side: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def feed(evaluator: Evaluator, images: torch.Tensor, size: int = 7, **roles: Any) -> None:
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        known = {role: part[rows] for role, part in roles.items()}
        places = torch.arange(len(images))[rows]
        evaluator.update(EvaluationBatch(images[rows], places, **known))


def reference(images: torch.Tensor) -> dict[str, FeatureSet]:
    return {"pixels": FeatureSet.of(Pixels()(images))}


def entries(evaluator: Evaluator, images: torch.Tensor) -> dict[str, dict[str, Any]]:
    return to_record(evaluator.compute(reference(images)))


def test_one_pass_feeds_every_metric() -> None:
    pixels = Pixels()
    evaluator = Evaluator(
        {"pixels": pixels},
        {"fd": FrechetDistance("pixels"), "kd": KernelDistance("pixels"), "prdc": Manifold("pixels")},
    )
    feed(evaluator, pictures(60))
    assert pixels.passes == 60
    record = entries(evaluator, pictures(70, seed=1))
    assert [entry["alias"] for entry in record.values()] == [
        "fd_pixels", "kd_pixels", "prdc_pixels_precision", "prdc_pixels_recall", "prdc_pixels_density",
        "prdc_pixels_coverage",
    ]  # fmt: skip
    assert next(iter(record)) == "fd/pixels-0/none/n70x60"
    assert record["fd/pixels-0/none/n70x60"]["floor"] > 0


def test_the_distance_is_torchmetrics_with_the_same_extractor() -> None:
    real, fake = pictures(80), pictures(70, seed=1) // 2
    theirs = FrechetInceptionDistance(feature=Pixels()).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    theirs.orig_dtype = torch.float64  # else the result is cast back to float32
    evaluator = Evaluator({"pixels": Pixels()}, {"fd": FrechetDistance("pixels")})
    feed(evaluator, fake)
    assert evaluator.compute(reference(real))[0].value == pytest.approx(float(theirs.compute()), rel=1e-9)


def test_order_and_duplicates_change_nothing() -> None:
    images = pictures(40)
    metrics = {"fd": FrechetDistance("pixels"), "psnr": PSNR()}
    plain, shuffled = (Evaluator({"pixels": Pixels()}, dict(metrics)) for _ in range(2))
    target = pictures(40, seed=2)[:, None]
    feed(plain, images, target=target)
    for rows in (torch.arange(39, 19, -1), torch.arange(0, 25)):  # five images come twice
        shuffled.update(EvaluationBatch(images[rows], rows, target=target[rows]))
    assert entries(plain, pictures(50, seed=1)) == entries(shuffled, pictures(50, seed=1))


@pytest.mark.parametrize("count", [41, 20_000])
def test_moments_alone_give_the_same_distance(count: int) -> None:
    images, real = pictures(100), FeatureSet.of(Pixels()(pictures(120, seed=1)))
    moments = FeatureSet(real.count, real.mean, real.moments().covariance * (real.count - 1), None)
    kept, summed = (
        Evaluator({"pixels": Pixels()}, {"fd": FrechetDistance("pixels")}, expected=n) for n in (100, count)
    )
    for evaluator in (kept, summed):
        feed(evaluator, images)
    values = [kept.compute({"pixels": real})[0].value, summed.compute({"pixels": moments})[0].value]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_reserved_words_need_canonical_weights() -> None:
    metrics = {"fd": FrechetDistance("pixels"), "kd": KernelDistance("pixels")}
    for canonical, words in (((), ("fd", "kd")), (("fid", "kid"), ("fid", "kid"))):
        evaluator = Evaluator({"pixels": Pixels(canonical=canonical)}, dict(metrics))
        feed(evaluator, pictures(30))
        record = entries(evaluator, pictures(30, seed=1))
        assert tuple(key.split("/")[0] for key in record) == words
        assert [entry["alias"] for entry in record.values()] == (
            list(words) if canonical else ["fd_pixels", "kd_pixels"]
        )


def test_without_weights_no_key_holds_a_reserved_word() -> None:
    missing = MissingWeightsError("no file x; get it")
    evaluator = Evaluator(
        {"inception": missing},
        {"fid": FrechetDistance("inception"), "kid": KernelDistance("inception"), "lpips": missing},
    )
    feed(evaluator, pictures(10))
    record = to_record(evaluator.compute({}))
    names = " ".join([*record, *(entry["alias"] for entry in record.values())])
    assert not [word for word in ("fid", "kid", "lpips", "cmmd") if word in names]
    assert {entry["status"] for entry in record.values()} == {"not_applicable"}
    assert all(entry["missing"] == ["no file x; get it"] for entry in record.values())


def test_what_lacks_its_inputs_does_not_apply() -> None:
    evaluator = Evaluator(
        {"pixels": Pixels()}, {"psnr": PSNR(), "ms": MSSSIM("content"), "fd": FrechetDistance("pixels")}
    )
    feed(evaluator, pictures(5), content=pictures(5))
    by_alias = {entry["alias"]: entry for entry in to_record(evaluator.compute({})).values()}
    assert by_alias["psnr"]["missing"] == ["target"]
    assert by_alias["ms_ssim_content"]["missing"] == ["images of at least 176 px a side"]
    assert by_alias["fd_pixels"]["missing"] == ["2 reference images"]
    assert all(entry["value"] is None for entry in by_alias.values())


def test_required_metrics_are_checked_before_any_work() -> None:
    evaluator = Evaluator(
        {"pixels": Pixels()}, {"psnr": PSNR(), "fd": FrechetDistance("pixels")}, required=["psnr", "fd"]
    )
    with pytest.raises(ValueError, match="psnr needs target; fd needs reference"):
        evaluator.check_required({"content"})
    evaluator.check_required({"target", "reference"})


def test_one_image_is_no_set() -> None:
    evaluator = Evaluator({"pixels": Pixels()}, {"fd": FrechetDistance("pixels")})
    feed(evaluator, pictures(1))
    (value,) = evaluator.compute(reference(pictures(9)))
    assert value.value is None
    assert value.missing == ("2 generated images",)


def test_the_training_encoder_is_refused_or_marked() -> None:
    class Trained(Pixels):
        name, taps = "compact-12345678", ("plain",)

        def maps(self, images: torch.Tensor, layers: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
            return {"plain": unit_range(images)}

    parts: dict[str, Any] = {"compact": Trained()}
    with pytest.raises(ValueError, match=r"style would measure with compact-12345678, which trained the method"):
        Evaluator(parts, {"style": GramDistance("compact")}, train_encoder="compact-12345678")
    evaluator = Evaluator(
        parts, {"style": GramDistance("compact")}, train_encoder="compact-12345678", allow_same_encoder=True
    )
    feed(evaluator, pictures(3), style=pictures(3, seed=1))
    assert next(iter(to_record(evaluator.compute({})))) == "style/compact-12345678/none/n3@train-encoder"
    Evaluator(parts, {"style": GramDistance("compact")}, train_encoder="compact-87654321")


def test_a_pass_stops_at_the_deepest_tap_that_is_asked_for() -> None:
    class Taps(Pixels):
        taps = ("a", "b", "c")

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[Sequence[str] | None] = []

        def maps(self, images: torch.Tensor, layers: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
            self.asked.append(layers)
            return {tap: unit_range(images) for tap in (self.taps if layers is None else layers)}

        def pool(self, maps: dict[str, torch.Tensor]) -> torch.Tensor:
            return maps["a"].flatten(1)

    parts: dict[str, Any] = {"x": Taps(), "y": Taps()}
    style, content = GramDistance("x", ["b", "a"]), FeatureDistance("y", ["b"])
    evaluator = Evaluator(parts, {"style": style, "content": content, "fd": FrechetDistance("x")})
    feed(evaluator, pictures(3), style=pictures(3), content=pictures(3))
    assert parts["x"].asked == [None, ("a", "b")]  # the images' features need every tap, the styles' maps do not
    assert parts["y"].asked == [("b",), ("b",)]


def test_artfd_is_the_product_of_two_values_and_keeps_both() -> None:
    # (1 + .5) (1 + 9) = 15, and (1 + 0) (1 + 0) = 1
    content, style = Value("pd", 0.5, "pd", n_gen=4), Value("fd", 9.0, "fd_x", "x-1", "none", n_ref=5, n_gen=4)
    found = ArtFD("a", "b").combine({"a": content, "b": style})
    assert (found.value, found.alias, found.details["style"]) == (15, "artfd_x", 9)
    perfect = ArtFD("a", "b").combine({"a": replace(content, value=0.0), "b": replace(style, value=0.0)})
    assert perfect.value == 1
    kernel = ArtFD("a", "b").combine({"a": content, "b": replace(style, family="kd", alias="kd_x", value=-0.01)})
    assert (kernel.value, kernel.family) == (1.5, "art_kd")  # an unbiased distance below 0 is none
    absent = ArtFD("a", "b").combine({"a": replace(content, value=None, missing=("content",)), "b": style})
    assert (absent.value, absent.missing) == (None, ("content",))
    with pytest.raises(ValueError, match="there is no b"):
        ArtFD("a", "b").combine({"a": content})


def test_unknown_extractor_is_named() -> None:
    with pytest.raises(ValueError, match=r"metric fd asks for the extractor 'other'; metrics\.extractors has pixels"):
        Evaluator({"pixels": Pixels()}, {"fd": FrechetDistance("other")})


def test_networks_of_metrics_are_in_no_module() -> None:
    evaluator = Evaluator({"pixels": Pixels()}, {"pd": LPIPS(weights="random")})
    assert not isinstance(evaluator, torch.nn.Module)


def test_building_a_network_leaves_the_random_state() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    LPIPS(weights="random")
    assert torch.equal(torch.get_rng_state(), before)


def test_crossed_designs_are_seen() -> None:
    grid = [[1, 2, 4], [2, 4, 5], [6, 5, 9]]
    rows = [(3 * i + j, f"s{i}", f"c{j}", float(grid[i][j])) for i in range(3) for j in range(3)]
    found = mean_over(rows)
    assert found.design == "3 styles x 3 contents"
    assert found.half_width == pytest.approx(4.6308, abs=1e-4)
    apart = mean_over(rows[:-1])  # two of three styles are whole: means 7/3, 11/3 and 5.5 are the units
    assert apart.design == "3 styles, 8 images"
    assert apart.mean == pytest.approx((7 / 3 + 11 / 3 + 5.5) / 3)
    assert mean_over([(i, f"s{i}", "c", float(i)) for i in range(4)]).design == "n=4"
    assert mean_over([*rows[:2], (9, "s", "c", math.nan)]).design == "n=2"


def test_keys_say_how_a_value_was_made() -> None:
    value = Value(
        "fd",
        1.5,
        "fd_x",
        "x-1",
        "clean",
        n_ref=3,
        n_gen=2,
        variant="half",
        flags=("a", "b"),
        details={"floor": math.inf},
    )
    assert value.key == "fd/half/x-1/clean/n3x2@a@b"
    record = to_record([value], weights="ema")
    assert record[value.key]["floor"] is None
    assert dashboard(record, "val") == {"val/fd_x": 1.5}
    with pytest.raises(ValueError, match="two values claim the record key"):
        to_record([value, value])


def test_a_column_takes_one_record_key() -> None:
    assert one_column(["fd/x/none/n5x5"] * 3) == "fd/x/none/n5x5"
    with pytest.raises(ValueError, match="one column of a table takes one record key"):
        one_column(["fd/x/none/n5x5", "fd/y/none/n5x5"])


def test_cache_returns_what_was_made_once(tmp_path: Path) -> None:
    cache, made = ReferenceCache(tmp_path), []

    def make() -> FeatureSet:
        made.append(1)
        return FeatureSet.of(torch.arange(12.0).view(4, 3))

    first, second = (cache.get({"data": "d", "n": 4}, make) for _ in range(2))
    assert len(made) == 1
    assert torch.equal(first.rows(), second.rows())
    assert torch.equal(first.mean, second.mean)
    cache.get({"n": 4, "data": "d"}, make)  # the order of keys does not matter
    assert len(made) == 1
    cache.get({"data": "e", "n": 4}, make)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["truncate", "nonsense", "other key", "shapes"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cache, facts = ReferenceCache(tmp_path), {"data": "d"}
    good = FeatureSet.of(torch.arange(12.0).view(4, 3))
    cache.get(facts, lambda: good)
    path = tmp_path / f"{fingerprint(facts)}.npz"
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "nonsense":
        path.write_bytes(b"nonsense")
    else:
        with np.load(path) as stored:
            parts = dict(stored)
        parts |= {"key": "0" * 32} if damage == "other key" else {"features": parts["features"][:, :2]}
        np.savez(path, **parts)
    found = cache.get(facts, lambda: FeatureSet.of(torch.zeros(2, 3)))
    assert found.count == 2
    assert "made again" in caplog.text
    assert cache.get(facts, lambda: good).count == 2  # the new one was kept
