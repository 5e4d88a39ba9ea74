"""Pure parts of the experiments on metrics: which pixels and blocks they take, and what they read and print."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.metrics import discrimination, memory, photos
from stylebench.data.images import write_png
from stylebench.functional.frechet import frechet_distance_of_features
from stylebench.statistics.intervals import jackknife_interval


def test_a_central_square_leaves_equal_borders() -> None:
    image = torch.arange(24).reshape(1, 4, 6)
    assert photos.central_square(image, 2).tolist() == [[[8, 9], [14, 15]]]  # rows 1, 2 of 4 and columns 2, 3 of 6
    with pytest.raises(ValueError, match="at least 5 px a side, got 4 x 6"):
        photos.central_square(image, 5)


def test_a_sample_of_files_depends_on_the_seed_alone(tmp_path: Path) -> None:
    for number in range(8):
        write_png(np.full((4, 6, 3), number, np.uint8), tmp_path / "deep" / f"{number}.png")
    files = photos.sample_files(tmp_path, 5, 0)
    assert files == photos.sample_files(tmp_path, 5, 0)
    assert files != photos.sample_files(tmp_path, 5, 1)
    assert len(set(files)) == 5
    assert photos.sample_files(tmp_path, 8, 0)[:5] == files
    squares = photos.read_squares(files, 4)
    assert squares.shape == (5, 3, 4, 4)
    assert [int(square.max()) for square in squares] == [int(file.stem) for file in files]
    with pytest.raises(FileNotFoundError, match="no images under"):
        photos.sample_files(tmp_path / "none", 1, 0)


def test_halves_are_disjoint() -> None:
    first, second = discrimination.halves(torch.arange(10)[:, None], 4, 0)
    assert len({*first.flatten().tolist(), *second.flatten().tolist()}) == 8


def test_a_jackknife_leaves_out_the_same_block_of_both_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(40, 3, generator=generator) for _ in range(2))
    values = discrimination.without_blocks(first, second, 1)
    assert len(values) == 1 + discrimination.BLOCKS
    assert values[0] == pytest.approx(frechet_distance_of_features(first, second))
    assert values[1] == pytest.approx(frechet_distance_of_features(first[2:], second[2:]))  # 40 / 20 = 2 rows a block
    assert values[-1] == pytest.approx(frechet_distance_of_features(first[:-2], second[:-2]))


def test_parts_are_measured_apart_and_averaged() -> None:
    first, second = torch.zeros(2, 4), torch.tensor([[1.0, 1, 3, 3]]).expand(2, 4)
    shift = discrimination.over_parts(lambda one, two: float((two - one).mean()), first, second, 2)
    assert shift == pytest.approx(2)  # (1 + 3) / 2


def test_a_gap_is_what_is_left_of_the_distance_above_the_domains_own() -> None:
    found = discrimination.gaps([10, 9], ([2, 1], [4, 2]))
    assert found == [7, 7.5]  # 10 - (2 + 4) / 2, 9 - (1 + 2) / 2
    low, high = jackknife_interval(found[0], [7.5, 6.5]).bounds or (0, 0)
    assert high - low == pytest.approx(2 * 12.7062 * 0.5, rel=1e-4)  # t(.975, 1) sqrt(1/2 (.5^2 + .5^2))


def test_fields_of_a_process_are_read_in_mib() -> None:
    text = "Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n"
    assert memory.status_mib("VmHWM", text) == 2
    assert memory.status_mib("VmRSS", text) == 1
    with pytest.raises(ValueError, match="expected VmSwap"):
        memory.status_mib("VmSwap", text)


def test_crops_come_once_each_and_repeat() -> None:
    pictures = memory.soft_fields(3, 16, 0)
    batches = list(memory.crops(pictures, 5, 8, 2, 0))
    assert [numbers.tolist() for _, numbers in batches] == [[0, 1], [2, 3], [4]]
    assert batches[0][0].shape == (2, 3, 8, 8)
    again = list(memory.crops(pictures, 5, 8, 2, 0))
    assert all(torch.equal(one, two) for (one, _), (two, _) in zip(batches, again, strict=True))


def test_the_tables_hold_every_pair_and_domain() -> None:
    pair = {"pair": ["a", "b"], "between": 3.0, "gap": 2.0, "interval": (1.0, 3.0), "kernel_gap": 0.5,
            "kernel_interval": None}  # fmt: skip
    row = {"halves": 1.0, "halves_sd": 0.1, "floor": 0.8, "ratio": 1.25, "kernel_halves": 0.01,
           "kernel_interval": (-0.1, 0.2)}  # fmt: skip
    text = discrimination.tables([{"extractor": "x", "pairs": [pair], "domains": {"a": row, "b": row}}])
    assert "| x | a / b | 3 | 2 | [1, 3] | 0.5 | none |" in text
    assert "| x | b | 1 | 0.1 | 0.8 | 1.250 | 0.01 | [-0.1, 0.2] |" in text
