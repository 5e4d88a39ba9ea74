from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.data.augmentation import RawImages
from stylebench.data.domain import Domain
from stylebench.data.splits import layout_by_path
from stylebench.data.tasks import StyleTask, device_batch_size

MakeDomain = Callable[..., Domain]
MakeTask = Callable[..., StyleTask]


@pytest.fixture
def make_task(make_domain: MakeDomain) -> MakeTask:
    """Make a task over small random domains; keyword arguments override its settings."""

    def make(**settings: object) -> StyleTask:
        domains = {"content": make_domain([(16, 20)] * 23, "photos"), "style": make_domain([(18, 16)] * 7, "paintings")}
        defaults = {
            "domains": domains,
            "seed": 0,
            "size_px": 8,
            "resize_px": 12,
            "flip": True,
            "batch_size": 6,
            "on_small": "stop",
        }
        return StyleTask(**(defaults | settings))

    return make


def numbered(count: int, size: int = 8) -> Domain:
    """Return a domain whose i-th image is filled with the number i, all in the training split."""
    pixels = np.repeat(np.arange(count, dtype=np.uint8), size * size * 3)
    ids = [f"{i:03d}" for i in range(count)]
    return Domain(
        name="numbered",
        path="memory:numbered",
        ids=ids,
        shapes=np.full((count, 2), size, dtype=np.int64),
        pixels=pixels,
        digest="",
        layout=layout_by_path(ids, 0.0, 0.0),
    )


def same(a: dict[str, RawImages], b: dict[str, RawImages]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(torch.stack(list(a[role].pixels)), torch.stack(list(b[role].pixels)))
        and torch.equal(a[role].flip, b[role].flip)
        for role in a
    )


def pixels(raw: RawImages) -> Tensor:
    assert isinstance(raw.pixels, Tensor)
    return raw.pixels


def test_batch_is_uint8_of_the_source_rectangles(make_task: MakeTask) -> None:
    raw = make_task().batch(0)
    # size 8 from a shorter side of 12, stored with 16: 16 * 8 / 12 = 10.67 -> 11 stored pixels.
    assert pixels(raw["content"]).shape == (6, 3, 11, 11)
    assert pixels(raw["content"]).dtype == torch.uint8
    assert raw["content"].flip.shape == (6,)
    assert raw["content"].flip.dtype == torch.bool


def test_batch_depends_on_seed_and_number_alone(make_task: MakeTask) -> None:
    task = make_task()
    first = [task.batch(number) for number in range(12)]
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not matter
    again = make_task()
    assert all(same(again.batch(number), first[number]) for number in reversed(range(12)))
    assert not same(first[0], first[1])
    assert not same(make_task(seed=1).batch(0), first[0])


def test_batch_touches_no_global_random_state(make_task: MakeTask) -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=True)  # noqa: NPY002
    make_task().batch(5)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1][1], np.random.get_state(legacy=True)[1])  # noqa: NPY002


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_share_the_global_batch(make_task: MakeTask, world: int) -> None:
    task = make_task()
    for number in (0, 3):
        whole = task.batch(number)
        for role in task.roles:
            parts = [task.batch(number, rank, world)[role] for rank in range(world)]
            assert torch.equal(torch.cat([pixels(part) for part in parts]), pixels(whole[role]))
            assert torch.equal(torch.cat([part.flip for part in parts]), whole[role].flip)


def test_batch_size_does_not_change_the_stream(make_task: MakeTask) -> None:
    sixes, threes = make_task(), make_task(batch_size=3)
    whole = torch.cat([pixels(sixes.batch(k)["content"]) for k in range(4)])
    assert torch.equal(whole, torch.cat([pixels(threes.batch(k)["content"]) for k in range(8)]))


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (5, 12), (1, 3)])
def test_each_pass_shows_every_image_once(make_task: MakeTask, count: int, batch_size: int) -> None:
    task = make_task(
        domains={"content": numbered(count)}, draws=("content",), size_px=8, resize_px=None, batch_size=batch_size
    )
    drawn = [int(image[0, 0, 0]) for k in range(30) for image in pixels(task.batch(k)["content"])]
    passes = [drawn[i : i + count] for i in range(0, len(drawn) - count + 1, count)]
    assert all(sorted(one) == list(range(count)) for one in passes)
    assert count < 5 or len({tuple(one) for one in passes}) > 1


def test_roles_are_drawn_independently(make_task: MakeTask) -> None:
    task = make_task(domains={"content": numbered(20), "style": numbered(20)}, size_px=8, resize_px=None, batch_size=20)
    raw = task.batch(0)
    assert not torch.equal(pixels(raw["content"]), pixels(raw["style"]))
    assert not torch.equal(raw["content"].flip, raw["style"].flip)


