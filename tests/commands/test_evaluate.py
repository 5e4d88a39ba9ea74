"""`stylebench evaluate` on folders: known answers end to end, and every kind of bad input."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stylebench
from stylebench.checks import UsageError
from stylebench.cli.config import compose
from stylebench.commands.evaluate import Evaluated, evaluate
from stylebench.commands.evaluate_table import table, tables
from stylebench.data.images import ImageError
from stylebench.metrics.weights import MissingWeightsError
from stylebench.run_folder import FINISHED, FOLDER, RunFolder, find_runs

RANDOM = np.random.default_rng(0)
ITEMS = {
    "psnr": "stylebench.metrics.pairs.PSNR",
    "ssim": "stylebench.metrics.pairs.SSIM",
    "edge_ssim": "stylebench.metrics.pairs.EdgeSSIM",
    "color": "stylebench.metrics.pairs.RGBUV",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))


def folder(path: Path, *pictures: Any, suffix: str = ".png", size: int = 32) -> str:
    """Write pictures: arrays, gray levels, or None for noise."""
    path.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        if picture is None:
            picture = RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8)
        elif isinstance(picture, int):
            picture = np.full((size, size, 3), picture, dtype=np.uint8)
        Image.fromarray(picture).save(path / f"{number:03d}{suffix}")
    return str(path)


def measured(*overrides: str, metrics: str = "smoke") -> Evaluated:
    return evaluate(compose("evaluate", [f"metrics={metrics}", "device=cpu", *overrides]))


def values(evaluated: Evaluated) -> dict[str, float | None]:
    return {entry["alias"]: entry["value"] for entry in evaluated.record.values()}


def test_pair_metrics_of_known_pictures(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", 51, 51)
    target = folder(tmp_path / "t", 204, 51)
    extra = [f"+metrics.items.{name}._target_={path}" for name, path in ITEMS.items() if name not in ("psnr", "ssim")]
    found = values(measured(f"generated={generated}", f"target={target}", f"content={generated}", *extra))
    # 20 log10(255 / 153) = 4.437 dB, and equal pictures count 100 dB
    assert found["psnr"] == pytest.approx((20 * math.log10(255 / 153) + 100) / 2)
    # (2 a b + C1) / (a^2 + b^2 + C1) = .47067 for .2 and .8, and 1
    assert found["ssim"] == pytest.approx((0.47067 + 1) / 2, abs=1e-4)
    assert found["edge_ssim"] == pytest.approx(1)
    assert found["color"] is None


def test_set_metrics_of_known_pictures(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", *[None] * 12), folder(tmp_path / "r", *[None] * 14)
    other = folder(tmp_path / "o", *range(0, 140, 10))
    found = measured(f"generated={generated}", f"reference={reference}").record
    key = "fd/rand-ms-s3/none/n14x12"
    same = measured(f"generated={generated}", f"reference={generated}").record["fd/rand-ms-s3/none/n12x12"]
    far = measured(f"generated={generated}", f"reference={other}").record[key]
    assert same["value"] == pytest.approx(0, abs=1e-8)
    assert found[key]["value"] < 3 * found[key]["floor"] < far["value"]
    assert {entry["alias"] for entry in found.values()} == {"psnr", "ssim", "fd_rand_ms"}


def test_the_reference_is_cached_and_a_changed_pixel_is_seen(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", *[None] * 8), folder(tmp_path / "r", *[None] * 8)
    first = measured(f"generated={generated}", f"reference={reference}").record
    kept = list((tmp_path / "cache" / "features").glob("*.npz"))
    assert len(kept) == 1
    assert measured(f"generated={generated}", f"reference={reference}").record == first
    picture = np.array(Image.open(tmp_path / "r" / "003.png"))
    picture[0, 0, 0] ^= 255
    Image.fromarray(picture).save(tmp_path / "r" / "003.png")
    assert measured(f"generated={generated}", f"reference={reference}").record != first
    assert len(list((tmp_path / "cache" / "features").glob("*.npz"))) == 2


def test_one_style_picture_serves_all_and_suffixes_do_not_matter(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", None, None, None)
    style = folder(tmp_path / "s", None, size=48)
    content = folder(tmp_path / "c", None, None, None, suffix=".bmp")
    found = values(measured(
        f"generated={generated}", f"style={style}/000.png", f"content={content}", metrics="track"
    ))  # fmt: skip
    for name in ("style_compact_judge", "content_compact_judge"):
        assert found[name] is not None, name
    assert found["strength"] is None
    assert found["fd_compact_judge"] is None


def test_values_are_written_and_shown(tmp_path: Path) -> None:
    generated, target = folder(tmp_path / "g", 10, 20), folder(tmp_path / "t", 30, 40)
    evaluated = measured(f"generated={generated}", f"target={target}", f"output={tmp_path}/out/values.json")
    written = json.loads((tmp_path / "out" / "values.json").read_text())
    about = written.pop("about")
    assert written == evaluated.record
    assert {role: (facts["path"], facts["count"]) for role, facts in about["data"].items()} == {
        "generated": (generated, 2), "target": (target, 2),
    }  # fmt: skip
    assert len(about["data"]["target"]["digest"]) == 64
    assert about["version"] == stylebench.__version__
    shown = tables(evaluated.sets, evaluated.means)
    assert re.search(r"psnr +higher +22\.11", shown)
    assert "floor" not in shown
    assert "fd_rand_ms: needs 2 reference images" in shown
    assert evaluated.record["psnr/n2"]["source_codec"] == "lossless"


def test_what_is_not_measured_is_said_once_with_its_reason() -> None:
    entry = {"shown": "dashboard", "interval": None, "value": 1.0, "n_ref": None, "n_gen": 2}
    absent = {**entry, "value": None, "status": "not_applicable"}
    weights = "the weights of alexnet are not here: no file in x; set weights"

    def lacking(alias: str, *missing: str) -> dict[str, dict[str, Any]]:
        return {alias: {**absent, "alias": alias, "missing": list(missing)}}

    shared = {**lacking("psnr", "target"), **lacking("ssim", "target"), **lacking("pd", weights)}
    first = {"a": {**entry, "alias": "a"}, **shared, **lacking("masks", "world")}
    second = {"a": {**entry, "alias": "a"}, **shared, "masks": {**entry, "alias": "masks"}}
    shown = tables({"one": first, "two": second}, {"a": 1.0})
    assert shown.endswith(f"not measured:\n  psnr, ssim: need target\n  pd: {weights}\n  masks (one): needs world")
    assert shown.count("not measured") == shown.count("target") == 1
    assert "not measured" not in tables({"": {"a": {**entry, "alias": "a"}}}, {})
    both = tables({"": lacking("fd", "2 reference images", "2 generated images")}, {})
    assert both.endswith("  fd: needs 2 reference images and 2 generated images")


def test_a_distance_of_few_images_says_so(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", *[None] * 12), folder(tmp_path / "r", *[None] * 14)
    shown = table(measured(f"generated={generated}", f"reference={reference}").record).splitlines()
    assert re.search(r"metric +better +value +95 % interval +floor +record key", shown[0])
    assert re.search(r"fd_rand_ms +lower +\d", shown[1])
    assert any(line.startswith("12 images for the covariance of 1392 features (fd_rand_ms)") for line in shown)


@pytest.mark.parametrize(("family", "told"), [("fd", True), ("fid", True), ("kd", False), ("kid", False)])
def test_covariances_are_those_of_frechet_distances(family: str, told: bool) -> None:
    entry = {"value": 1.0, "alias": family, "n_ref": 12, "n_gen": 14, "interval": None, "shown": "dashboard"}
    shown = table({f"{family}/inception/none/n12x14": {**entry, "network": {"width": 2048}}})
    assert ("12 images for the covariance of 2048 features" in shown) == told


def test_folders_of_images_are_kept_as_a_run(tmp_path: Path) -> None:
    generated, target = folder(tmp_path / "g", 51, 51), folder(tmp_path / "t", 204, 51)
    evaluated = measured(f"generated={generated}", f"target={target}", f"output={tmp_path}/runs/theirs/")
    (run,) = find_runs(tmp_path / "runs")
    assert (run.record["kind"], run.status, run.record["name"]) == (FOLDER, FINISHED, "g")
    assert run.config["metrics"]["items"].keys() == {"psnr", "ssim", "fd"}
    assert {role: facts["count"] for role, facts in run.record["data"].items()} == {"generated": 2, "target": 2}
    assert run.sets() == ["generated"]
    assert run.values("generated") == json.loads(json.dumps(evaluated.record))
    # 20 log10(255 / 153) = 4.437 dB, and equal pictures count 100 dB
    found = {row["content_id"]: row["psnr/n2"] for row in run.rows("generated")}
    assert found == {"000": pytest.approx(4.437, abs=1e-3), "001": 100.0}
    assert run.final()["psnr"] == pytest.approx((4.437 + 100) / 2, abs=1e-3)
    manifest = json.loads((run.set_folder("generated") / "manifest.json").read_text())
    assert manifest == {"source_codec": "lossless", "images": {}}
    assert [path.relative_to(tmp_path) for path in evaluated.written] == [Path("runs/theirs/evaluation/generated")]
    again = measured(f"generated={generated}", f"target={generated}", f"output={run.path}")  # now that it is a folder
    assert RunFolder(run.path).final()["psnr"] == 100.0
    assert again.written == evaluated.written


def test_networks_of_a_kept_evaluation_are_described_once(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", *[None] * 4), folder(tmp_path / "r", *[None] * 4)
    evaluated = measured(f"generated={generated}", f"reference={reference}", f"output={tmp_path}/run/")
    run = RunFolder(tmp_path / "run")
    written = json.loads((run.set_folder("generated") / "values.json").read_text())
    key = "fd/rand-ms-s3/none/n4x4"
    assert list(written["networks"]) == ["rand-ms-s3"]
    assert written["entries"][key]["network"] == {"name": "rand-ms-s3"}
    assert run.values("generated")[key]["network"] == evaluated.record[key]["network"]
    assert written["facts"] == {"source_codec": "lossless", "reference_codec": "lossless"}


def test_lossy_files_are_told_apart(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", *[None] * 4)
    reference = folder(tmp_path / "r", *[None] * 4, suffix=".jpg")
    entry = next(iter(measured(f"generated={generated}", f"reference={reference}").record.values()))
    assert (entry["source_codec"], entry["reference_codec"]) == ("lossless", "lossy")


def test_report_without_weights_uses_no_reserved_word(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", *[None] * 8), folder(tmp_path / "r", *[None] * 8)
    record = measured(f"generated={generated}", f"reference={reference}", metrics="report").record
    names = " ".join([*record, *(entry["alias"] for entry in record.values())])
    assert not [word for word in ("fid", "kid", "lpips", "cmmd") if word in names]
    missing = next(entry for key, entry in record.items() if key.startswith("fd/inception"))
    assert "stylebench prepare encoder=inception" in missing["missing"][0]


def bad(message: str, error: type[Exception], *overrides: str) -> None:
    with pytest.raises(error, match=message):
        measured(*overrides)


def test_nothing_to_evaluate_or_to_compare_with(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", None)
    bad("name what to evaluate", UsageError)
    bad("one of them", UsageError, f"generated={generated}", f"run={tmp_path}")
    bad("name what the images are compared with", UsageError, f"generated={generated}")


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", None)
    (tmp_path / "empty").mkdir()
    bad(
        r"no images \(\*?\.jpg.*under reference=",
        FileNotFoundError,
        f"generated={generated}",
        f"reference={tmp_path}/empty",
    )
    bad("there is nothing at generated=", FileNotFoundError, f"generated={tmp_path}/x", f"reference={generated}")


def test_one_image_has_no_set_metrics(tmp_path: Path) -> None:
    generated, reference = folder(tmp_path / "g", None), folder(tmp_path / "r", None, None)
    record = measured(f"generated={generated}", f"reference={reference}").record
    assert record["fd/rand-ms-s3/none/n2x1"]["missing"] == ["2 generated images"]


def test_images_without_a_partner_are_listed(tmp_path: Path) -> None:
    generated, target = folder(tmp_path / "g", *[None] * 13), folder(tmp_path / "t", None)
    bad(
        r"12 of 13 generated images have no partner .*target=.*: 001, 002, .*010, and 2 more", ValueError,
        f"generated={generated}", f"target={target}",
    )  # fmt: skip


def test_mixed_sizes_of_sets_need_a_common_one(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", None, None)
    Image.new("RGB", (40, 30)).save(tmp_path / "g" / "009.png")
    reference = folder(tmp_path / "r", None, None)
    given = (f"generated={generated}", f"reference={reference}")
    bad(r"2 sizes \(40 x 30, 32 x 32; width x height\).*size_px=256", ValueError, *given)
    assert measured(*given, "size_px=24").record["fd/rand-ms-s3/none/n2x3"]["value"] is not None
    larger = folder(tmp_path / "l", None, None, size=48)
    bad("2 sizes", ValueError, f"generated={reference}", f"reference={larger}")
    bad(r"000\.png is 48 x 48, .*000\.png 32 x 32", ValueError, f"generated={reference}", f"target={larger}")
    bad("size_px", ValueError, *given, "size_px=0")


def test_pairs_are_compared_each_at_its_own_size(tmp_path: Path) -> None:
    """Portrait and landscape together give the mean of what each gives alone."""
    random = np.random.default_rng(0)
    for name, shape in (("tall", (48, 32, 3)), ("wide", (32, 48, 3)), ("large", (64, 64, 3))):
        for role in ("generated", "target"):
            for place in ("together", name):
                (tmp_path / place / role).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            for place in ("together", name):
                Image.fromarray(pixels).save(tmp_path / place / role / f"{name}.png")

    def psnr(place: str) -> float:
        pair = (f"generated={tmp_path / place / 'generated'}", f"target={tmp_path / place / 'target'}")
        found = values(measured(*pair))["psnr"]
        assert found is not None
        return found

    assert psnr("together") == pytest.approx(np.mean([psnr(name) for name in ("tall", "wide", "large")]))


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    generated, target = folder(tmp_path / "g", None), folder(tmp_path / "t", None)
    (tmp_path / "t" / "000.png").write_bytes(b"no picture")
    bad(r"000\.png", ImageError, f"generated={generated}", f"target={target}")


def test_required_metrics(tmp_path: Path) -> None:
    generated, target = folder(tmp_path / "g", None), folder(tmp_path / "t", None)
    bad("fd needs reference", ValueError, f"generated={generated}", f"target={target}", "metrics.required=[fd]")
    bad("metrics.items has psnr", ValueError, f"generated={generated}", f"target={target}", "metrics.required=[x]")
    with pytest.raises(MissingWeightsError, match=r"alexnet-owt-7be5be79\.pth"):
        measured(f"generated={generated}", f"content={target}", "metrics.required=[lpips]", metrics="report")


def test_two_pictures_of_one_name(tmp_path: Path) -> None:
    generated = folder(tmp_path / "g", None)
    Image.new("RGB", (32, 32)).save(tmp_path / "g" / "000.bmp")
    bad("several images called 000", ValueError, f"generated={generated}", f"target={generated}")


def test_settings_of_runs_change_nothing_for_folders_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generated = folder(tmp_path / "g", None, None)
    measured(f"generated={generated}", f"target={generated}", "split=val", "weights=raw", "save_images=true")
    told = [line for line in caplog.messages if "changes nothing for folders of images" in line]
    assert [line.split()[0] for line in told] == ["split=val", "weights=raw", "save_images=True"]
