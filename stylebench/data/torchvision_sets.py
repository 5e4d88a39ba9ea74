"""Digits as torchvision reads them: MNIST, USPS and SVHN, with their official training and test parts."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylebench.data.domain import Domain, Pixels
from stylebench.data.splits import check_fractions, layout_by_path
from stylebench.data.stores import Part
from stylebench.files import DamagedFileError, json_digest

_Labels = NDArray[np.int64]


class TorchvisionSets:
    """Open sets of torchvision as domains in memory, at their own size: 28 px MNIST, 16 px USPS, 32 px SVHN.

    The official training part is divided into train and val by the hash of the id; the official test part is test.
    Nothing is downloaded here: `stylebench prepare dataset=digits` does that.

    Args:
        root: folder that holds `MNIST/`, `USPS/` and `SVHN/` as torchvision lays them out.
        val_fraction: part of the training images for validation, in [0, 1).

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(self, root: str, val_fraction: float) -> None:
        check_fractions(val_fraction, 0.0)
        self.root = Path(root).expanduser()
        self.val_fraction = val_fraction

    def open(self, value: str, part: Part | None = None) -> Domain:
        """Open a set.

        Args:
            value: "mnist", "usps" or "svhn".
            part: ignored: images are fixed.

        Returns:
            The domain, in memory, with the ten digits as classes.

        Raises:
            ValueError: if there is no such set here.
            FileNotFoundError: if its files are not there.
            DamagedFileError: if they are damaged.
        """
        if value not in _READERS:
            raise ValueError(
                f"no set {value!r} here; there are {', '.join(_READERS)}. For a folder of images, set dataset=folders"
            )
        ids: list[str] = []
        images = []
        for split in ("train", "test"):
            pixels, digits = self._read(value, split == "train")
            ids += [f"{split}/{digit}/{number:06d}" for number, digit in enumerate(digits)]
            images.append(pixels)
        order = np.argsort(ids, kind="stable")
        pixels = np.concatenate(images)[order]  # (N, H, W, 3)
        ids = [ids[i] for i in order]
        return Domain(
            name=value,
            path=f"{self.root} ({value})",
            ids=ids,
            shapes=np.full((len(ids), 2), pixels.shape[1], dtype=np.int64),
            pixels=pixels,
            digest=json_digest([value, ids, _digest(pixels)]),
            layout=layout_by_path(ids, self.val_fraction, 0.0),
        )

    def _read(self, name: str, train: bool) -> tuple[Pixels, _Labels]:
        """Return (N, H, W, 3) uint8 RGB and (N,) digits of one official part."""
        try:
            images, labels = _READERS[name](self.root, train)
        except (RuntimeError, FileNotFoundError) as error:  # torchvision's way to say that files are missing
            raise FileNotFoundError(
                f"the files of {name} are not under {self.root} ({error}); get them with: stylebench prepare "
                "dataset=digits, or set dataset.root to where they are"
            ) from error
        except (ModuleNotFoundError, MemoryError):
            raise
        except Exception as error:  # on damaged bytes the readers raise nearly any type, from EOFError to TypeError
            if isinstance(error, OSError) and error.errno is not None:  # the system's complaint, not the reader's
                raise
            reason = str(error) or type(error).__name__
            raise DamagedFileError(
                f"the files of {name} under {self.root} are damaged or truncated ({reason}); remove them, and get them "
                "again with: stylebench prepare dataset=digits"
            ) from error
        if images.ndim == 3:
            images = np.repeat(images[..., None], 3, axis=3)  # gray to (N, H, W, 3)
        return images, np.asarray(labels, dtype=np.int64)


def _read_mnist(root: Path, train: bool) -> tuple[Pixels, Any]:
    from torchvision.datasets import MNIST

    found = MNIST(str(root), train=train)
    return found.data.numpy(), found.targets.numpy()


def _read_usps(root: Path, train: bool) -> tuple[Pixels, Any]:
    from torchvision.datasets import USPS

    found = USPS(str(root / "USPS"), train=train)
    return found.data, found.targets


def _read_svhn(root: Path, train: bool) -> tuple[Pixels, Any]:
    try:
        from scipy import io  # noqa: F401 (torchvision reads SVHN through it)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("SVHN is stored as MATLAB files; to read them: pip install scipy") from error
    from torchvision.datasets import SVHN

    found = SVHN(str(root / "SVHN"), split="train" if train else "test")
    return found.data.transpose(0, 2, 3, 1), found.labels


_READERS: dict[str, Callable[[Path, bool], tuple[Pixels, Any]]] = {
    "mnist": _read_mnist,
    "usps": _read_usps,
    "svhn": _read_svhn,
}


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
