"""Texture models of different sizes, depths and networks, judged by the loss of the largest one.

    python -m experiments.gatys2015.textures --textures <textures> --output textures.jsonl
    python -m experiments.gatys2015.textures --output textures.jsonl --tables

Textures grow from noise; those of one picture and one seed start from the same noise.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.gatys2016.measures import style_distance
from experiments.gatys2016.pairs import Pair
from experiments.gatys2016.runs import Results, Row, by_pair, label, optimize, rounded, terms
from experiments.gatys2016.verdicts import Table, counted
from experiments.metrics.photos import read_squares, sample_files
from stylebench.data.images import IMAGE_SUFFIXES
from stylebench.statistics.intervals import t_interval

STUDY = "textures"
CHANNELS = {"1": 24, "2": 48, "3": 96, "4": 144}  # of the blocks of `compact`
FULL = tuple(
    f"{kind}{block}{place}" for block in CHANNELS for kind, place in (("relu", "_1"), ("relu", "_2"), ("pool", ""))
)
POOL = ("relu1_1", "pool1", "pool2", "pool3", "pool4")
COMPONENTS = (16, 4)  # 680 and 50 numbers: about the shares of the full model that the paper's two smallest have
RANDOM = "random-0"


def models() -> dict[str, tuple[str, ...]]:
    """Return the overrides of each model: by number of parameters, by depth, and with random weights."""
    found: dict[str, tuple[str, ...]] = {"full": (_layers(FULL),), "pool": (_layers(POOL),)}
    found |= {f"pca{count}": (_layers(POOL), f"model.style_loss.components={count}") for count in COMPONENTS}
    found |= {f"to {POOL[last]}": (_layers(POOL[: last + 1]),) for last in range(len(POOL) - 1)}
    return {**found, "random": (_layers(POOL), f"encoder.weights={RANDOM}")}


def parameters(layers: Sequence[str], components: int | None = None) -> int:
    """Return how many different numbers the Gram matrices of some layers of `compact` hold."""
    widths = [CHANNELS[layer.removeprefix("relu").removeprefix("pool")[0]] for layer in layers]
    kept = [width if components is None else min(width, components) for width in widths]
    return sum(width * (width + 1) // 2 for width in kept)


def textures(folder: Path, count: int, seeds: int, size_px: int) -> Iterator[Pair]:
    """Return textures, one of each of the first folders by name, for every seed."""
    folders = sorted(part for part in folder.iterdir() if part.is_dir() and _pictures(part))
    if len(folders) < count:
        raise ValueError(f"{folder} must hold {count} folders of pictures, found {len(folders)}; ask for fewer")
    for part in folders[:: max(1, len(folders) // count)][:count]:
        picture = read_squares(sample_files(part, 1, 0), size_px).float() / 255
        for seed in range(seeds):
            yield Pair(STUDY, seed, part.name, picture, picture)


def measured(pair: Pair, name: str, evaluations: int) -> dict[str, Any]:
    """Grow a texture and return the full model's loss and the judge's distance."""
    run = optimize(pair, models()[name], model="texture_synthesis", weight_tv=0.0, evaluations=evaluations)
    return rounded({
        "full": terms(run.image, None, pair.style, (_layers(FULL),))["style"],
        "judged": style_distance(run.image, pair.style), "left": run.total / run.curve[0],
    })  # fmt: skip


def tables(rows: Sequence[Row]) -> str:
    """Return the means of all models, and how often one is better than another."""
    sizes = {"full": parameters(FULL), "pool": parameters(POOL), "random": parameters(POOL)}
    sizes |= {f"pca{count}": parameters(POOL, count) for count in COMPONENTS}
    sizes |= {f"to {POOL[last]}": parameters(POOL[: last + 1]) for last in range(len(POOL) - 1)}
    means = Table("model", "numbers", "loss of the full model", "judged")
    for name in models():
        own = [row for row in rows if row["setting"] == name]
        if own:
            # A texture's seeds are not independent trials of a model: one mean per texture.
            full, judged = (
                [np.mean([r[key] for r in own if r["pair"] == p]) for p in _names(own)] for key in ("full", "judged")
            )
            means.add(name, f"{sizes[name]:,}", t_interval(full), t_interval(judged))
    found = [settings for _, settings in by_pair(rows, STUDY)]
    orders = Table("lower is better", "by the full model's loss", "by the judge")
    depths = [f"to {layer}" for layer in POOL[:-1]] + ["pool"]
    steps = [
        ("full", "pool"),
        *zip(("pool", "pca16"), ("pca16", "pca4"), strict=True),
        *zip(depths[1:], depths, strict=False),
        ("pool", "random"),
    ]
    for better, worse in steps:
        both = [s for s in found if better in s and worse in s]
        if both:
            orders.add(
                f"{better} below {worse}",
                *(counted([s[better][key] < s[worse][key] for s in both]) for key in ("full", "judged")),
            )
    ratios = {
        name: [s[name]["full"] / s[to]["full"] for s in found if name in s and to in s]
        for name, to in (("pool", "full"), ("random", "pool"))
    }
    lines = [f"median ratio of the full model's loss, {name}: {np.median(v):.3g}" for name, v in ratios.items() if v]
    return "\n\n".join([str(means), str(orders), *lines])


def _layers(layers: Sequence[str]) -> str:
    return f"encoder.style_layers=[{','.join(layers)}]"


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["pair"] for row in rows))


def _pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def main(arguments: Sequence[str] | None = None) -> None:
    """Grow textures, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--textures", type=Path, help="folder of folders of pictures")
    add("--count", type=int, default=6, help="textures, one a folder")
    add("--seeds", type=int, default=3)
    add("--size", type=int, default=64, help="pixels a side")
    add("--evaluations", type=int, default=150)
    add("--output", type=Path, required=True, help="file of results, JSON lines")
    add("--tables", action="store_true", help="print the tables of a file of results, grow nothing")
    options = parser.parse_args(arguments)
    if options.textures is None and not options.tables:
        parser.error("name a folder of textures: --textures <textures>")
    results = Results(options.output)
    if not options.tables:
        for pair in textures(options.textures, options.count, options.seeds, options.size):
            for name in models():
                row = label(STUDY, pair, name)
                if not results.has(row):
                    results.add(
                        {**row, "evaluations": options.evaluations, **measured(pair, name, options.evaluations)}
                    )
    print(tables(results.rows))  # noqa: T201


if __name__ == "__main__":
    main()
