"""Run the studies of style transfer by pixels, and print their tables.

    python -m experiments.gatys2016.claims --output claims.jsonl [--studies tradeoff depth ...]
        [--photos <photos>] [--contents <photos> --styles <paintings>]
    python -m experiments.gatys2016.claims --output claims.jsonl --tables

Results are written one by one; a second call goes on where the first stopped. Pairs of ProcStyle need no data,
FilterStyle needs --photos, real pairs need --contents and --styles.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from experiments.gatys2016 import measures
from experiments.gatys2016.pairs import GROUPS, REAL, Pair, Source, noise_picture
from experiments.gatys2016.runs import STYLE_WEIGHT, Results, Row, Run, label, optimize, rounded, terms
from experiments.gatys2016.verdicts import tables

RATIOS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of STYLE_WEIGHT: four decades
SHALLOW, DEEP = "relu2_2", "relu4_2"  # strides 2 and 8
RAW_WEIGHT = 50.0  # style weight without calibration: the factors that calibration gives the shallow tap, median
TAPS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_1")  # one a stride: 1, 2, 4, 8, 16
SCALES = (0.5, 1.0, 2.0)
RATES = (0.02, 0.1)  # of Adam: the default, and a larger one
NOISES = 4
Rows = Iterator[tuple[Row, Callable[[], dict[str, Any]]]]  # what names a result, and what computes it


def tradeoff(source: Source, evaluations: int) -> Rows:
    """Sweep the style weight over four decades around STYLE_WEIGHT (2016, section 3.1)."""
    for pair in source.all():
        for ratio in RATIOS:
            weight = ratio * STYLE_WEIGHT
            yield label("tradeoff", pair, f"{ratio:g}"), partial(transferred, pair, evaluations, weight)


def content_layer(source: Source, evaluations: int) -> Rows:
    """Match the content at a shallow or a deep tap, with calibrated and with raw weights (section 3.2).

    From the content: in 100 evaluations from noise so much of it stays that no tap keeps the pixels.
    """
    weight = STYLE_WEIGHT
    for pair in source.all():
        for word, tap in (("shallow", SHALLOW), ("deep", DEEP)):
            chosen = (f"encoder.content_layers=[{tap}]",)
            matched = partial(transferred, pair, evaluations, weight, chosen, init="content")
            yield label("content_layer", pair, f"{word} matched"), matched
            raw = (*chosen, "model.calibrate=false")
            if pair.group == REAL:
                yield (
                    label("content_layer", pair, f"{word} raw"),
                    partial(transferred, pair, evaluations, RAW_WEIGHT, raw, init="content"),
                )


def init(source: Source, evaluations: int) -> Rows:
    """Start from the content, from the style, and from four draws of noise (section 3.3)."""
    pairs = source.few()
    for pair, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True):
        yield label("init", pair, "all"), partial(_starts, pair, other.style, evaluations)


def _starts(pair: Pair, other: torch.Tensor, evaluations: int) -> dict[str, Any]:
    starts: list[dict[str, Any]] = [{"init": "content"}, {"init": "style"}, *({"seed": k} for k in range(NOISES))]
    controls: dict[str, Any] = {"weight_style": STYLE_WEIGHT, "evaluations": evaluations}
    runs = [optimize(pair, **{**controls, **start}) for start in starts]
    short = [optimize(pair, **{**controls, "evaluations": 10, "init": "content"}).image for _ in range(2)]
    noisy = [run.image for run in runs[2:]]
    restyled = optimize(replace(pair, style=other), **{**controls, "seed": 0}).image
    among: dict[str, float | None] = {}
    for name, distance in (("", measures.perceptual_distance), ("_statistics", measures.style_distance)):
        apart = [distance(a, b) for a, b in combinations(noisy, 2)]
        among[f"noise{name}"], among[f"styles{name}"] = sum(apart) / len(apart), distance(noisy[0], restyled)
    return {
        "totals": [float(f"{run.total:.6g}") for run in runs],
        "repeat": float((short[0] - short[1]).abs().max()),
        **rounded({
            **{f"among_{name}": value for name, value in among.items()},
            "content_to_noise": measures.perceptual_distance(runs[0].image, noisy[0]),
            "ssim_content_of_content": measures.ssim(runs[0].image, pair.content),
            "ssim_content_of_noise": measures.ssim(noisy[0], pair.content),
            "ssim_style_of_style": measures.ssim(runs[1].image, pair.style),
            "ssim_style_of_noise": measures.ssim(noisy[0], pair.style),
        }),
    }  # fmt: skip


def depth(source: Source, evaluations: int) -> Rows:
    """Reconstruct contents from one tap each, and with random weights (section 2.1, figure 1); style weight 0."""
    for pair in source.of_world("procstyle", [0]):
        for weights in ("shipped", "random-0"):
            for tap in TAPS:
                chosen = (f"encoder.content_layers=[{tap}]", f"encoder.weights={weights}")
                yield (
                    label("depth", pair, f"{tap} {weights}"),
                    partial(_reconstructed, pair, range(max(2, source.seeds)), evaluations, chosen),
                )


def _reconstructed(pair: Pair, seeds: Sequence[int], evaluations: int, chosen: Sequence[str]) -> dict[str, Any]:
    own = replace(pair, style=pair.content)  # the style weight is 0, but a style must be given
    runs = [optimize(own, chosen, weight_style=0.0, evaluations=evaluations, seed=seed) for seed in seeds]
    noises = [noise_picture(pair.content, seed) for seed in seeds]
    found: dict[str, Any] = {"left": [float(f"{run.total / run.curve[0]:.4g}") for run in runs]}
    for name, images in (("", [run.image for run in runs]), ("_noise", noises)):
        found[f"psnr{name}"] = [measures.decibels(image, pair.content) for image in images]
        found[f"edges{name}"] = [measures.edge_agreement(image, pair.content) for image in images]
        found[f"iou{name}"] = [measures.overlap(image, pair.regions) for image in images]
        # Grain that features leave free hides the colors of regions from pixels, not from their neighborhoods.
        blurred = [measures.smoothed(image) for image in images]
        found[f"iou_blurred{name}"] = [measures.overlap(image, pair.regions) for image in blurred]
    return {**found, "psnr_among": [measures.decibels(a.image, b.image) for a, b in combinations(runs, 2)]}


def optimizers(source: Source, evaluations: int) -> Rows:
    """Follow L-BFGS and Adam on the same objective, for twice the evaluations of the other studies."""
    for pair in source.few():
        for name in ("lbfgs", *(f"adam {rate:g}" for rate in RATES)):
            yield label("optimizers", pair, name), partial(_followed, pair, name, 2 * evaluations)


def _followed(pair: Pair, name: str, evaluations: int) -> dict[str, Any]:
    word, _, rate = name.partition(" ")
    chosen = [f"model/minimizer={word}", *([f"model.minimizer.lr={rate}"] if rate else [])]
    run = optimize(pair, chosen, weight_style=STYLE_WEIGHT, evaluations=evaluations)
    return {"curve": [float(f"{value:.5g}") for value in run.curve]}


def scale(source: Source, evaluations: int) -> Rows:
    """Resize the style picture first; from the content, for what stays of noise hides the size of strokes."""
    weight = STYLE_WEIGHT
    for pair in source.few():
        for factor in SCALES:
            found = partial(transferred, pair, evaluations, weight, init="content", style_scale=factor)
            yield label("scale", pair, f"{factor:g}"), found


def photos(source: Source, evaluations: int) -> Rows:
    """Take a photograph as the style of a photograph (section 3.4), from the content, with less weight on style."""
    chosen = source.of_pictures()[:: source.real + 1]
    for pair, other in zip(chosen, chosen[1:] + chosen[:1], strict=True):
        both = Pair(
            "real", 0, f"{pair.name.split(' x ')[0]} x {other.name.split(' x ')[0]}", pair.content, other.content
        )
        for name, ratio in (("default", 1.0), ("tenth", 0.1)):
            weight = ratio * STYLE_WEIGHT
            yield label("photos", both, name), partial(transferred, both, evaluations, weight, init="content")


def transferred(
    pair: Pair, evaluations: int, weight: float, overrides: Sequence[str] = (), **controls: Any
) -> dict[str, Any]:
    """Optimize a pair and measure the result, and what its content and its style have of the same."""
    run: Run = optimize(pair, overrides, weight_style=weight, evaluations=evaluations, **controls)
    image, content, style = run.image, pair.content, pair.style
    reached = terms(image, content, style)
    start = terms(content, None, style)
    return rounded({
        "content": reached["content"], "style": reached["style"], "style_of_content": start["style"],
        "total": run.total,
        "ssim": measures.ssim(image, content), "edges": measures.edge_agreement(image, content),
        "judged": measures.style_distance(image, style), "judged_of_content": measures.style_distance(content, style),
        "wavelength": measures.wavelength(image), "wavelength_of_content": measures.wavelength(content),
        "wavelength_of_style": measures.wavelength(style), "iou": measures.overlap(image, pair.regions),
    })  # fmt: skip


STUDIES: dict[str, Callable[[Source, int], Rows]] = {
    "tradeoff": tradeoff, "depth": depth, "content_layer": content_layer, "init": init, "optimizers": optimizers,
    "scale": scale, "photos": photos,
}  # fmt: skip


def run(studies: Sequence[str], source: Source, evaluations: int, results: Results) -> None:
    """Compute what a file of results lacks of some studies."""
    for study in studies:
        for row, compute in STUDIES[study](source, evaluations):
            if not results.has(row):
                results.add({**row, "evaluations": evaluations, "size_px": source.size_px, **compute()})


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where pairs come from, how long to optimize, and where results go."""
    add = parser.add_argument
    add("--photos", type=Path, help="folder of photographs, for FilterStyle")
    add("--contents", type=Path, help="folder of photographs, for real pairs")
    add("--styles", type=Path, help="folder of paintings, for real pairs")
    add("--size", type=int, default=64, help="pixels a side")
    add("--pairs", type=int, default=12, help="pairs of a world and seed")
    add("--seeds", type=int, default=3)
    add("--real", type=int, default=6, help="contents, and styles, of real pairs")
    add("--of-each", type=int, default=3, help="pairs a group where a study takes a few")
    add("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="which pairs")
    add("--evaluations", type=int, default=100)
    add("--output", type=Path, required=True, help="file of results, JSON lines")
    add("--tables", action="store_true", help="print the tables of a file of results, run nothing")


def source_of(options: argparse.Namespace) -> Source:
    """Return where pairs come from, as the options say."""
    return Source(
        options.photos, options.contents, options.styles, options.size, options.pairs, options.seeds, options.real,
        options.groups, options.of_each,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run studies, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    options = parser.parse_args(arguments)
    results = Results(options.output)
    if not options.tables:
        run(options.studies, source_of(options), options.evaluations, results)
    print(tables(results.rows))  # noqa: T201


if __name__ == "__main__":
    main()
