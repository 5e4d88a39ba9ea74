"""Lay digits out as class folders: 8,000 images of MNIST, of USPS all, and MNIST-M split by file name.

    python experiments/digits/folders.py --root data/digits --mnist-m data/mnist_m --output data/digits_folders

`<domain>/<split>/<digit>/<number>.png`, gray at its own size (28 px MNIST, 16 px USPS), MNIST-M as it is. The training
images of MNIST are the first 8,000 of its training set by the hash of their number; test is its own test set. Of
MNIST-M's test images, which were made from MNIST's test digits, the first 4,000 by file name are for training and the
others for the score, so no training digit of MNIST underlies a scored image.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylebench.data.splits import unit_hash
from stylebench.data.torchvision_sets import TorchvisionSets

MNIST_TRAINING, MNIST_M_TRAINING = 8000, 4000
Item = tuple[str, str, str, NDArray[np.uint8]]  # split, class, name, pixels


def of_set(root: Path, name: str) -> Iterator[Item]:
    """Yield the images of a torchvision set."""
    domain = TorchvisionSets(str(root), 0.0).open(name)
    train = sorted(domain.split("train"), key=lambda index: unit_hash(domain.ids[index]))
    kept = [*train[: MNIST_TRAINING if name == "mnist" else None], *domain.split("test")]
    for index in kept:
        split, digit, number = domain.ids[index].split("/")
        yield split, digit, number, domain.view(int(index))


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="torchvision's MNIST and USPS")
    parser.add_argument("--mnist-m", type=Path, required=True, help="class folders of MNIST-M's test images")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    for name in ("mnist", "usps"):
        for split, digit, number, pixels in of_set(options.root, name):
            path = options.output / name / split / digit / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0]).save(path)
    files = sorted(options.mnist_m.rglob("*.png"), key=lambda path: path.name)
    for place, file in enumerate(files):
        split = "train" if place < MNIST_M_TRAINING else "test"
        target = options.output / "mnist_m" / split / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


if __name__ == "__main__":
    main()
