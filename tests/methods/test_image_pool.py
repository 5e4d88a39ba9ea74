"""The pool of earlier images: what it returns, what it keeps, and that a saved one goes on as it would have."""

import io
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylebench.files import read_pickle
from stylebench.methods.image_pool import ImagePool


def numbered(first: int, count: int = 1) -> Tensor:
    """Images that are recognized by their value."""
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()


def values(images: Tensor) -> list[int]:
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images)), "one image, not parts of several"
    return [int(value) for value in images[:, 0, 0, 0]]


def run(pool: ImagePool, first: int, count: int, rank: int = 0) -> list[int]:
    return [values(pool(numbered(number), rank))[0] for number in range(first, first + count)]


def test_the_first_images_come_back_unchanged() -> None:
    pool = ImagePool(50)
    assert run(pool, 0, 50) == list(range(50))
    assert values(pool.images) == list(range(50))
    assert len(pool) == 50


def test_then_half_are_exchanged_for_one_that_was_stored() -> None:
    """A model of the pool: what comes back is the new image, or one that is stored and leaves the pool for it."""
    size, count = 8, 1000
    pool, exchanged, places = ImagePool(size), 0, []
    stored = run(pool, 0, size)
    for number in range(size, size + count):
        (returned,) = run(pool, number, 1)
        if returned != number:
            place = stored.index(returned)
            stored[place] = number
            exchanged += 1
            places.append(place)
        assert values(pool.images) == stored
        assert len(pool.images) == len(pool) == size
    # 5 standard errors of a fair coin, and of one of 8 places
    assert abs(exchanged - count / 2) < 5 * math.sqrt(count) / 2
    assert all(abs(places.count(p) - exchanged / 8) < 5 * math.sqrt(exchanged * 7 / 64) for p in range(size))


def test_a_batch_is_its_images_in_turn() -> None:
    """A later image of a batch may be exchanged for an earlier one of the same batch."""
    one, many = ImagePool(2), ImagePool(2)
    assert run(one, 0, 30) == values(many(numbered(0, 7))) + values(many(numbered(7, 23)))
    assert torch.equal(one.images, many.images)


@pytest.mark.parametrize("seen", [0, 1, 20])
def test_a_saved_pool_goes_on_as_it_would_have(seen: int, tmp_path: Path) -> None:
    pool = ImagePool(4, seed=5, name=1)
    run(pool, 0, seen)
    torch.save(pool.state_dict(), tmp_path / "pool.pt")
    resumed = ImagePool(4, seed=5, name=1)
    resumed.load_state_dict(read_pickle(tmp_path / "pool.pt"))  # with weights_only
    assert resumed.seen == seen
    assert run(resumed, seen, 60) == run(pool, seen, 60)
    assert torch.equal(resumed.images, pool.images)


def test_a_saved_pool_is_a_copy() -> None:
    pool = ImagePool(2)
    run(pool, 0, 2)
    buffer = io.BytesIO()
    torch.save(pool.state_dict(), buffer)
    resumed = ImagePool(2)
    resumed.load_state_dict(pool.state_dict())
    run(pool, 2, 50)
    assert values(resumed.images) == [0, 1]


def test_a_pool_of_other_image_sizes_is_loaded_whole() -> None:
    pool, other = ImagePool(2), ImagePool(2)
    run(pool, 0, 2)
    other(torch.zeros(1, 3, 7, 7))
    other.load_state_dict(pool.state_dict())
    assert values(other.images) == [0, 1]


def test_no_pool_returns_every_image() -> None:
    pool = ImagePool(0)
    assert run(pool, 0, 20) == list(range(20))
    assert len(pool) == len(pool.images) == 0


def test_evaluation_leaves_the_pool_alone() -> None:
    pool, other = ImagePool(2), ImagePool(2)
    for one in (pool, other):
        run(one, 0, 5)
    pool.eval()
    assert run(pool, 10, 20) == list(range(10, 30))
    assert (pool.seen, values(pool.images)) == (5, values(other.images))
    pool.train()
    assert run(pool, 5, 20) == run(other, 5, 20)


def test_seeds_names_and_processes_choose_apart() -> None:
    choices = [
        tuple(run(ImagePool(3, seed=seed, name=name), 0, 40, rank))
        for seed, name, rank in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    ]
    assert choices[0] == choices[4]
    assert len(set(choices)) == 4


@pytest.mark.parametrize("size", [0, 1])
def test_images_are_detached(size: int) -> None:
    pool = ImagePool(size)
    fake = numbered(0, 4).requires_grad_()
    assert not pool(fake).requires_grad
    assert not pool.images.requires_grad


def test_stored_images_are_copies() -> None:
    pool, fake = ImagePool(1), numbered(0)
    pool(fake)
    fake.fill_(9)
    returned = next(images for number in range(1, 50) if values(images := pool(numbered(number))) != [number])
    before = values(returned)
    assert before != [9]
    run(pool, 50, 20)
    assert values(returned) == before


@pytest.mark.parametrize("size", [-1, 2.5, True, "many"])
def test_wrong_sizes_are_refused(size: object) -> None:
    with pytest.raises(ValueError, match=r"size must be a whole number of at least 0, got"):
        ImagePool(size)  # type: ignore[arg-type]
