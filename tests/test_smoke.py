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


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("model", MODELS)
def test_model_trains_evaluates_paints_and_exports(
    model: str,
    network: str,
    tiny_config: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, picture = tmp_path / "run", tmp_path / "picture.png"
    # johnson_paper takes images of at least 41 px
    sizes = ["dataset.size_px=44", "dataset.batch_size=2", "budget.batches=3", "budget.evaluate_every=2"]
    result = train(tiny_config(f"model={model}", f"model/network={network}", *sizes), run, [])
    assert result.batches == 3
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert {"train/loss/total", "val/loss/total"} <= set(result.metrics)
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
    command(monkeypatch, "stylize", f"run={run}", f"input={picture}", f"output={tmp_path / 'painted.png'}")
    with Image.open(tmp_path / "painted.png") as painted:
        assert painted.size == (51, 45)

    command(monkeypatch, "export", f"run={run}", f"output={tmp_path / 'exported'}")
    images = torch.rand(2, 3, 45, 51, generator=torch.Generator().manual_seed(0))
    expected = stylebench.load(run).translate(images)
    assert torch.equal(stylebench.load(tmp_path / "exported").translate(images), expected)
    assert torch.equal(stylebench.load(checkpoints[0]).translate(images), expected)
    assert 0 <= float(expected.min()) <= float(expected.max()) <= 1
