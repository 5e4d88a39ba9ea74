"""Classify pictures with a trained model: a table of labels and probabilities."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from stylebench.build import Config
from stylebench.checks import UsageError, check_whole
from stylebench.commands.stylize.pictures import choose_device
from stylebench.data.augmentation import CropSettings, finish_images
from stylebench.data.images import ImageError, decode_image
from stylebench.data.listing import Listing, list_pictures
from stylebench.data.streams import central, cut_pictures
from stylebench.files import atomic_write, csv_text
from stylebench.inference.classifier import Classifier
from stylebench.inference.loading import load

COLUMNS = ("picture", "label", "probability")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classified:
    """What was written.

    Attributes:
        path: the table.
        counts: pictures by label, most first.
        failed: pictures that could not be read, each with the reason.
        left_out: files of the folder that are no pictures by their name, by their ending.
    """

    path: Path
    counts: dict[str, int]
    failed: list[tuple[str, str]]
    left_out: Mapping[str, int]


def classify(config: Config) -> Classified:
    """Classify a picture, or those of a folder, and write the table.

    Args:
        config: the resolved config of the command.

    Raises:
        FileNotFoundError: if there is no such run or picture.
        FileExistsError: if the table is there and may not be replaced.
        UsageError: if the run's model is no classifier.
        ValueError: if no statistics are kept of the domain.
    """
    source = Path(config["input"]).expanduser()
    target = Path(config["output"] or f"{source.stem}-labels.csv")
    check_whole("batch_size", config["batch_size"])
    if target.exists() and not config["overwrite"]:
        raise FileExistsError(f"{target} is there already; name another file by output=, or set overwrite=true")
    model = load(config["run"], config["weights"], choose_device(config["device"]))
    if not isinstance(model, Classifier):
        raise UsageError(f"the model of {config['run']} makes pictures and no labels: stylebench stylize run=...")
    if not source.exists():
        raise FileNotFoundError(f"there is nothing at {source}; name a picture or a folder of pictures by input=")
    listing = list_pictures(source) if source.is_dir() else Listing({source.name: source}, {})
    if not listing.pictures:
        raise FileNotFoundError(f"no pictures in {source}: {listing.words or 'no other file either'}")
    rows, failed = [], list[tuple[str, str]]()
    for names, images in _batches(model, listing, config["batch_size"], config["max_pixels"], failed):
        shares = model.classify(images, statistics=config["statistics"]).softmax(1)
        best, numbers = shares.max(1)
        for name, row, number, share in zip(names, shares.tolist(), numbers.tolist(), best.tolist(), strict=True):
            label = {"picture": name, "label": model.classes[number], "probability": repr(share)}
            rows.append({**label, **{f"p({each})": value for each, value in zip(model.classes, row, strict=True)}})
    with atomic_write(target) as file:
        file.write(csv_text(rows, COLUMNS).encode())
    return Classified(target, dict(Counter(row["label"] for row in rows).most_common()), failed, listing.left_out)


def _batches(
    model: Classifier, listing: Listing, size: int, max_pixels: int, failed: list[tuple[str, str]]
) -> Iterator[tuple[list[str], Tensor]]:
    """Yield names and images, (B, 3, S, S) in [0, 1]; what cannot be read is noted and passed over."""
    names: list[str] = []
    images: list[NDArray[np.uint8]] = []
    for name, path in tqdm(listing.pictures.items(), unit="picture", disable=len(listing.pictures) < size):
        try:
            pixels = decode_image(path, max_pixels)
        except (ImageError, OSError) as error:
            log.warning("%s: %s", name, error)
            failed.append((name, str(error)))
            continue
        names.append(name)
        images.append(pixels)
        if len(names) == size:
            yield names, as_trained(model, images)
            names, images = [], []
    if names:
        yield names, as_trained(model, images)


def as_trained(model: Classifier, images: list[NDArray[np.uint8]]) -> Tensor:
    """Return (H, W, 3) pictures as (B, 3, S, S) in [0, 1]: their centers, as in the evaluations of the training."""
    if model.size_px is None:
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    crop = CropSettings(model.size_px, model.resize_px, False)
    return finish_images(cut_pictures(images, central(len(images)), crop), model.size_px)
