"""Every model config, from training to a painted picture: a new file in conf/model is covered by being there."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import stylebench
from stylebench.cli.config import compose
from stylebench.cli.main import main
from stylebench.commands.train import train
from stylebench.files import read_pickle
from stylebench.inference.classifier import Classifier
from stylebench.run_folder import checkpoint_files
from tests.helpers.tiny import FAST_TRANSFER, TINY

CONF = Path(__file__).resolve().parents[1] / "conf"
FILES = sorted((CONF / "model").glob("*.yaml"))


def is_preset(path: Path) -> bool:
    """Tell whether a file begins with another model's: that model with other numbers, which `test_conf` composes."""
    first = yaml.safe_load(path.read_text()).get("defaults", [None])[0]
    return isinstance(first, str) and first in {each.stem for each in FILES}


MODELS = [path.stem for path in FILES if not is_preset(path)]
NETWORKS = [path.stem for path in sorted((CONF / "model" / "generator").glob("*.yaml"))]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["stylebench", *arguments])
    main()


FEW = ["model.evaluations=2", "model.snapshots=[1]"]  # of a model that optimizes each picture
# Every network of a model that chooses one; johnson_paper takes images of at least 41 px.
CASES = [[f"model={model}"] for model in MODELS if model != "fast_transfer"]
CASES += [["model=fast_transfer", f"model/generator={network}", "dataset.size_px=44"] for network in NETWORKS]


def configure(case: list[str], *more: str) -> dict[str, Any]:
    """Compose the config of a run of seconds, as small as the test of its method says."""
    name = f"tests.methods.test_{case[0].removeprefix('model=')}"
    found = getattr(importlib.import_module(name), "TINY", None) if importlib.util.find_spec(name) else None
    tiny = found or [override for override in TINY if case[0] == "model=fast_transfer" or override not in FAST_TRANSFER]
    chosen = [override for override in tiny if not override.startswith(("model=", "metrics="))]
    sizes = ["dataset.batch_size=2", "budget.batches=3", "budget.evaluate_every=2", "metrics=track", "metrics.scenes=0"]
    return compose("train", [*chosen, *case, *sizes, "checkpoint.every_n_batches=2", "checkpoint.keep=2", *more])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[-1 if len(case) == 1 else 1])
def test_model_trains_evaluates_paints_and_exports(
    case: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, picture = tmp_path / "run", tmp_path / "picture.png"
    config = configure(case)
    optimizes = "minimizer" in config["model"]
    result = train(configure(case, *FEW) if optimizes else config, run, [])
    assert result.batches == 3
    assert all(np.isfinite(value) for value in result.metrics.values())
    wanted = {"val/loss/style"} if optimizes else {"train/loss/total", "val/loss/total"}
    assert wanted <= set(result.metrics)
    assert json.loads((run / "record.json").read_text())["status"] == "finished"
    assert yaml.safe_load((run / "config.yaml").read_text())["name"]
    assert [path.name for path in sorted((run / "samples").iterdir())] == [
        "batch-000000002.png", "batch-000000003.png",
    ]  # fmt: skip
    checkpoints = checkpoint_files(run / "checkpoints")
    assert len(checkpoints) == 2
    assert all(read_pickle(path)["stylebench"]["batches"] in (2, 3) for path in checkpoints)

    pixels = np.random.default_rng(0).integers(0, 256, (45, 51, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    images = torch.rand(2, 3, 45, 51, generator=torch.Generator().manual_seed(0))
    loaded = stylebench.load(run)
    command(monkeypatch, "export", f"run={run}", f"output={tmp_path / 'exported'}")
    if isinstance(loaded, Classifier):
        command(monkeypatch, "classify", f"run={run}", f"input={picture}", f"output={tmp_path / 'labels.csv'}")
        logits = loaded.classify(images)
        assert torch.equal(stylebench.load(tmp_path / "exported").classify(images), logits)
        assert torch.equal(stylebench.load(checkpoints[0]).classify(images), logits)
        return
    style = [f"style={picture}"] if "style" in [taken.name for taken in result.inputs] else []
    command(monkeypatch, "stylize", f"run={run}", f"input={picture}", f"output={tmp_path / 'painted.png'}", *style)
    with Image.open(tmp_path / "painted.png") as painted:
        assert painted.size == loaded.result_size(45, 51)[::-1]

    given = {"style": torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(1))} if style else {}
    expected = loaded.translate(images, **given)
    assert torch.equal(stylebench.load(tmp_path / "exported").translate(images, **given), expected)
    assert torch.equal(stylebench.load(checkpoints[0]).translate(images, **given), expected)
    assert 0 <= float(expected.min()) <= float(expected.max()) <= 1


@pytest.mark.parametrize("case", [[f"model={model}"] for model in MODELS], ids=lambda case: case[0])
def test_model_trains_on_crops_with_two_sides(case: list[str], tmp_path: Path) -> None:
    sizes = ["dataset.size_px=[32,64]", "dataset.resize_px=[32,64]", "dataset.store.size_px=64"]
    few = FEW if "minimizer" in configure(case)["model"] else []
    result = train(configure(case, *sizes, *few), tmp_path / "run", [])
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert result.opened is not None
    assert result.opened.task.size_px == (32, 64)