def test_crops_equal_numpy_slices_without_resizing(make_domain: MakeDomain) -> None:
    domain = make_domain([(16, 20)] * 9)
    task = StyleTask(
        {"content": domain},
        seed=3,
        size_px=8,
        resize_px=16,
        flip=True,
        batch_size=50,
        on_small="stop",
        draws=("content",),
    )
    raw = task.batch(0)
    images = [domain.image(int(i)) for i in domain.split("train")]
    windows = {
        image[top : top + 8, left : left + 8].tobytes(): (top, left)
        for image in images
        for top in range(9)
        for left in range(13)
    }
    finished = task.finish(raw).content
    assert finished is not None
    corners: Counter[tuple[int, int]] = Counter()
    for crop, flip, image in zip(pixels(raw["content"]), raw["content"].flip, finished, strict=True):
        corners[windows[crop.permute(1, 2, 0).numpy().tobytes()]] += 1  # KeyError: no window of any image
        upright = image.flip(-1) if flip else image
        assert torch.equal(upright, crop.float() / 255)
    assert len(corners) > 25  # of 117 corners, 50 draws
    assert {top for top, _ in corners} == set(range(9))
    assert 10 < int(raw["content"].flip.sum()) < 40


def test_crops_reach_every_corner_evenly(make_domain: MakeDomain) -> None:
    row = np.arange(12, dtype=np.uint8)
    domain = make_domain([(12, 12)])
    domain._source = np.broadcast_to(row[:, None, None], (12, 12, 3)).reshape(-1).copy()  # row i is filled with i
    task = StyleTask(
        {"content": domain},
        seed=0,
        size_px=8,
        resize_px=12,
        flip=False,
        batch_size=1000,
        on_small="stop",
        draws=("content",),
    )
    raw = task.batch(0)["content"]
    counts = Counter(pixels(raw)[:, 0, 0, 0].tolist())
    # Tops 0 to 4, 200 each expected; 5 standard deviations of a binomial are 63.
    assert counts.keys() == {0, 1, 2, 3, 4}
    assert all(abs(count - 200) < 63 for count in counts.values())
    assert not raw.flip.any()


def test_images_of_unlike_sizes_come_as_a_list(make_domain: MakeDomain, make_task: MakeTask) -> None:
    task = make_task(domains={"content": make_domain([(16, 20), (40, 30), (9, 8)] * 10)}, draws=("content",))
    raw = task.batch(0)
    assert isinstance(raw["content"].pixels, list)
    batch = task.finish(raw)
    assert batch.content is not None
    assert batch.content.shape == (6, 3, 8, 8)
    assert batch.style is None


def test_fixed_takes_central_crops_unmirrored(make_domain: MakeDomain) -> None:
    domain = make_domain([(16, 20)])
    task = StyleTask(
        {"content": domain},
        seed=0,
        size_px=8,
        resize_px=16,
        flip=True,
        batch_size=2,
        on_small="stop",
        draws=("content",),
    )
    raw = task.fixed(1, "val")["content"]
    np.testing.assert_array_equal(pixels(raw)[0].permute(1, 2, 0), domain.crop(0, 4, 6, 8, 8))
    assert not raw.flip.any()


def test_fixed_is_the_same_every_time_and_in_pieces(make_task: MakeTask) -> None:
    task = make_task()
    whole = task.fixed(6, "train")
    assert same(make_task(seed=9).fixed(6, "train"), whole)
    pieces = [task.fixed(2, "train", start)["content"] for start in (0, 2, 4)]
    assert torch.equal(torch.cat([pixels(piece) for piece in pieces]), pixels(whole["content"]))


def test_fixed_repeats_styles_but_no_content(make_task: MakeTask) -> None:
    task = make_task()
    raw = task.fixed(1000, "train")
    contents, styles = task.size("train"), len(task.domains["style"].split("train"))
    assert len(raw["content"].flip) == len(raw["style"].flip) == contents > styles
    assert torch.equal(pixels(raw["style"])[0], pixels(raw["style"])[styles])
    with pytest.raises(ValueError, match=r"start at 999, but the train split has .* choose a start below"):
        task.fixed(2, "train", 999)


def test_fixed_mixes_classes() -> None:
    ids = [f"{label}/{i}.png" for label in "abcd" for i in range(50)]
    domain = Domain(
        name="classes",
        path="memory:classes",
        ids=ids,
        shapes=np.full((200, 2), 8, dtype=np.int64),
        pixels=np.repeat(np.arange(200, dtype=np.uint8), 8 * 8 * 3),
        digest="",
        layout=layout_by_path(ids, 0.0, 0.0),
    )
    task = StyleTask(
        {"content": domain},
        seed=0,
        size_px=8,
        resize_px=None,
        flip=False,
        batch_size=2,
        on_small="stop",
        draws=("content",),
    )
    first = pixels(task.fixed(12, "all")["content"])[:, 0, 0, 0]
    assert {ids[int(i)][0] for i in first} == set("abcd")


