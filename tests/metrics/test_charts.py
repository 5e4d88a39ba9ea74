"""Charts: lengths and places that can be counted in the picture."""

import numpy as np
import pytest

from stylebench.metrics.charts import Picture, bar_chart, line_chart

BARS = {"layers.2": {"before": 4.0, "after": 1.0}, "layers.6": {"before": 2.0, "after": 0.0}}


def length(picture: Picture, color: tuple[int, int, int]) -> list[int]:
    """The longest runs of a color in the rows of a picture, without repeats, longest first."""
    counts = (picture == color).all(2).sum(1)
    return sorted({int(count) for count in counts if count > 20}, reverse=True)


def test_bars_are_as_long_as_their_numbers() -> None:
    picture = bar_chart("distance", BARS)
    assert length(picture, (70, 110, 180)) == [421, 211]
    assert length(picture, (200, 120, 60)) == [106]


def test_rows_of_zeros_are_drawn() -> None:
    assert bar_chart("distance", {"one": {"before": 0.0}}).dtype == np.uint8


@pytest.mark.parametrize("lines", [{"a": [(0.0, 1.0), (100.0, 0.5)]}, {"a": [(5.0, 1.0)], "b": [(5.0, 1.0)]}])
def test_lines_lie_between_their_ends(lines: dict[str, list[tuple[float, float]]]) -> None:
    picture = line_chart("alpha", "batches", lines)
    colored = (picture.max(2) - picture.min(2)) > 60
    rows, columns = np.nonzero(colored[:, : picture.shape[1] - 60])  # without the legend
    count = len(lines["a"])
    assert (columns.max() - columns.min() > 600) == (count > 1)
    assert (rows.max() - rows.min() > 300) == (count > 1)
