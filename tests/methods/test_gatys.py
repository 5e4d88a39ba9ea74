"""Image optimization as a method: an ordinary run folder, each pair optimized once, nothing trained."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import stylebench
from stylebench.cli.config import compose
from stylebench.commands.evaluate import evaluate
from stylebench.commands.train import train
from stylebench.inference.translators.gatys import GatysTranslator
from stylebench.methods.optimized_pairs import OptimizedPairs
from stylebench.optimization.gatys import Progress
from stylebench.run_folder import RunFolder

TINY = [
    "dataset=procedural", "dataset.store.count=40", "dataset.store.size_px=48", "dataset.size_px=32",
    "dataset.batch_size=2", "encoder.style_layers=[relu1_1,relu2_1]", "model.evaluations=6",
    "model.snapshots=[2,4]", "budget.validation_images=2", "samples=2", "metrics.num_images=2",
]  # fmt: skip


def config(model: str) -> dict[str, Any]:
    return compose("train", [f"model={model}", *TINY])


@pytest.fixture(scope="module", params=["gatys", "texture_synthesis"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    train(config(request.param), folder, [])
    return request.param, folder


def test_run_folder_is_like_any_other(finished: tuple[str, Path]) -> None:
    model, folder = finished
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["method"] == model
    assert record["kind"] == "optimization"
    assert record["encoder"]["name"].startswith("compact")
    assert "val/style_compact_judge" in record["final"]
    (row,) = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    assert float(row["val/loss/style"]) < float(row["val/loss/style_after_2"])
    assert ("val/loss/content" in row) == (model == "gatys")
    rows = 5 if model == "gatys" else 4  # (contents,) styles, two snapshots, results
    with Image.open(folder / "samples" / "batch-000000001.png") as grid:
        assert grid.size == (2 * 34 + 2, rows * 34 + 2)


def test_run_can_be_used_and_exported(finished: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = finished
    translator = stylebench.load(folder)
    assert translator.takes("style")
    picture, style = torch.rand(3, 20, 24), torch.rand(3, 30, 20)
    made = translator.translate(picture, style=style)
    assert made.shape == (3, 20, 24)
    from stylebench.inference.export import export

    export(folder, tmp_path / "exported")
    assert torch.equal(stylebench.load(tmp_path / "exported").translate(picture, style=style), made)


def test_run_can_be_evaluated(finished: tuple[str, Path]) -> None:
    _, folder = finished
    found = evaluate(
        compose("evaluate", [f"run={folder}", "metrics=smoke", "metrics.num_images=2", "+controls.evaluations=2"])
    )
    assert found.record
    assert "test-raw-evaluations=2" in RunFolder(folder).sets()


def test_a_pair_is_optimized_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []
    original = GatysTranslator.optimize

    def counting(self: GatysTranslator, images: Any, *rest: Any, **controls: Any) -> Any:
        seen.append(tuple(images.shape))
        return original(self, images, *rest, **controls)

    monkeypatch.setattr(GatysTranslator, "optimize", counting)
    train(config("gatys"), tmp_path, [])
    # two validation images, shown in the grid, looked at for health (16 at most: the split has 2), measured
    assert seen == [(1, 3, 32, 32)] * 2


def test_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compact_judge only scores"):
        train(compose("train", ["model=gatys", "dataset=procedural", "encoder=compact_judge"]), tmp_path, [])


def test_a_texture_is_synthesized_once_whatever_the_content() -> None:
    class Counts:
        calls = 0

        def takes(self, name: str) -> bool:
            return name == "style"

        def translate(self, content: Any, style: Any, watch: Any) -> Any:
            self.calls += 1
            watch(Progress(1, 1, content[None], torch.zeros(()), {}))
            return style

    translator: Any = Counts()
    pairs = OptimizedPairs(translator, [])
    style = torch.rand(3, 8, 16)
    for content in (torch.zeros(2, 3, 8, 16), torch.ones(2, 3, 8, 16)):
        pairs.optimize(content, style.expand(2, -1, -1, -1))
    assert translator.calls == 1
    pairs.optimize(torch.zeros(1, 3, 16, 8), style.reshape(1, 3, 16, 8))
    assert translator.calls == 2


@pytest.mark.slow
def test_two_processes_share_the_pairs_and_get_the_same_values(tmp_path: Path) -> None:
    rows = []
    for trainer in ("cpu", "ddp_cpu"):
        folder = tmp_path / trainer
        command = [sys.executable, "-m", "stylebench", "train", "model=gatys", f"trainer={trainer}", *TINY]
        subprocess.run([*command, f"run={folder}"], check=True, timeout=300, capture_output=True)
        (row,) = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
        rows.append({key: float(value) for key, value in row.items()})
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)
