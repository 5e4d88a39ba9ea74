"""Real digits, MNIST to USPS: AdaBN is better than the source's statistics, and AutoDIAL better than AdaBN."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.adaptation.digits import AT_TEST, PLAIN, SETTINGS, TRAINED
from experiments.adaptation.folders import of_set
from experiments.adaptation.runs import scored, trained
from stylebench.data.images import write_png

COUNTS = {"train": 2000, "test": 1000}
SEEDS = 3


@pytest.fixture
def digits(shared: Path, tmp_path: Path) -> Path:
    """A part of both sets as folders of classes."""
    for name in ("mnist", "usps"):
        counts: Counter[str] = Counter()
        for split, digit, number, pixels in of_set(shared / "data" / "digits", name):
            counts[split] += 1
            if counts[split] <= COUNTS[split]:
                write_png(pixels.repeat(3, 2)[..., :3], tmp_path / name / split / digit / f"{number}.png")
            elif split == "test":  # which comes last
                break
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_adabn_helps_and_autodial_helps_more(digits: Path, tmp_path: Path) -> None:
    """Paired differences over 3 seeds, on average above 0."""
    words = [
        *SETTINGS, "budget.batches=200", "budget.evaluate_every=200", f"dataset.store.cache={tmp_path / 'cache'}",
        f"dataset.source={digits / 'mnist'}", f"dataset.target={digits / 'usps'}",
    ]  # fmt: skip
    rows = []
    for seed in range(SEEDS):
        plain = trained([*words, f"seed={seed}", *TRAINED[PLAIN]], tmp_path / f"plain-{seed}")
        dial = trained([*words, f"seed={seed}", *TRAINED["AutoDIAL"]], tmp_path / f"dial-{seed}")
        adabn = scored(plain, strategy=AT_TEST["AdaBN, sequential"])
        rows.append([scored(plain)["target"], adabn["target"], scored(dial)["target"]])
    gains = np.diff(np.array(rows), axis=1).mean(0)
    assert gains[0] > 0.1, rows
    assert gains[1] > 0.0, rows
