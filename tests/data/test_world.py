"""What every world promises, on a small one whose renders can be read: (content, style, nuisance) as a color."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.data.splits import Layout
from stylebench.data.stores import Part
from stylebench.data.world import Anatomy, Contents, World, content_splits

STYLES = ("photo", "red", "blue", *(f"{pool}-{n}" for pool in ("prior", "val", "hidden") for n in range(6)))


class Flat(World):
    """Every picture is one color: the content's number, the style's number, the low byte of the nuisance."""

    name = "flat"
    version = 1
    components = ("palette",)
    named = ("red", "blue")
    rendered = 0

    def contents(self, part: Part | None) -> Contents:
        share = 0 if part is None else part.index
        sizes = {"train": 6, "val": 3, "test": 3}
        ids = {
            split: [f"{split}-{share if split == 'train' else 0}-{i}" for i in range(count)]
            for split, count in sizes.items()
        }
        ordered, splits = content_splits(ids)
        return Contents(ordered, Layout(splits))

    def check_style(self, style: str) -> None:
        if style not in STYLES:
            raise ValueError(f"no style {style!r}")

    def draw(
        self,
        ids: Sequence[str],
        styles: Sequence[str],
        nuisance: Sequence[int],
        strength: float,
        components: Sequence[str],
    ) -> Tensor:
        Flat.rendered += len(ids)
        colors = [
            (int(id_[-1]), round(strength * STYLES.index(style)), seed % 256)
            for id_, style, seed in zip(ids, styles, nuisance, strict=True)
        ]
        pixels = torch.tensor(colors, dtype=torch.uint8)[:, :, None, None]
        return pixels.expand(-1, -1, self.size_px, self.size_px)

    def anatomy(self, ids: Sequence[str]) -> Anatomy:
        empty = torch.zeros(len(ids), 0, self.size_px, self.size_px)
        return Anatomy(empty.bool(), empty[:, 0], empty.bool(), None)

    def benchmark(self, seconds: float) -> float:
        return 1.0

    def fingerprint(self) -> object:
        return None


@pytest.fixture
def world(tmp_path: Path) -> Flat:
    return Flat(4, packed=False, cache=tmp_path)


def test_a_domain_shows_its_style_with_one_nuisance_for_good(world: Flat) -> None:
    domain = world.open("red")
    assert {tuple(image[0, 0, :2]) for image in domain.views(range(len(domain)))} >= {(0, 1), (5, 1)}
    np.testing.assert_array_equal(domain.image(3), world.open("red").image(3))
    assert len({int(image[0, 0, 2]) for image in domain.views(range(12))}) > 6


def test_purposes_share_no_nuisance(world: Flat) -> None:
    ids = world.open("red").ids
    seen = [
        world.render(ids, "red", purpose=purpose, draw=draw)[:, 2, 0, 0].tolist()
        for purpose in ("reference", "truth", "calibration")
        for draw in range(3)
    ]
    assert len({tuple(row) for row in seen}) == 9
    with pytest.raises(ValueError, match="purpose must be one of reference, truth, calibration, got 'test'"):
        world.render(ids, "red", purpose="test")


def test_nuisance_stays_while_the_strength_changes(world: Flat) -> None:
    weak, strong = (world.render(["val-0-1"], "blue", strength=s)[0, :, 0, 0].tolist() for s in (0.5, 1.5))
    assert (weak[1], strong[1]) == (1, 3)
    assert weak[2] == strong[2]


def test_the_prior_gives_each_picture_a_style_of_its_splits_pool(world: Flat) -> None:
    domain = world.open("prior")
    for split, pool in (("train", "prior"), ("val", "val"), ("test", "hidden")):
        numbers = [int(domain.image(int(i))[0, 0, 1]) for i in domain.split(split)]
        styles = [STYLES[number] for number in numbers]
        assert styles == [f"{pool}-{n}" for n in range(len(styles))]


def test_a_single_picture_is_in_every_split(world: Flat) -> None:
    domain = world.open("red/train-0-2")
    assert [domain.split(name).tolist() for name in ("train", "val", "test", "all")] == [[0]] * 4
    np.testing.assert_array_equal(domain.image(0), world.open("red").image(world.open("red").ids.index("train-0-2")))
    with pytest.raises(ValueError, match=r"no picture 'train-0-9' in style red; there are 12, such as train-0-0"):
        world.open("red/train-0-9")
    with pytest.raises(ValueError, match=r"no picture 'train-0-2' in style red; another domain of the task shows"):
        world.open("red/train-0-2", Part(1, 2, True))


def test_a_single_picture_of_the_prior_keeps_its_style(world: Flat) -> None:
    whole = world.open("prior")
    for split in ("train", "val", "test"):
        index = int(whole.split(split)[1])
        single = world.open(f"prior/{whole.ids[index]}")
        np.testing.assert_array_equal(single.image(0), whole.image(index))
    assert world.look_up(f"prior/{whole.ids[int(whole.split('train')[1])]}", None)[1] == ["prior-1"]
    assert world.look_up("prior@0.5/val-0-2", None)[1] == ["val-2@0.5"]


def test_a_damaged_pack_is_made_anew(world: Flat, tmp_path: Path) -> None:
    packing = Flat(4, packed=True, cache=tmp_path)
    target = tmp_path / "renders" / f"{packing.open('red').digest}.bin"
    whole = target.read_bytes()
    target.write_bytes(whole[:100])
    np.testing.assert_array_equal(packing.open("red").image(5), world.open("red").image(5))
    assert target.read_bytes() == whole


def test_digests_tell_domains_apart(world: Flat, tmp_path: Path) -> None:
    domains = [world.open("red"), world.open("blue"), world.open("prior"), world.open("red", Part(1, 2, True))]
    domains.append(Flat(5, packed=False, cache=tmp_path).open("red"))
    assert len({domain.digest for domain in domains}) == 5
    assert world.open("red").digest == domains[0].digest


def test_packed_pictures_equal_rendered_ones_and_are_made_once(world: Flat, tmp_path: Path) -> None:
    packing = Flat(4, packed=True, cache=tmp_path)
    Flat.rendered = 0
    packed, again = packing.open("prior"), packing.open("prior")
    assert Flat.rendered == len(packed) == 12
    for index, image in enumerate(world.open("prior").views(range(12))):
        np.testing.assert_array_equal(packed.image(index), image)
        np.testing.assert_array_equal(again.image(index), image)


def test_packing_goes_on_where_it_was_stopped(world: Flat, tmp_path: Path) -> None:
    packing = Flat(4, packed=True, cache=tmp_path)
    target = tmp_path / "renders" / f"{world.open('red').digest}.bin"
    target.parent.mkdir()
    whole = b"".join(image.tobytes() for image in world.open("red").views(range(12)))
    target.with_name(f".{target.stem}.partial").write_bytes(whole[: 7 * 48 + 5])  # seven pictures and a bit
    Flat.rendered = 0
    packing.open("red")
    assert Flat.rendered == 5
    assert target.read_bytes() == whole


def test_rendered_domains_travel_to_workers(world: Flat) -> None:
    domain = world.open("red")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(domain)).image(2), domain.image(2))
    assert not domain.view(0).flags.writeable
    with pytest.raises(IndexError):
        domain.view(12)


def test_unknown_style_and_bad_switch(world: Flat, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no style 'green'"):
        world.open("green")
    with pytest.raises(ValueError, match=r"packed must be true or false, got 1"):
        Flat(4, packed=1, cache=tmp_path)  # type: ignore[arg-type]
