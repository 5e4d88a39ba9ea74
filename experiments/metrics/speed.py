"""Time the set metrics against torchmetrics' Frechet distance: the distance alone, and everything on the same images.

    python -m experiments.metrics.speed distance [--width 2048] [--images 500 5000] [--repeats 3]
    python -m experiments.metrics.speed together [--extractor compact_judge] [--images 500] [--size 64] [--repeats 3]

`distance` takes features with a power-law spectrum. torchmetrics' `_compute_fid` starts from float64 moments, which it
gathers while features arrive; ours starts from the moments too where they have full rank, and from the features, means
and centering included, where there are fewer than dimensions. `together` feeds the same uint8 images through the same
network: torchmetrics' FID alone, then our Frechet distance with its floor, kernel distance with its subsets and blocks,
and precision, recall, density and coverage. Turns alternate and medians count. One JSON line a case.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.functional.frechet import frechet_distance, frechet_distance_of_features, moments
from stylebench.metrics.extractors import EncoderFeatures, Extractor, Inception, RandomMultiScale
from stylebench.metrics.features import FeatureAccumulator, FeatureSet
from stylebench.metrics.sets import FrechetDistance, KernelDistance, Manifold
from stylebench.nn.encoders import JudgeEncoder

logger = logging.getLogger(__name__)

BATCH = 50  # images at a time, for both
PICTURES = 200  # distinct pictures; others are crops of them, as drawing takes longer than measuring
EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    "compact_judge": lambda: EncoderFeatures(
        JudgeEncoder("shipped", ["mix2"], ["stem", "mix1", "mix3"], "mix5"), pooled=["stem", "mix1", "mix3"]
    ),
    "rand_ms": RandomMultiScale,
    "inception": lambda: Inception("random"),
}


def power_law(count: int, width: int, seed: int, scale: float = 1.0) -> Tensor:
    """Draw (count, width) float64 normals with variances 1 / i."""
    generator = torch.Generator().manual_seed(seed)
    deviations = torch.arange(1, width + 1, dtype=torch.float64).rsqrt()
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64) * deviations


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def alternate(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> dict[str, object]:
    """Take turns; return medians in seconds, their ratio and the last results."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    results: dict[str, object] = {}
    for _ in range(repeats):
        for name, call in (("ours", ours), ("theirs", theirs)):
            spent, results[name] = timed(call)
            seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"seconds": medians, "times_faster": medians["theirs"] / medians["ours"], "results": results}


def distance(count: int, width: int, repeats: int) -> dict[str, object]:
    """Compare the distance parts at one size."""
    first, second = power_law(count, width, 0), power_law(count, width, 1, scale=1.1)
    one, two = moments(first), moments(second)

    def ours() -> float:
        if count < width:
            return frechet_distance_of_features(first, second)
        return frechet_distance(*one, *two)

    def theirs() -> float:
        return float(_compute_fid(one.mean, one.covariance, two.mean, two.covariance))

    return alternate(ours, theirs, repeats)


def pictures(count: int, size: int, seed: int) -> Tensor:
    """Draw (count, 3, size, size) uint8 pictures: dead leaves, cropped at random."""
    leaves = dead_leaves(min(count, PICTURES), 2 * size, seed)
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(0, size, (count, 2), generator=generator).tolist()
    crops = [leaves[i % len(leaves), :, y : y + size, x : x + size] for i, (y, x) in enumerate(places)]
    return torch.stack(crops)


def features_of(extractor: Extractor, images: Tensor) -> FeatureSet:
    """Pass images through an extractor, as the evaluator does."""
    accumulator = FeatureAccumulator()
    for places in torch.split(torch.arange(len(images)), BATCH):
        accumulator.update(extractor(images[places]), places)
    found = accumulator.compute()
    if found is None:
        raise ValueError("expected at least one image, found none; raise --images")
    return found


def together(name: str, count: int, size: int, repeats: int) -> dict[str, object]:
    """Compare our three metrics with one of torchmetrics', features included."""
    extractor = EXTRACTORS[name]()
    extractor.num_features = extractor.width  # spares torchmetrics its trial image
    reference, generated = pictures(count, size, 0), pictures(count, size, 1)
    extractor(reference[:2])  # a first call sets networks up
    parts: dict[str, float] = {}

    def ours() -> dict[str, float]:
        parts["features"], sets = timed(lambda: [features_of(extractor, images) for images in (reference, generated)])
        values: dict[str, float] = {}
        for metric in (FrechetDistance(name), KernelDistance(name), Manifold(name)):
            parts[metric.stem], results = timed(lambda metric=metric: metric(*sets, parts=extractor.parts))
            values.update({f"{metric.stem}{result.variant}": result.value for result in results})
        return values

    def theirs() -> float:
        metric = FrechetInceptionDistance(feature=extractor)
        for images, real in ((reference, True), (generated, False)):
            for batch in torch.split(images, BATCH):
                metric.update(batch, real=real)
        return float(metric.compute())

    with torch.no_grad():
        found = alternate(ours, theirs, repeats)
    return {**found, "our_parts": parts, "width": extractor.width, "parts": extractor.parts}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("distance", "together"))
    parser.add_argument("--width", type=int, default=2048, help="features, for distance")
    parser.add_argument("--images", type=int, nargs="+", default=None, help="images a set")
    parser.add_argument("--extractor", choices=sorted(EXTRACTORS), default="compact_judge", help="for together")
    parser.add_argument("--size", type=int, default=64, help="side of the images in px, for together")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    setting = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for count in arguments.images or ([500, 5000] if arguments.case == "distance" else [500]):
        if arguments.case == "distance":
            case: dict[str, object] = {"width": arguments.width}
            found = distance(count, arguments.width, arguments.repeats)
        else:
            case = {"extractor": arguments.extractor, "size_px": arguments.size}
            found = together(arguments.extractor, count, arguments.size, arguments.repeats)
        logger.info(json.dumps({"case": arguments.case, "images": count, **case, **found, **setting}))


if __name__ == "__main__":
    main()