def test_roles_that_are_not_drawn_need_no_size(make_domain: MakeDomain, make_task: MakeTask) -> None:
    domains = {"content": make_domain([(16, 16)] * 4), "style": make_domain([(4, 4)])}
    task = make_task(domains=domains, draws=("content",))
    assert task.batch(0).keys() == {"content"}
    assert len(task.domains["style"]) == 1


def test_small_images_stop_with_a_list(make_domain: MakeDomain, make_task: MakeTask) -> None:
    domains = {"content": make_domain([(16, 16), (7, 30), (8, 8), (30, 7)], stored_px=7)}
    with pytest.raises(ValueError, match=r"2 of 4 images of memory:random \(content\) are smaller") as caught:
        make_task(domains=domains, draws=("content",))
    message = str(caught.value)
    assert "  0001.png: 30 x 7\n  0003.png: 7 x 30\n" in message
    assert "Lower dataset.size_px, or set dataset.on_small=upscale or dataset.on_small=skip." in message
    assert "dataset.store.stored_px=7: raise it to 8" in message


def test_small_images_can_be_skipped_or_upscaled(make_domain: MakeDomain, make_task: MakeTask) -> None:
    domain = make_domain([(16, 16)] * 5 + [(4, 4)] * 20)
    skipping = make_task(domains={"content": domain}, draws=("content",), on_small="skip", resize_px=None)
    assert skipping.size("all") == 5
    upscaling = make_task(domains={"content": domain}, draws=("content",), on_small="upscale", resize_px=None)
    assert upscaling.size("all") == 25
    raw = upscaling.batch(0)
    assert {tuple(image.shape) for image in raw["content"].pixels} == {(3, 16, 16), (3, 4, 4)}
    batch = upscaling.finish(raw)
    assert batch.content is not None
    assert batch.content.shape == (6, 3, 8, 8)


def test_skipping_every_image(make_domain: MakeDomain, make_task: MakeTask) -> None:
    with pytest.raises(ValueError, match=r"dataset\.on_small=skip leaves none; lower dataset\.size_px"):
        make_task(domains={"content": make_domain([(4, 4)])}, draws=("content",), on_small="skip")


def test_empty_split(make_domain: MakeDomain, make_task: MakeTask) -> None:
    domain = make_domain([(16, 16)] * 4)
    domain.splits["val"] = domain.split("train")[:0]  # as of a set that has a folder for testing alone
    task = make_task(domains={"content": domain}, draws=("content",))
    with pytest.raises(ValueError, match=r"the val split of memory:random has no usable image for content; add images"):
        task.fixed(1, "val")
    with pytest.raises(ValueError, match="no split 'dev' in domain random; there are train"):
        task.fixed(1, "dev")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"domains": {}}, r"got domains for none and draws content, style; give every drawn role a domain"),
        ({"draws": ()}, "draws nothing"),
        ({"draws": ("content", "depth")}, "has the roles content, style"),
        ({"batch_size": 0}, r"dataset\.batch_size must be .* at least 1, got 0"),
        ({"on_small": "crop"}, r"dataset\.on_small must be one of stop, upscale, skip, got 'crop'"),
        ({"resize_px": 4}, r"raise dataset\.resize_px"),
    ],
)
def test_settings_out_of_range(make_task: MakeTask, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**settings)


def test_batch_that_does_not_divide(make_task: MakeTask) -> None:
    assert device_batch_size(12, 4) == 3
    with pytest.raises(ValueError, match=r"batch_size=6 .* over 4 devices; set it to 4 or 8, or use another number"):
        make_task().batch(0, 0, 4)
    with pytest.raises(ValueError, match=r"over 8 devices; set it to 8, or"):
        device_batch_size(6, 8)


def test_describe_names_every_domain(make_task: MakeTask) -> None:
    facts = make_task(draws=("content",)).describe()
    assert facts.keys() == {"content", "style"}


def test_crops_may_have_two_sides(make_task: MakeTask, make_domain: MakeDomain) -> None:
    task = make_task(size_px=[8, 16], resize_px=None)
    batch = task.finish(task.batch(0))
    assert batch.content.shape == batch.style.shape == (6, 3, 8, 16)
    assert make_task(size_px=[8, 8]).size_px == 8
    with pytest.raises(ValueError, match=r"(?s)7 of 7 .* smaller than the crop of \[8,17\] px.*16 x 18"):
        make_task(size_px=[8, 17], resize_px=None)


def test_a_crop_of_two_sides_has_the_pixels_of_that_place(make_domain: MakeDomain, make_task: MakeTask) -> None:
    domain = make_domain([(8, 16)] * 3)
    task = make_task(domains={"content": domain, "style": domain}, size_px=[8, 12], resize_px=[8, 16], flip=False)
    raw = task.center(0, 1, "all")["content"]
    index = int(task.order("content", "all")[0])
    np.testing.assert_array_equal(pixels(raw)[0].permute(1, 2, 0), domain.crop(index, 0, 2, 8, 12))
