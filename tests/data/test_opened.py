"""A data set is opened once a command."""

from pathlib import Path

import pytest

from stylebench.cli.config import compose
from stylebench.cli.main import main
from stylebench.commands.evaluate import evaluate
from stylebench.commands.profile import profile
from stylebench.commands.train import report, train
from stylebench.worlds.procstyle.world import ProcStyle

WORLD = [
    "dataset=procstyle", "dataset.store.size_px=32", "dataset.store.train_images=6", "dataset.store.val_images=2",
    "dataset.store.test_images=3", "dataset.style=chalk/train-1-00003", "dataset.batch_size=2",
]  # fmt: skip
TINY = [
    *WORLD, "model.generator.width=4", "encoder=squeezenet", "encoder.weights=random", "encoder.normalize=false",
    "metrics=smoke", "metrics.num_images=2", "metrics.scenes=1", "budget.batches=2", "budget.evaluate_every=2",
    "budget.validation_images=2", "samples=1",
]  # fmt: skip


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every construction of a store."""
    found: list[str] = []
    init = ProcStyle.__init__

    def counted(self: ProcStyle, *args: object, **settings: object) -> None:
        found.append("built")
        init(self, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(ProcStyle, "__init__", counted)
    return found


def test_every_command_builds_its_store_once(
    built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    config = compose("train", [*TINY, "panel=true"])
    result = train(config, tmp_path / "run", [])
    assert report(config, result, "stylebench train").is_file()
    assert len(built) == 1

    built.clear()
    again = train({**config, "resume": "auto"}, tmp_path / "run", [])  # it has its batches; the report needs the data
    assert again.batches == 2
    assert len(built) == 1

    built.clear()
    evaluate(compose("evaluate", [f"run={tmp_path}/run", "metrics=smoke", "metrics.num_images=2", "metrics.scenes=1"]))
    assert len(built) == 1

    built.clear()
    profile(compose("profile", [*TINY, "batches=1", "rounds=1"]))
    assert len(built) == 1

    built.clear()
    monkeypatch.setattr("sys.argv", ["stylebench", "prepare", *WORLD, "sheet=null"])
    main()
    assert "content: " in capsys.readouterr().out
    assert len(built) == 1
