"""Measure how far distances tell real domains apart, and whether halves of one domain sit at the floor.

    python -m experiments.metrics.discrimination --domains <pacs>/photo <pacs>/cartoon ... [--size 64] [--images 400]
        [--extractors compact_judge rand_ms pix_pca] [--squeezenet <file>] [--seed 0] [--output gaps.json]

Each domain, a folder of pictures, gives two disjoint halves of n images: `--images`, or half of the smallest domain.
For two domains A and B the gap is d(A1, B1) - (d(A1, A2) + d(B1, B2)) / 2; all sets have one size, which keeps the bias
of a Frechet distance out of the gap to first order. Its interval: a jackknife that deletes one of 20 blocks from all
four sets at once (Frechet distance), Student's t over ten disjoint blocks (kernel distance). For each domain, five
random splits into halves give the mean distance of halves, its spread, and the floor that `FrechetDistance` reports
beside it; the kernel distance of one split, whose floor is 0, has the interval of its blocks.
"""

import argparse
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.metrics.photos import read_squares, sample_files
from stylebench.functional.frechet import frechet_distance_of_features
from stylebench.functional.kernel_distance import kernel_distance
from stylebench.metrics.extractors import EncoderFeatures, Extractor, PixelPCA, RandomMultiScale
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.sets import FrechetDistance
from stylebench.nn.encoders import JudgeEncoder, SqueezeNetEncoder
from stylebench.statistics.intervals import jackknife_interval, t_interval

logger = logging.getLogger(__name__)

BATCH = 50
BLOCKS = 20  # of the jackknife
SPLITS = 5  # of a domain into halves
_STYLE = ("conv1", "fire2", "fire3", "pool4", "fire5", "fire7")


class Halves(NamedTuple):
    """Features of two disjoint halves of a domain, (n, d) each."""

    first: Tensor
    second: Tensor


def extractors(names: Sequence[str], squeezenet: Path | None) -> dict[str, Extractor]:
    """Build the extractors of these names, and SqueezeNet from a file."""
    makers: dict[str, Callable[[], Extractor]] = {
        "compact_judge": lambda: EncoderFeatures(
            JudgeEncoder("shipped", ["mix2"], ["stem", "mix1", "mix3"], "mix5"), pooled=["stem", "mix1", "mix3"]
        ),
        "rand_ms": RandomMultiScale,
        "pix_pca": PixelPCA,
    }
    found = {name: makers[name]() for name in names}
    if squeezenet is not None:
        found["squeezenet"] = EncoderFeatures(SqueezeNetEncoder(str(squeezenet), True, ["pool4"], _STYLE, "fire6"))
    return found


def halves(rows: Tensor, count: int, seed: int) -> Halves:
    """Draw two disjoint halves of `count` rows each."""
    order = torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).permutation(len(rows)))
    return Halves(rows[order[:count]], rows[order[count : 2 * count]])


def over_parts(distance: Callable[[Tensor, Tensor], Any], first: Tensor, second: Tensor, parts: int) -> Any:
    """Average a distance over the equal parts of an extractor's features, each a network of its own."""
    pairs = zip(first.chunk(parts, 1), second.chunk(parts, 1), strict=True)
    return np.mean([distance(one, two) for one, two in pairs], axis=0)


def without_blocks(first: Tensor, second: Tensor, parts: int) -> list[float]:
    """Return the Frechet distance of all rows, then without each of `BLOCKS` blocks of both sets."""
    everything = np.arange(len(first))
    kept = [np.delete(everything, block) for block in np.array_split(everything, BLOCKS)]
    return [
        float(over_parts(frechet_distance_of_features, first[rows], second[rows], parts))
        for rows in (everything, *kept)
    ]


def kernel_values(first: Tensor, second: Tensor, parts: int) -> list[float]:
    """Return the kernel distance of all rows, then those of ten disjoint blocks."""

    def values(one: Tensor, two: Tensor) -> list[float]:
        found = kernel_distance(one, two)
        return [found.full, *found.blocks]

    return [float(value) for value in over_parts(values, first, second, parts)]


def gaps(between: Sequence[float], within: tuple[Sequence[float], Sequence[float]]) -> list[float]:
    """Subtract the mean of two domains' own distances, entry by entry."""
    return [apart - (one + two) / 2 for apart, one, two in zip(between, *within, strict=True)]


