import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from stylebench.files import read_pickle
from stylebench.functional.frechet import frechet_distance
from stylebench.metrics.features import FeatureAccumulator, FeatureSet
from tests.helpers.processes import both_ended, forked

COUNT, WIDTH, TWICE = 101, 6, 40  # image 40 reaches both processes


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gathered(features: torch.Tensor, places: torch.Tensor, keep: bool = True, size: int = 7) -> FeatureSet:
    accumulator = FeatureAccumulator(keep)
    for index in torch.split(places, size):
        accumulator.update(features[index], index)
    found = accumulator.compute()
    assert found is not None
    return found


@pytest.mark.parametrize("keep", [True, False])
def test_moments_far_from_zero_are_numpys(keep: bool) -> None:
    # mean / sd = 1000; kept features are float32, so what float32 makes of them is the truth for both
    features = (normal(5000, WIDTH, 0) + 1000).float()
    found = gathered(features, torch.arange(5000), keep, size=100).moments()
    truth = features.double().numpy()
    np.testing.assert_allclose(found.mean.numpy(), truth.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance.numpy(), np.cov(truth, rowvar=False), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("keep", [True, False])
def test_an_image_that_comes_twice_counts_once(keep: bool) -> None:
    features = normal(20, WIDTH, 1).float()
    again = torch.tensor([3, 3, *range(20), 19, 0])  # within a batch and across batches
    found, once = gathered(features, again, keep), gathered(features, torch.arange(20), keep)
    assert found.count == 20
    torch.testing.assert_close(found.mean, once.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.moments().covariance, once.moments().covariance, rtol=1e-12, atol=1e-12)


def test_kept_features_come_in_the_order_of_the_images() -> None:
    features = normal(30, WIDTH, 2).float()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gathered(features, order).rows(), features)


def test_an_update_in_half_precision_is_counted_in_float64() -> None:
    features = normal(50, WIDTH, 3).bfloat16()
    found = gathered(features, torch.arange(50), keep=False)
    np.testing.assert_allclose(found.mean.numpy(), features.double().numpy().mean(0), rtol=1e-12, atol=1e-15)


def test_a_part_is_the_set_of_its_columns() -> None:
    features = normal(30, WIDTH, 4).float()
    for keep in (True, False):
        part = gathered(features, torch.arange(30), keep).part(1, 3).moments()
        whole = FeatureSet.of(features[:, 2:4]).moments()
        torch.testing.assert_close(part.mean, whole.mean)
        torch.testing.assert_close(part.covariance, whole.covariance)


def test_no_image_gives_no_set() -> None:
    assert FeatureAccumulator().compute() is None
    assert FeatureAccumulator(keep=False).compute() is None


def test_bad_features_are_refused() -> None:
    accumulator = FeatureAccumulator()
    with pytest.raises(ValueError, match=r"\(B, d\) features and \(B,\) indices"):
        accumulator.update(torch.zeros(3, 4), torch.arange(2))
    with pytest.raises(ValueError, match="not finite"):
        accumulator.update(torch.full((1, 4), torch.nan), torch.arange(1))
    with pytest.raises(ValueError, match="keep=True"):
        gathered(torch.zeros(3, 4), torch.arange(3), keep=False).rows()
    with pytest.raises(ValueError, match="at least two images, got 1"):
        FeatureSet.of(torch.zeros(1, 4)).moments()


def _share(rank: int, shared: bool) -> torch.Tensor:
    mine = torch.arange(COUNT)[rank::2]  # 51 and 50
    return torch.cat([mine, torch.tensor([TWICE])]) if shared and rank == 1 else mine


def _process(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    features = normal(COUNT, WIDTH, 5).float() + 100
    found = {keep: gathered(features, _share(rank, shared=keep), keep) for keep in (True, False)}
    moments = {keep: tuple(part.moments()) for keep, part in found.items()}
    message = ""
    try:
        gathered(features, _share(rank, shared=True), keep=False)
    except ValueError as error:
        message = str(error)
    torch.save(
        {
            "rows": found[True].rows(),
            "moments": moments,
            "message": message,
            "counts": [s.count for s in found.values()],
        },
        Path(folder) / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert both_ended([forked(_process, rank, port, str(tmp_path)) for rank in (0, 1)]) == [0, 0]
    features = normal(COUNT, WIDTH, 5).float() + 100
    alone = gathered(features, torch.arange(COUNT))
    other = FeatureSet.of(2 * features).moments()
    for rank in range(2):
        seen = read_pickle(tmp_path / f"{rank}.pt")
        assert seen["counts"] == [COUNT, COUNT]
        assert torch.equal(seen["rows"], alone.rows())
        assert "same image" in seen["message"]  # sums cannot forget an image that two processes saw
        for mean, covariance in seen["moments"].values():
            torch.testing.assert_close(mean, alone.mean, rtol=1e-10, atol=0)
            torch.testing.assert_close(covariance, alone.moments().covariance, rtol=1e-10, atol=1e-10)
            expected = frechet_distance(*alone.moments(), *other)
            assert frechet_distance(mean, covariance, *other) == pytest.approx(expected, rel=1e-10)
