import bz2
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from stylebench.data.torchvision_sets import TorchvisionSets
from stylebench.files import DamagedFileError


def write_mnist(root: Path, counts: dict[str, int]) -> None:
    """Write the four idx files; image i is filled with i, its label is i % 10."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, count in counts.items():
        images = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28).reshape(count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, magic, values in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
            header = struct.pack(f">I{values.ndim}I", magic, *values.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + values.tobytes())
            with gzip.open(folder / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + values.tobytes())


def write_usps(root: Path) -> None:
    """Write libsvm files of one gray level an image; labels 1..10 stand for 0..9."""
    folder = root / "USPS"
    folder.mkdir(parents=True)
    for name, count in (("usps.bz2", 20), ("usps.t.bz2", 10)):
        lines = [
            f"{i % 10 + 1} " + " ".join(f"{k}:{-1 + 2 * i / 255:.6f}" for k in range(1, 257)) for i in range(count)
        ]
        (folder / name).write_bytes(bz2.compress(("\n".join(lines) + "\n").encode()))


def test_mnist_keeps_its_official_test_part(tmp_path: Path) -> None:
    write_mnist(tmp_path, {"train": 60, "t10k": 20})
    domain = TorchvisionSets(str(tmp_path), 0.2).open("mnist")
    assert len(domain) == 80
    assert domain.classes == list("0123456789")
    assert len(domain.split("test")) == 20
    assert len(domain.split("val")) > 3
    for index in (0, 33, 79):
        image, label = domain.image(index), domain.labels[index]  # type: ignore[index]
        assert image.shape == (28, 28, 3)
        assert (image == image[0, 0, 0]).all()
        assert image[0, 0, 0] % 10 == label
    assert {domain.ids[i].split("/")[0] for i in domain.split("test")} == {"test"}
    assert {domain.ids[i].split("/")[0] for i in (*domain.split("train"), *domain.split("val"))} == {"train"}


def test_usps_is_read(tmp_path: Path) -> None:
    write_usps(tmp_path)
    domain = TorchvisionSets(str(tmp_path), 0.2).open("usps")
    assert (len(domain), domain.shape(0)) == (30, (16, 16))
    assert len(domain.split("test")) == 10
    index = domain.ids.index("train/3/000013")
    assert abs(int(domain.image(index)[0, 0, 0]) - 13) <= 1


def test_equal_files_have_equal_digests(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_mnist(tmp_path / name, {"train": 20, "t10k": 10})
    write_mnist(tmp_path / "more", {"train": 21, "t10k": 10})
    one, two, more = (
        TorchvisionSets(str(tmp_path / name), 0.1).open("mnist").digest for name in ("one", "two", "more")
    )
    assert one == two != more


@pytest.mark.parametrize("name", ["mnist", "usps", "svhn"])
def test_missing_files_name_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"files of {name} are not under .*stylebench prepare dataset=digits"):
        TorchvisionSets(str(tmp_path), 0.1).open(name)


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "no digits"])
def test_damaged_files_name_the_command(damage: str, tmp_path: Path) -> None:
    write_usps(tmp_path)
    file = tmp_path / "USPS" / "usps.bz2"
    whole = file.read_bytes()
    file.write_bytes(
        {
            "truncated": whole[:-20],
            "overwritten": whole[:20] + bytes(20) + whole[40:],
            "no digits": bz2.compress(b"<html>quota</html>"),
        }[damage]
    )
    with pytest.raises(DamagedFileError, match=r"usps under .* damaged or truncated.*remove them.*dataset=digits"):
        TorchvisionSets(str(tmp_path), 0.1).open("usps")


def test_unknown_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no set 'kmnist' here; there are mnist, usps, svhn"):
        TorchvisionSets(str(tmp_path), 0.1).open("kmnist")


def test_real_digits(shared: Path) -> None:
    domain = TorchvisionSets(str(shared / "data" / "digits"), 0.1).open("usps")
    assert (len(domain.split("train")) + len(domain.split("val")), len(domain.split("test"))) == (7291, 2007)
