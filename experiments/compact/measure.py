"""Measure what an encoder's features are good for, on held-out renders and on real pictures.

    python -m experiments.compact.measure --data data/ --squeezenet squeezenet1_0.pth --output measures.json

The folder `data` holds `textures/<class>/`, `pacs/<domain>/<class>/`, `style/`, `painters/` and `content/photos256/`.
The encoder stands beside the same network with five random initializations (mean and 95 % t interval) and SqueezeNet.
Prints a table in Markdown and writes the numbers as JSON, into which rows that are not measured again are taken over.
"""

import argparse
import functools
import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from experiments.compact.distances import content_distances, style_distances
from experiments.compact.network import blank
from experiments.compact.probes import object_probe, style_probe
from stylebench.files import write_json
from stylebench.nn.encoders import SqueezeNetEncoder
from stylebench.nn.encoders.base import Encoder
from stylebench.worlds import filterstyle

SEEDS = 5
_T95 = 2.776  # Student's t for 4 degrees of freedom, two-sided 95 %
_DOMAIN, _PHOTOS = 200, 150  # pictures of a PACS domain, and photographs whose contents are compared
_FILTERED = 40  # photographs that are filtered
_STYLE_PX, _CONTENT_PX, _TEXTURE_PX = 256, 128, 256
_LAYERS = {
    "compact": (["relu2_2"], ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"], "relu4_1"),
    "compact_judge": (["mix2"], ["stem", "mix1", "mix3", "mix5", "mix6"], "mix5"),
}
_SQUEEZENET = (["pool4"], ["conv1", "fire2", "fire3", "pool4", "fire5", "fire7"], "fire6")
ROWS = ("trained", "random", "squeezenet")
MEASURES = {
    "style": "named style, linear probe",
    "style_matched": "the same after color matching",
    "object": "main object in `photo`, linear probe",
    "object_styles": "the same in `photo` and the named styles",
    "textures": "textures (10 classes), nearest neighbor",
    "domains": "PACS domains (4), nearest neighbor",
    "filters": "FilterStyle's filters (8) on photographs, nearest neighbor",
    "style_rank": "style distances, Spearman with SqueezeNet's",
    "content_rank": "content distances, Spearman with SqueezeNet's",
}
_log = logging.getLogger("compact")


def main() -> None:
    """Measure, print and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Measure an encoder's features.")
    add = parser.add_argument
    add("--encoder", choices=list(_LAYERS), default="compact", help="which architecture (default: %(default)s)")
    add("--weights", default="shipped", help="shipped, or the path of a file of weights")
    add("--data", type=Path, required=True, help="folder of the real pictures")
    add("--squeezenet", required=True, help="path of SqueezeNet's weights")
    add("--pooling", choices=("max", "avg"), default="max", help="of a compact encoder")
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what to measure again")
    add("--output", type=Path, required=True, help="file of the numbers; rows not measured again are kept")
    options = parser.parse_args()
    try:
        check_data(options.data, options.squeezenet)
        measured = functools.partial(named, options.encoder, pooling=options.pooling)
        reference = encoders(options.squeezenet, "random")["squeezenet"]
        settings = _settings(measured(options.weights), options.pooling, reference)
        rows = _earlier(options.output, settings)
        pictures = _Real(options.data)
    except (ValueError, FileNotFoundError) as error:  # what was given does not fit; the message says what would
        parser.error(str(error))
    ranks = {
        "style_rank": style_distances(reference, pictures.paintings),
        "content_rank": content_distances(reference, pictures.photos),
    }
    compared: dict[str, Callable[[], Encoder]] = {"squeezenet": lambda: reference}
    for name, weights in {
        "trained": options.weights,
        **{f"random-{seed}": f"random-{seed}" for seed in range(SEEDS)},
    }.items():
        compared[name] = functools.partial(measured, weights)
    for name, make in compared.items():
        if name.partition("-")[0] in options.rows:
            begun = time.process_time()
            encoder = make()
            rows[name] = {"encoder": encoder.describe()["name"], **measure(encoder, pictures, ranks)}
            write_json(options.output, {"settings": settings, "rows": rows})
            _log.info("%s in %.0f CPU seconds: %s", name, time.process_time() - begun, json.dumps(rows[name]))
    print(table(rows))  # noqa: T201


def check_data(data: Path, squeezenet: str) -> None:
    """Check, before anything is rendered, that all pictures and weights are there.

    Args:
        data: folder of the real pictures.
        squeezenet: path of SqueezeNet's weights.

    Raises:
        FileNotFoundError: naming the folder or file that is missing.
        ValueError: if a folder holds too few pictures or classes.
    """
    least = {"textures": 2, "pacs": 2, "style": 1, "painters": 1, "content/photos256": _PHOTOS}
    for name, count in least.items():
        if not (data / name).is_dir():
            raise FileNotFoundError(f"--data expects a folder with {', '.join(least)}; there is no {data / name}")
        found = len(images_in(data / name))
        if found < count:
            raise ValueError(f"{data / name} must hold at least {count} pictures (jpg, png), found {found}")
    for name in ("textures", "pacs"):
        if sum(path.is_dir() for path in (data / name).iterdir()) < 2:
            raise ValueError(f"{data / name} must hold a folder for each of at least two classes")
    if not Path(squeezenet).is_file():
        raise FileNotFoundError(f"--squeezenet expects the path of torchvision's SqueezeNet 1.0, found no {squeezenet}")


def _settings(encoder: Encoder, pooling: str, reference: Encoder) -> dict[str, Any]:
    """Return what rows of one file have in common, as plain values."""
    return {
        "encoder": encoder.describe()["name"].rpartition("-")[0],
        "digest": encoder.digest,
        "content_layers": list(encoder.content_layers),
        "style_layers": list(encoder.style_layers),
        "pooling": pooling,
        "squeezenet": reference.digest,
    }


def _earlier(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the rows of an earlier measurement.

    Raises:
        ValueError: if they were measured with other settings.
    """
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    earlier = found.get("settings", {})
    differing = [name for name, value in settings.items() if earlier.get(name) != value]
    if differing:
        told = "; ".join(f"{name}: {earlier.get(name)}, now {settings[name]}" for name in differing)
        raise ValueError(f"{path} holds rows that were measured otherwise ({told}); choose another --output")
    rows: dict[str, Any] = found["rows"]
    return rows


def named(encoder: str, weights: str, pooling: str = "max") -> Encoder:
    """Return an encoder with the layers of its config.

    Args:
        encoder: key of `network.TAPS`.
        weights: as the encoder takes them.
        pooling: of a compact encoder.

    Returns:
        The frozen encoder.

    Raises:
        FileNotFoundError: if there is no such file of weights.
        ValueError: for a pooling that the architecture does not have.
    """
    found = blank(encoder, weights, pooling)
    content, style, adain = _LAYERS[encoder]
    found.content_layers, found.style_layers, found.exchange_layer = tuple(content), tuple(style), adain
    return found


def measure(encoder: Encoder, pictures: "_Real", ranks: dict[str, Tensor]) -> dict[str, float]:
    """Return every measure of `MEASURES`, shares in [0, 1] or rank correlations in [-1, 1].

    Args:
        encoder: frozen.
        pictures: the real ones.
        ranks: SqueezeNet's distances that `style_rank` and `content_rank` compare with.

    Returns:
        Values by measure.
    """
    return {
        "style": style_probe(encoder, matched=False),
        "style_matched": style_probe(encoder, matched=True),
        "object": object_probe(encoder, styled=False),
        "object_styles": object_probe(encoder, styled=True),
        "textures": nearest_neighbor(style_distances(encoder, pictures.textures), *pictures.texture_labels),
        "domains": nearest_neighbor(style_distances(encoder, pictures.domains), *pictures.domain_labels),
        "filters": nearest_neighbor(style_distances(encoder, pictures.filtered), *pictures.filter_labels),
        "style_rank": _spearman(style_distances(encoder, pictures.paintings), ranks["style_rank"]),
        "content_rank": _spearman(content_distances(encoder, pictures.photos), ranks["content_rank"]),
    }


def nearest_neighbor(distances: Tensor, labels: Tensor, owners: Tensor) -> float:
    """Return how often the nearest picture of another owner has the same label.

    Args:
        distances: (N, N).
        labels: (N,) class of each picture.
        owners: (N,) what it was cut from.

    Returns:
        The share, in [0, 1].
    """
    others = distances.masked_fill(owners[:, None] == owners, math.inf)
    return (labels[others.argmin(1)] == labels).double().mean().item()


def _spearman(first: Tensor, second: Tensor) -> float:
    row, column = torch.triu_indices(len(first), len(first), 1)
    return float(spearmanr(first[row, column].numpy(), second[row, column].numpy()).statistic)


class _Real:
    """The real pictures, uint8."""

    def __init__(self, data: Path) -> None:
        classes = sorted(
            path for path in (data / "textures").iterdir() if path.is_dir() and path.name != "texture_nets"
        )
        files = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]
        whole = [central_square(path, _TEXTURE_PX) for path, _ in files]
        half = _TEXTURE_PX // 2
        quarters = [picture[:, y : y + half, x : x + half] for picture in whole for y in (0, half) for x in (0, half)]
        self.textures = torch.stack(quarters)
        self.texture_labels = (
            torch.tensor([label for _, label in files]).repeat_interleave(4),
            torch.arange(len(files)).repeat_interleave(4),
        )
        domains = sorted(path for path in (data / "pacs").iterdir() if path.is_dir())
        chosen = [(path, label) for label, folder in enumerate(domains) for path in _spread(folder, _DOMAIN)]
        self.domains = torch.stack([central_square(path, 128) for path, _ in chosen])
        self.domain_labels = torch.tensor([label for _, label in chosen]), torch.arange(len(chosen))
        paintings = [path for name in ("style", "painters") for path in images_in(data / name)]
        self.paintings = torch.stack([central_square(path, _STYLE_PX) for path in paintings])
        photos = _spread(data / "content" / "photos256", _PHOTOS)
        self.photos = torch.stack([central_square(path, _CONTENT_PX) for path in photos])
        styles, shown = list(filterstyle.NAMED_STYLES.values()), self.photos[:_FILTERED]
        self.filtered = torch.cat([filterstyle.apply_style(shown, style, range(len(shown))) for style in styles])
        self.filter_labels = (
            torch.arange(len(styles)).repeat_interleave(len(shown)),
            torch.arange(len(shown)).repeat(len(styles)),
        )


