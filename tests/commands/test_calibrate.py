"""Statistics of a domain: taken by a command, kept beside the weights, chosen where the model is used."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import stylebench
from stylebench.adaptation.adabn import recalibrate
from stylebench.checks import UsageError
from stylebench.cli.config import compose
from stylebench.commands.calibrate import Calibrated, calibrate, crops
from stylebench.data.augmentation import CropSettings
from stylebench.files import DamagedFileError, read_pickle
from stylebench.inference.export import export
from stylebench.inference.loading import TrainedModel
from stylebench.inference.translators.base import Translator
from stylebench.nn.normalization import using
from stylebench.nn.seeded_dropout import seeded_dropout

RUNS = Path(__file__).parents[1] / "frozen" / "runs"
Take = Callable[..., Calibrated]


@pytest.fixture(scope="module")
def dusk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of dark, reddish pictures of two shapes."""
    folder, random = tmp_path_factory.mktemp("data") / "dusk", np.random.default_rng(0)
    folder.mkdir()
    for number in range(6):
        pixels = random.integers(0, 90, (40 + 8 * (number % 2), 40, 3)) * [1.0, 0.4, 0.3]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(RUNS / "pix2pix" / "run", tmp_path / "run")


@pytest.fixture
def take(run: Path, dusk: Path) -> Take:
    def calibrated(*words: str) -> Calibrated:
        return calibrate(compose("calibrate", [f"run={run}", f"domain={dusk}", "size_px=32", *words]))

    return calibrated


def loaded(folder: Path) -> Translator:
    model = stylebench.load(folder)
    assert isinstance(model, Translator)
    return model


def picture() -> Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_statistics_lie_beside_the_weights_and_are_chosen_where_the_model_is_used(run: Path, take: Take) -> None:
    before = loaded(run)
    weights = {name: value.clone() for name, value in before.state_dict().items()}
    calibrated = take()
    assert calibrated.file == run / "statistics" / "dusk.safetensors"
    assert calibrated.report.images == 6
    model = loaded(run)
    assert [control.name for control in model.controls] == [
        *(each.name for each in before.controls),
        "statistics",
        "statistics_share",
    ]
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
    plain = before.translate(picture())
    assert torch.equal(model.translate(picture()), plain)  # each image's own statistics, as it was trained
    assert torch.equal(model.translate(picture(), statistics="image"), plain)
    dusk, source = (model.translate(picture(), statistics=name) for name in ("dusk", "source"))
    assert not torch.equal(dusk, plain)
    assert not torch.equal(dusk, source)
    with torch.no_grad(), using(before, "running"), seeded_dropout(before, torch.tensor([0])):
        torch.testing.assert_close(source, (before.generator(picture() * 2 - 1) + 1) / 2)  # type: ignore[operator]
    for share, expected in ((0.0, source), (1.0, dusk)):
        found = model.translate(picture(), statistics="dusk", statistics_share=share)
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="a domain's mix"):
        model.translate(picture(), statistics="image", statistics_share=0.5)
    with pytest.raises(ValueError, match="statistics is one of image, source, dusk, got 'dawn'"):
        model.translate(picture(), statistics="dawn")


def test_they_are_those_of_the_central_crops(run: Path, take: Take, dusk: Path) -> None:
    found = take("propagate=sequential", "name=evening").report
    images = []
    for path in sorted(dusk.iterdir()):
        pixels = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1).float()
        top = (pixels.shape[1] - 40) // 2
        cut = pixels[None, :, top : top + 40]
        images.append(torch.nn.functional.interpolate(cut, (32, 32), mode="bilinear", antialias=True) / 255)
    model = loaded(run)

    def with_its_noise(generator: nn.Module, batch: Tensor) -> None:
        with seeded_dropout(generator, torch.tensor([0])):
            generator(batch)

    expected = recalibrate(
        model.generator, [torch.cat(images) * 2 - 1], propagate="sequential", forward=with_its_noise
    ).statistics
    for name, statistics in expected.items():
        for part, other in zip(found.statistics[f"generator.{name}"], statistics, strict=True):
            torch.testing.assert_close(part, other, rtol=1e-4, atol=1e-4)


def test_an_export_takes_them_along(run: Path, take: Take, tmp_path: Path) -> None:
    take()
    take("name=evening", "prior_images=4")
    exported = export(run, tmp_path / "exported")
    assert sorted(str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()) == [
        "model.json", "model.safetensors", "statistics/dusk.safetensors", "statistics/evening.safetensors",
    ]  # fmt: skip
    models = [loaded(run), loaded(exported)]
    made = [[model.translate(picture(), statistics=name) for name in ("dusk", "evening")] for model in models]
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True))
    assert not torch.equal(*made[0])


def test_statistics_of_other_weights_are_left_out(run: Path, take: Take, caplog: pytest.LogCaptureFixture) -> None:
    take("weights=raw")
    assert "statistics" in {control.name for control in stylebench.load(run, weights="raw").controls}
    newest = max((run / "checkpoints").glob("*.ckpt"))
    checkpoint = read_pickle(newest)
    state = checkpoint["state_dict"]
    name = next(key for key in state if ".generator." in f".{key}" and state[key].ndim == 4)
    state[name] = state[name] + 1
    torch.save(checkpoint, newest)
    assert "statistics" not in {control.name for control in stylebench.load(run, weights="raw").controls}
    assert "dusk.safetensors is left out" in caplog.text


def test_damaged_statistics_are_refused(run: Path, take: Take) -> None:
    file = take().file
    content = file.read_bytes()
    for damaged in (content[:-9], b"", content.replace(b'"format":"1"', b'"format":"7"')):
        file.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="stylebench calibrate"):
            stylebench.load(run)


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (["domain=nowhere"], UsageError, "nowhere"),
        (["split=test", "domain=nobody"], UsageError, "nobody"),
        (["name=source"], UsageError, "source"),
        (["name=batch"], ValueError, "batch"),
        (["layers=nine"], ValueError, "nine"),
        (["max_images=1"], ValueError, "max_images"),
        (["batch_size=1"], ValueError, "batch_size"),
    ],
)
def test_what_cannot_be_calibrated_is_said(
    words: list[str], error: type[Exception], match: str, run: Path, take: Take
) -> None:
    with pytest.raises(error, match=match):
        take(*words)
    assert not (run / "statistics").exists()


@pytest.mark.parametrize(("method", "match"), [("stargan", "InstanceNorm"), ("adain", "no norm at all")])
def test_a_model_without_batch_norm_is_refused(method: str, match: str, tmp_path: Path, dusk: Path) -> None:
    run = shutil.copytree(RUNS / method / "run", tmp_path / "run")
    with pytest.raises(ValueError, match=match):
        calibrate(compose("calibrate", [f"run={run}", f"domain={dusk}"]))


def test_crops_are_those_of_the_training_s_evaluations_unless_a_size_is_given() -> None:
    trained = TrainedModel(Path("x"), {}, {}, "raw", config={"dataset": {"size_px": 32, "resize_px": 40}})
    assert crops({"size_px": None}, trained) == CropSettings(32, 40, False)
    assert crops({"size_px": 24}, trained) == CropSettings(24, None, False)
    assert crops({"size_px": None}, TrainedModel(Path("x"), {}, {}, "raw")) == CropSettings(256, None, False)
