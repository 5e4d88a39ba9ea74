"""The benchmark of the renderer."""

import pytest

from stylebench.worlds.procstyle import benchmark


def test_time_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"a benchmark expects seconds > 0, got 0; give it some time"):
        benchmark(32, 0)


@pytest.mark.slow
def test_images_a_second() -> None:
    small, large = benchmark(32, 1.0), benchmark(64, 1.0)
    assert small > large > 20  # a machine that does less can't train on the fly