def at_floor(rows: Tensor, count: int, parts: int, seed: int) -> dict[str, float]:
    """Compare the mean distance of random halves with the floor that the metric reports."""
    metric = FrechetDistance("any")
    distances, floors = [], []
    for split in range(SPLITS):
        first, second = halves(rows, count, seed + 1 + split)
        (found,) = metric(FeatureSet.of(first), FeatureSet.of(second), parts)
        distances.append(found.value)
        floors.append(found.details["floor"])
    mean, floor, sd = (float(value) for value in (np.mean(distances), np.mean(floors), np.std(distances, ddof=1)))
    return {"halves": mean, "halves_sd": sd, "floor": floor, "ratio": mean / floor}


def measure(extractor: Extractor, pictures: dict[str, Tensor], count: int, seed: int) -> dict[str, Any]:
    """Return each domain's halves and each pair's gaps on one extractor."""
    with torch.no_grad():
        rows = {
            name: torch.cat([extractor(batch) for batch in torch.split(images, BATCH)])
            for name, images in pictures.items()
        }
    split, parts = {name: halves(part, count, seed) for name, part in rows.items()}, extractor.parts
    own = {name: (without_blocks(*part, parts), kernel_values(*part, parts)) for name, part in split.items()}
    domains: dict[str, dict[str, Any]] = {name: at_floor(part, count, parts, seed) for name, part in rows.items()}
    for name, (_, (value, *blocks)) in own.items():
        domains[name] |= {"kernel_halves": value, "kernel_interval": t_interval(blocks).bounds if blocks else None}
    pairs = []
    for one, two in itertools.combinations(pictures, 2):
        first, second = split[one].first, split[two].first
        apart = without_blocks(first, second, parts)
        fd, *without = gaps(apart, (own[one][0], own[two][0]))
        kd, *blocks = gaps(kernel_values(first, second, parts), (own[one][1], own[two][1]))
        kernel_interval = t_interval(blocks).bounds if blocks else None
        interval = jackknife_interval(fd, without).bounds
        pairs.append({"pair": [one, two], "between": apart[0], "gap": fd, "interval": interval, "kernel_gap": kd,
                      "kernel_interval": kernel_interval})  # fmt: skip
        logger.info(json.dumps({"extractor": extractor.name, **pairs[-1]}))
    return {"extractor": extractor.name, "width": extractor.width, "parts": parts, "n": count, "domains": domains,
            "pairs": pairs}  # fmt: skip


def bounds(interval: Sequence[float] | None) -> str:
    """Format the ends of an interval."""
    return "none" if interval is None else f"[{interval[0]:.3g}, {interval[1]:.3g}]"


def tables(results: Sequence[dict[str, Any]]) -> str:
    """Format results as two Markdown tables: gaps by pair, halves by domain."""
    lines = ["| extractor | pair | fd between | fd gap | 95 % | kd gap | 95 % |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {result['extractor']} | {' / '.join(pair['pair'])} | {pair['between']:.3g} | {pair['gap']:.3g} | "
        f"{bounds(pair['interval'])} | {pair['kernel_gap']:.3g} | {bounds(pair['kernel_interval'])} |"
        for result in results
        for pair in result["pairs"]
    ]
    lines += ["", "| extractor | domain | fd of halves | sd of splits | floor | ratio | kd of halves | 95 % |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {result['extractor']} | {name} | {row['halves']:.3g} | {row['halves_sd']:.2g} | {row['floor']:.3g} | "
        f"{row['ratio']:.3f} | {row['kernel_halves']:.2g} | {bounds(row['kernel_interval'])} |"
        for result in results
        for name, row in result["domains"].items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", type=Path, nargs="+", required=True, help="folders of pictures, two at least")
    parser.add_argument("--size", type=int, default=64, help="side in px that squares are shrunk to")
    parser.add_argument("--images", type=int, default=400, help="images of a half, at most")
    offline = ["compact_judge", "rand_ms", "pix_pca"]
    parser.add_argument("--extractors", choices=offline, nargs="*", default=offline)
    parser.add_argument("--squeezenet", type=Path, default=None, help="file of SqueezeNet's weights")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images and the splits")
    parser.add_argument("--output", type=Path, default=None, help="file for the results as JSON")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = {folder.name: sample_files(folder, 2 * arguments.images, arguments.seed) for folder in arguments.domains}
    count = min(len(found) for found in files.values()) // 2
    pictures = {name: read_squares(found[: 2 * count], arguments.size) for name, found in files.items()}
    every = extractors(arguments.extractors, arguments.squeezenet)
    results = [measure(extractor, pictures, count, arguments.seed) for extractor in every.values()]
    if arguments.output is not None:
        facts = {"size_px": arguments.size, "seed": arguments.seed, "torch": torch.__version__}
        arguments.output.write_text(json.dumps({**facts, "results": results}, indent=2))
    logger.info(tables(results))


if __name__ == "__main__":
    main()
