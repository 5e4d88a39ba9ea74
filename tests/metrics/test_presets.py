"""The presets of the `metrics` group: few dashboard keys, each of them in the documentation."""

import re
from pathlib import Path

import pytest

from stylebench.build import build_evaluator
from stylebench.cli.config import compose
from stylebench.metrics.records import RESERVED, to_record

ROOT = Path(__file__).resolve().parents[2]
MOST = 12  # dashboard keys of a task


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "conf" / "metrics").glob("*.yaml")))
def test_dashboard_keys_are_few_and_documented(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    settings = compose("evaluate", [f"metrics={preset}"])["metrics"]
    record = to_record(build_evaluator(settings).compute({}))
    keys = {entry["alias"] for entry in record.values() if entry["shown"] == "dashboard"}
    keys |= {f"utility_{axis}" for axis in settings["axes"]}
    section = (ROOT / "README.md").read_text().partition("## Evaluation")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(\w+)`", section)) | {"fd_rand_ms"}  # of smoke, for tests of a set-up
    assert keys <= documented
    assert len(keys) <= MOST
    assert not [key for key in record for word in RESERVED if word in key]


def test_the_judge_is_never_the_training_encoder_by_default() -> None:
    config = compose("train", ["dataset.content=x", "dataset.style=y"])
    (judge,) = config["metrics"]["extractors"].values()
    assert judge["encoder"]["_target_"] != config["encoder"]["_target_"]
