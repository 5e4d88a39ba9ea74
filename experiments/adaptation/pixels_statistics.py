r"""Pixels and statistics: are the two adaptations additive? MNIST to USPS, over ten seeds.

    stylebench train experiment=adain2017/squeezenet encoder.weights=squeezenet1_0_imagenet.pth \
      dataset.content=data/digits_folders/mnist dataset.style=[data/digits_folders/usps,data/digits_folders/mnist_m] \
      dataset.size_px=28 dataset.resize_px=28 dataset.on_small=upscale dataset.batch_size=32 budget.batches=600 \
      run=outputs/adain_digits
    python -m experiments.adaptation.pixels_statistics run --data data/digits_folders --stylizer outputs/adain_digits \
      --runs outputs/pixels_statistics --rows rows.jsonl
    python -m experiments.adaptation.pixels_statistics table rows.jsonl

A classifier is trained on the source's pixels as they are, stylized by the target's images, stylized by images of
another domain, or with jittered colors: as many images and batches each. Each is scored with the source's statistics
and with the target's (AdaBN). The interaction is what the second adaptation gains beside the first, less what it gains
alone. Trainings of 250 batches of 64.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.adaptation.digits import SETTINGS
from experiments.adaptation.runs import Row, command, percent, scored, trained

SEEDS = 10
PAIR, OTHER = ("mnist", "usps"), "mnist_m"
AS_THEY_ARE, STYLIZED, RANDOM, JITTERED = "as they are", "stylized", "styles of another domain", "color jitter"
PIXELS = (AS_THEY_ARE, STYLIZED, RANDOM, JITTERED)
STATISTICS = {"source": None, "AdaBN": ["adaptation=adabn"]}


def pixels_of(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return overrides for each way to change the source's pixels."""
    replaced = "originals:false"
    return {
        AS_THEY_ARE: [],
        STYLIZED: [f"dataset.stylize={{run:{options.stylizer},{replaced}}}"],
        RANDOM: [f"dataset.stylize={{run:{options.stylizer},styles:{options.data / OTHER},{replaced}}}"],
        JITTERED: [f"dataset.stylize={{jitter:0.5,{replaced}}}"],
    }


def results(options: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[Row]:
    """Train and score what is not done yet."""
    domains = [f"dataset.{role}={options.data / name}" for role, name in zip(("source", "target"), PAIR, strict=True)]
    for seed in range(SEEDS):
        for pixels, words in pixels_of(options).items():
            for statistics, strategy in STATISTICS.items():
                if (*PAIR, f"{pixels}, {statistics}", str(seed)) not in done:
                    budget = ["budget.batches=250", "budget.evaluate_every=250"]
                    folder = options.runs / pixels.replace(" ", "_") / str(seed)
                    trained([*SETTINGS, *budget, *domains, *words, f"seed={seed}"], folder)
                    row = scored(folder, [*SETTINGS, *domains, f"seed={seed}"], strategy)
                    yield {"pair": PAIR, "strategy": f"{pixels}, {statistics}", "seed": seed, **row}


def told(rows: Sequence[Row]) -> str:
    """Return the cells, the interaction, and what the target's styles add beyond other changes of the pixels.

    Several pairs are averaged first, so that intervals are over seeds alone.
    """
    cells: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        cells.setdefault(row["strategy"], {}).setdefault(row["seed"], []).append(row)

    def mean(name: str, domain: str) -> np.ndarray:
        return np.array([np.mean([row[domain] for row in found]) for _, found in sorted(cells[name].items())])

    lines = ["| pixels | statistics | seeds | target accuracy, % | source accuracy, % |", "|---|---|---|---|---|"]
    for name, found in cells.items():
        scores = [percent(mean(name, domain)) for domain in ("target", "source")]
        lines.append(f"| {name.replace(', ', ' | ')} | {len(found)} | {' | '.join(scores)} |")

    def target(pixels: str, statistics: str) -> np.ndarray:
        return mean(f"{pixels}, {statistics}", "target")

    plain, both = (target(AS_THEY_ARE, each) for each in STATISTICS), (target(STYLIZED, each) for each in STATISTICS)
    (none, adabn), (stylized, joined) = plain, both
    effects = {
        "AdaBN alone": adabn - none,
        "stylized pixels alone": stylized - none,
        "interaction, (both - stylized) - (AdaBN - none)": (joined - stylized) - (adabn - none),
        **{f"stylized minus {other}, source's statistics": stylized - target(other, "source") for other in PIXELS[2:]},
        **{f"stylized minus {other}, AdaBN": joined - target(other, "AdaBN") for other in PIXELS[2:]},
    }
    lines += ["", "| effect on target accuracy | points |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {percent(found, signed=True)} |" for name, found in effects.items())])


if __name__ == "__main__":
    command(
        __doc__,
        results,
        told,
        {"data": "the folders of digits", "stylizer": "an AdaIN run", "runs": "where the run folders go"},
    )
