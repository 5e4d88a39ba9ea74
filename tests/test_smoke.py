"""Every model config, from training to a painted picture: a new file in conf/model is covered by being there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import stylebench
from stylebench.callbacks.checkpoints import checkpoint_files
from stylebench.cli import main
from stylebench.files import read_pickle
from stylebench.run import train

CONF = Path(__file__).resolve().parents[1] / "conf"
MODELS = [path.stem for path in sorted((CONF / "model").glob("*.yaml"))]
NETWORKS = [path.stem for path in sorted((CONF / "model" / "network").glob("*.yaml"))]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["stylebench", *arguments])
    main()


# What a model's file needs beside its name to be quick; every network of a model that chooses one.
CASES = [[f"model={model}"] for model in MODELS if model != "fast_transfer"]
CASES += [["model=fast_transfer", f"model/network={network}"] for network in NETWORKS]
FEW = ["model.translator.evaluations=2", "model.snapshots=[1]"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[-1 if len(case) == 1 else 1])
def test_model_trains_evaluates_paints_and_exports(
    case: list[str],
    tiny_config: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, picture = tmp_path / "run", tmp_path / "picture.png"
    # johnson_paper takes images of at least 41 px
    sizes = ["dataset.size_px=44", "dataset.batch_size=2", "budget.batches=3", "budget.evaluate_every=2"]
    optimizes = "minimizer" in tiny_config(*case)["model"]
    result = train(tiny_config(*case, *sizes, *(FEW if optimizes else [])), run, [])
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
    style = [f"style={picture}"] if result.takes_style else []
    command(monkeypatch, "stylize", f"run={run}", f"input={picture}", f"output={tmp_path / 'painted.png'}", *style)
    with Image.open(tmp_path / "painted.png") as painted:
        assert painted.size == (51, 45)

    command(monkeypatch, "export", f"run={run}", f"output={tmp_path / 'exported'}")
    images = torch.rand(2, 3, 45, 51, generator=torch.Generator().manual_seed(0))
    given = {"style": torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(1))} if style else {}
    expected = stylebench.load(run).translate(images, **given)
    assert torch.equal(stylebench.load(tmp_path / "exported").translate(images, **given), expected)
    assert torch.equal(stylebench.load(checkpoints[0]).translate(images, **given), expected)
    assert 0 <= float(expected.min()) <= float(expected.max()) <= 1