def encoders(squeezenet: str, weights: str = "shipped") -> dict[str, Encoder]:
    """Return the encoders that stand side by side in pictures and tables.

    Args:
        squeezenet: path of SqueezeNet's weights.
        weights: of the compact encoder.

    Returns:
        `compact` and `squeezenet`.
    """
    content, style, adain = _SQUEEZENET
    return {
        "compact": named("compact", weights),
        "squeezenet": SqueezeNetEncoder(squeezenet, True, content, style, adain),
    }


def images_in(folder: Path) -> list[Path]:
    """Return a folder's pictures, at any depth, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def _spread(folder: Path, count: int) -> list[Path]:
    """Return `count` pictures evenly spread over a folder's sorted ones."""
    every = images_in(folder)
    return [every[int(place)] for place in np.linspace(0, len(every) - 1, count).round()]


def central_square(path: Path, size_px: int) -> Tensor:
    """Read a picture's central square, shrunk or enlarged to (3, size_px, size_px) uint8."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    resized = image.resize((size_px, size_px), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rows as a table in Markdown, random initializations as mean and 95 % interval."""
    lines = ["| measure | trained | random weights | SqueezeNet |", "| --- | --- | --- | --- |"]
    for key, title in MEASURES.items():
        random = [row[key] for name, row in rows.items() if name.startswith("random")]
        spread = "-"
        if random:
            half = _T95 * statistics.stdev(random) / math.sqrt(len(random))
            spread = f"{statistics.mean(random):.3f} ± {half:.3f}"
        other = f"{rows['squeezenet'][key]:.3f}" if "squeezenet" in rows else "-"
        trained = f"{rows['trained'][key]:.3f}" if "trained" in rows else "-"
        lines.append(f"| {title} | {trained} | {spread} | {other} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
