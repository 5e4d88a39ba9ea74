"""Let commit 77a0089 write the runs and exports in `runs/`, which the current code must go on reading.

    python tests/frozen/make_fixtures.py

`runs/<method>/` has a finished run of 4 batches at tiny widths (`run/`), its export (`export/`), and what the old code
got from them: a picture that run and export alike make (`stylized.png`), the values of the test split (`values.json`),
and, after two more batches, weights and averages (`resumed.safetensors`) and columns (`resumed.csv`). The pictures are
drawn by the tests (`cases.draw_data`), so paths in the files are relative. `made_with.json` says which machine rounded.
"""

import json
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a script

import numpy
import torch
from safetensors.torch import save_file

from stylebench.files import read_pickle, write_json
from tests.frozen import cases, findings, trees
from tests.frozen.trees import Job

RUNS = Path(__file__).with_name("runs")
MADE_WITH = RUNS / "made_with.json"
WEIGHTS = ("state_dict.", "stylebench.ema.networks.")  # beginnings of their names in a checkpoint
LARGEST_BYTES = 3_000_000  # of all files


def rounding() -> dict[str, Any]:
    """Return what decides how a sum is rounded: libraries, and the processor that their kernels are chosen for."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    facts = dict(re.findall(r"^(vendor_id|cpu family|model|model name)\s*: (.*)$", text, re.MULTILINE))
    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": facts or platform.processor(),
    }


def weights_of(checkpoint: Path, method: str = "") -> dict[str, torch.Tensor]:
    """Return weights and averages of a checkpoint by name; present names where the method is given."""
    found = findings.checkpoint_findings(checkpoint, method)
    return {
        name: value for name, value in found.items() if name.startswith(WEIGHTS) and isinstance(value, torch.Tensor)
    }


def make(folder: Path) -> None:
    """Run the frozen commit in `folder`.

    Raises:
        RuntimeError: if one of its commands fails.
    """
    work = folder / "work"
    cases.draw_data(work / "data")
    jobs: list[Job] = []
    for method in cases.CASES:
        run, resumed = f"runs/{method}", f"resumed/{method}"
        jobs.append(Job(method, work, [cases.train_command(method, compared=False)]))
        longer = cases.resume_command(method, f"budget.batches={cases.FIXTURE_LONGER}")
        jobs.append(Job(f"{method}, resumed", work, [longer], (run, resumed)))
        uses = [
            cases.export_command(method),
            cases.stylize_command(method, run, f"pictures/{method}.png"),
            cases.stylize_command(method, f"exports/{method}", f"pictures/{method}-export.png"),
            cases.evaluate_command(method, f"values/{method}.json", "smoke"),
        ]
        jobs.append(Job(f"{method}, used", work, uses, (run, f"kept/{method}")))
    if failed := trees.run_jobs(trees.frozen_tree(folder / "tree"), folder, jobs):
        raise RuntimeError(f"the code of {trees.COMMIT} failed: {failed}; see {folder / 'log.txt'}")


def keep(work: Path, method: str, target: Path) -> None:
    """Copy what a test needs of a method, with relative paths.

    Raises:
        RuntimeError: if run and export make different pictures.
    """
    run, pictures = work / "kept" / method, work / "pictures"
    (target / "run" / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "metrics.csv"):
        shutil.copy(run / name, target / "run" / name)
    checkpoint = f"checkpoints/batch-{cases.FIXTURE_BATCHES:09d}.ckpt"
    torch.save(_relative(read_pickle(run / checkpoint), work), target / "run" / checkpoint)
    shutil.copytree(work / "exports" / method, target / "export")
    for source, file in ((run, target / "run" / "record.json"), (target / "export", target / "export" / "model.json")):
        write_json(file, _relative(json.loads((source / file.name).read_text(encoding="utf-8")), work))
    made = [findings.read_picture(pictures / f"{method}{end}.png") for end in ("", "-export")]
    if not torch.equal(*made):
        raise RuntimeError(f"run and export of {method} make different pictures at {trees.COMMIT}")
    shutil.copy(pictures / f"{method}.png", target / "stylized.png")
    values = json.loads((work / "values" / f"{method}.json").read_text(encoding="utf-8"))
    write_json(target / "values.json", _relative(values, work))
    resumed = work / "resumed" / method
    longer = f"checkpoints/batch-{cases.FIXTURE_LONGER:09d}.ckpt"
    save_file({name: value.contiguous() for name, value in weights_of(resumed / longer).items()},
              target / "resumed.safetensors")  # fmt: skip
    shutil.copy(resumed / "metrics.csv", target / "resumed.csv")


def _relative(value: Any, work: Path) -> Any:
    """Return nested plain values in which paths below `work` are relative to it."""
    if isinstance(value, dict):
        return type(value)((key, _relative(part, work)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_relative(part, work) for part in value)
    if isinstance(value, str):
        return "." if value == str(work) else value.replace(f"{work}/", "")
    return value


def main() -> None:
    """Replace all kept runs.

    Raises:
        RuntimeError: if they grew too large.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        make(folder)
        shutil.rmtree(RUNS, ignore_errors=True)
        for method in cases.CASES:
            keep(folder / "work", method, RUNS / method)
    write_json(MADE_WITH, {"commit": trees.COMMIT, **rounding()})
    sizes = {method: sum(file.stat().st_size for file in (RUNS / method).rglob("*.*")) for method in cases.CASES}
    for method, size in sizes.items():
        sys.stdout.write(f"{method:<20} {size / 1000:7.0f} kB\n")
    if sum(sizes.values()) > LARGEST_BYTES:
        raise RuntimeError(f"the kept runs should have {LARGEST_BYTES} bytes at most, found {sum(sizes.values())}")


if __name__ == "__main__":
    main()
