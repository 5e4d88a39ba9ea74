"""The studies of adaptation: tables with known answers, and the study on features from end to end."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from experiments.adaptation import pacs
from experiments.adaptation.pacs_features import DOMAINS, SOURCE, TARGETS, file_of
from experiments.adaptation.pixels_statistics import AS_THEY_ARE, PIXELS, STYLIZED, told
from experiments.adaptation.runs import PLAIN, Row, percent, table


def row(strategy: str, seed: int, target: float, pair: tuple[str, str] = ("a", "b"), source: float = 0.9) -> Row:
    return {"pair": pair, "strategy": strategy, "seed": seed, "source": source, "target": target, "images": 10}


def test_percent_gives_students_interval() -> None:
    assert percent([0.4, 0.6]) == "50.0 (-77.1 to 177.1)"  # 50 +- 12.706 * 14.142 / sqrt(2)
    assert percent([0.5]) == "50.0"


def test_gains_are_paired_by_seed() -> None:
    rows = [row(PLAIN, 0, 0.5), row(PLAIN, 1, 0.7), row("AdaBN", 0, 0.6), row("AdaBN", 1, 0.8)]
    line = table(rows).splitlines()[-1]
    assert "| +10.0 (+10.0 to +10.0) |" in line
    assert "| 70.0 (" in line


def test_interaction_is_the_difference_of_differences() -> None:
    cells = {way: (0.5, 0.6) for way in PIXELS} | {AS_THEY_ARE: (0.4, 0.7), STYLIZED: (0.55, 0.75)}
    rows = [
        row(f"{way}, {name}", seed, target)
        for way, both in cells.items()
        for name, target in zip(("source", "AdaBN"), both, strict=True)
        for seed in range(2)
    ]
    lines = told(rows)
    assert "| AdaBN alone | +30.0 (+30.0 to +30.0) |" in lines
    assert "| stylized pixels alone | +15.0 (+15.0 to +15.0) |" in lines
    assert "- (AdaBN - none) | -10.0 (-10.0 to -10.0) |" in lines  # (0.75 - 0.55) - (0.7 - 0.4)
    assert "| stylized minus color jitter, source's statistics | +5.0 (+5.0 to +5.0) |" in lines


def test_the_study_on_features_finds_a_shift_that_adabn_undoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Domains differ by a scale and a shift of each feature, which is what statistics can undo."""
    monkeypatch.setattr(pacs, "SEEDS", 1)
    monkeypatch.setattr(pacs, "BATCHES", 40)
    numbers = np.random.default_rng(0)
    centers = numbers.normal(size=(len(pacs.CLASSES), 16))

    def write(path: Path, scale: float, shift: float) -> None:
        labels = numbers.integers(len(pacs.CLASSES), size=400)
        values = centers[labels] + 0.3 * numbers.normal(size=(400, 16))
        test = np.arange(400) % 5 == 0
        np.savez(path, features=(scale * values + shift).astype(np.float32), labels=labels, test=test)

    for place, name in enumerate(DOMAINS):
        write(file_of(tmp_path, name), 1 + place, 4.0 * place)
    for target in TARGETS:
        for way in PIXELS[1:]:
            write(file_of(tmp_path, SOURCE, target, way), 1.0, 0.0)
    rows = list(pacs.results(argparse.Namespace(features=tmp_path), set()))
    assert len(rows) == 12 * 4 + 3 * 4 * 2
    means = {
        name: np.mean([each["target"] for each in rows if each["strategy"] == name])
        for name in (PLAIN, "AdaBN", "AutoDIAL", "bound")
    }
    assert means[PLAIN] < 0.7 < 0.9 < min(means["AdaBN"], means["bound"])
    assert f"| AdaBN | {100 * means['AdaBN']:.1f} |" in pacs.told(rows)
    done = {(*each["pair"], each["strategy"], str(each["seed"])) for each in rows}
    assert not list(pacs.results(argparse.Namespace(features=tmp_path), done))
