"""The run record's measurements that a run on the CPU does not show."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stylebench.callbacks.run_record import RunRecord


def test_each_job_of_a_process_measures_its_own_peak_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = {"bytes": 9000}  # of the job before

    def reset(device: torch.device) -> None:
        peak["bytes"] = 0

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak["bytes"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    method: Any = SimpleNamespace(device=torch.device("cuda", 0), batches_done=0)
    trainer: Any = SimpleNamespace(
        optimizers=[], world_size=1, precision="32-true", is_global_zero=True, lightning_module=method
    )
    record = RunRecord(tmp_path, {}, batch_size=4)
    record.on_train_start(trainer, method)
    peak["bytes"] = 500
    record.on_train_end(trainer, method)
    assert record.record["peak_memory_bytes"] == 500
