"""Which statistics carry the style: permute the means or the deviations over the channels, and look at the picture.

    python -m experiments.adain2017.shuffled measure --run RUN --contents FOLDER --styles FOLDER [FOLDER ...]
        --learned FOLDER --output rows.jsonl [--count 12] [--permutations 3] [--size 128]
    python -m experiments.adain2017.shuffled tables --rows rows.jsonl

A trained AdaIN model paints every content with every style, with the statistics as they are (`none`) and changed:

| condition | statistics |
|---|---|
| `mean`, `std` | one of the two permuted over the channels |
| `joint`, `indep` | both, by one permutation or by two |
| `resample` | both of another of the styles |
| `mean_matched`, `std_matched` | the same; the one that moves the features more, shrunk until both move them alike |
| `mean_flipped`, `std_flipped` | the same, each channel's change with a random sign: as large, no permutation |

`measure` writes a JSON line for each picture, style and set of styles; `tables` makes the tables of the README of them.
`--learned` holds the paintings that the decoder was trained with: the law of its inputs.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

import stylebench
from experiments.adain2017.verdicts import tables
from experiments.gatys2016.measures import judge
from experiments.metrics.photos import read_squares, sample_files
from stylebench.functional.channel_statistics import ChannelStatistics, channel_statistics
from stylebench.functional.color import rgb_to_lab
from stylebench.functional.frechet import frechet_distance_of_features
from stylebench.inference.translators.adain import AdaINTranslator, Statistics
from stylebench.metrics.extractors.random_network import RandomMultiScale
from stylebench.metrics.feature_pairs import PerceptualMaps

logger = logging.getLogger(__name__)
Row = dict[str, Any]
TAPS = ("stem", "mix1", "mix3")  # of the judge
LEARNED = 512  # paintings that tell the law of the decoder's inputs


def changed(style: ChannelStatistics, other: ChannelStatistics, seed: int) -> dict[str, ChannelStatistics]:
    """Return the statistics of every condition.

    Args:
        style: (1, C) of a style.
        other: (1, C) of another style.
        seed: of the permutations and signs, the same for all styles.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = style.mean.shape[1]
    first, second = (torch.randperm(channels, generator=generator) for _ in range(2))
    signs = torch.randint(0, 2, (2, channels), generator=generator).mul(2).sub(1).to(style.mean)
    mean, std = style
    by_mean, by_std = mean[:, first] - mean, std[:, first] - std
    shrink_mean, shrink_std = matching_factors(float(by_mean.square().sum()), float(by_std.square().sum()))
    return {
        "mean": ChannelStatistics(mean[:, first], std),
        "std": ChannelStatistics(mean, std[:, first]),
        "joint": ChannelStatistics(mean[:, first], std[:, first]),
        "indep": ChannelStatistics(mean[:, first], std[:, second]),
        "resample": other,
        "mean_matched": ChannelStatistics(mean + shrink_mean * by_mean, std),
        "std_matched": ChannelStatistics(mean, std + shrink_std * by_std),
        "mean_flipped": ChannelStatistics(mean + signs[:1] * by_mean, std),
        "std_flipped": ChannelStatistics(mean, std + signs[1:] * by_std),
    }


def matching_factors(first: float, second: float) -> tuple[float, float]:
    """Return the factors, at most 1, by which two changes of given energies come to the smaller of them.

    Normalized features have mean 0 and variance 1, so that a change of the mean or of the deviation by d moves a
    position by d^2 on average: energies of both kinds compare.
    """
    least = min(first, second)
    return tuple((least / energy) ** 0.5 if energy > 0 else 1.0 for energy in (first, second))  # type: ignore[return-value]


@cache
def random_network() -> RandomMultiScale:
    """Return the random networks that compare pictures beside the judge."""
    return RandomMultiScale()


def judged_maps(images: Tensor) -> dict[str, dict[str, Tensor]]:
    """Return the maps of both networks that compare pictures; (B, 3, H, W) in [0, 1]."""
    return {"judge": judge()(images, TAPS), "rand_ms": random_network().maps(images)}


def perceptual(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor:
    """Return (B,) mean distances of the directions of features, over the layers."""
    metric = PerceptualMaps("compact_judge")
    return torch.stack([metric.compare(first[layer], second[layer]) for layer in first]).mean(0)


def delta_e(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean CIE 1976 color difference of (B, 3, H, W) pictures in [0, 1]; (B,)."""
    return (rgb_to_lab(first) - rgb_to_lab(second)).square().sum(1).sqrt().mean((1, 2))


def layout_distance(maps: Tensor, content: Tensor) -> Tensor:
    """Return 1 - cosine of features, each channel first brought to mean 0 and variance 1; (B, C, H, W) to (B,)."""
    flat = []
    for features in (maps, content):
        mean, std = channel_statistics(features)
        flat.append(((features - mean[..., None, None]) / std[..., None, None]).flatten(1))  # (B, C*H*W)
    return 1 - torch.cosine_similarity(flat[0], flat[1], dim=1)


class Study:
    """The pictures of a study, and what is measured of them.

    Args:
        model: the trained translator; it exchanges statistics.
        layers: taps whose statistics the style terms compare.
        contents: (N, 3, s, s) in [0, 1], s a multiple of the decoder's stride.
        styles: (K, 3, s, s) in [0, 1].

    Raises:
        ValueError: if the model does not exchange statistics.
    """

    def __init__(self, model: AdaINTranslator, layers: Sequence[str], contents: Tensor, styles: Tensor) -> None:
        if not isinstance(model.exchange, Statistics):
            raise ValueError("the study shuffles statistics, and this model exchanges none; train with transfer=adain")
        self.model, self.layers, self.contents = model, tuple(layers), contents
        self.maps = model.encoder(contents, (model.layer,))[model.layer]  # (N, C, h, w)
        self.seen = judged_maps(contents)
        found = model.encoder(styles, tuple(dict.fromkeys((*self.layers, model.layer))))
        self.statistics = {layer: channel_statistics(maps) for layer, maps in found.items()}

    def style(self, number: int, layer: str | None = None) -> ChannelStatistics:
        """Return the statistics of a style, (1, C), at the tap where they are exchanged or another."""
        chosen = self.statistics[layer or self.model.layer]
        return ChannelStatistics(*(part[number : number + 1] for part in chosen))

    def paint(self, statistics: ChannelStatistics) -> Tensor:
        """Return all contents with given statistics, (N, 3, s, s) in [0, 1]."""
        painted: Tensor = self.model.decoder(self.model.exchange.apply(self.maps, statistics, None))
        return painted.clamp(0.0, 1.0)

    def measure(self, images: Tensor, plain: Tensor, number: int) -> list[dict[str, float]]:
        """Compare the pictures of a condition with those of `none`, with their style and with their contents."""
        seen, seen_plain = judged_maps(images), judged_maps(plain)
        maps = self.model.encoder(images, tuple(self.statistics))
        columns = {f"pd_{name}": perceptual(seen[name], seen_plain[name]) for name in seen}
        columns["delta_e"] = delta_e(images, plain)
        for layer in self.layers:
            own, wanted = channel_statistics(maps[layer]), self.style(number, layer)
            for part, one, other in zip(("mean", "std"), own, wanted, strict=True):
                columns[f"style_{part}_{layer}"] = (one - other).square().mean(1)
        columns |= {f"content_pd_{name}": perceptual(seen[name], self.seen[name]) for name in seen}
        columns["layout"] = layout_distance(maps[self.model.layer], self.maps)
        return [{name: float(values[row]) for name, values in columns.items()} for row in range(len(images))]

    def rows(self, permutations: int) -> Iterator[Row]:
        """Yield a row for every picture, in the order of the styles, and one for every style."""
        count = len(self.statistics[self.model.layer].mean)
        for number in range(count):
            style = self.style(number)
            plain = self.paint(style)
            yield {"kind": "style", "style": number, "variance_mean": float(style.mean.var()),
                   "variance_std": float(style.std.var())}  # fmt: skip
            yield from self._of("none", number, 0, plain, plain)
            for seed in range(permutations):
                others = changed(style, self.style((number + 1 + seed) % count), seed)
                for condition, statistics in others.items():
                    yield from self._of(condition, number, seed, self.paint(statistics), plain)
            logger.info("style %d of %d", number + 1, count)

    def _of(self, condition: str, number: int, seed: int, images: Tensor, plain: Tensor) -> Iterator[Row]:
        for content, values in enumerate(self.measure(images, plain, number)):
            place = {"kind": "picture", "condition": condition, "style": number, "content": content, "seed": seed}
            yield place | values

    def laws(self, learned: Tensor, permutations: int) -> Iterator[Row]:
        """Yield how far the statistics of a condition are from those that the decoder learned with.

        Squared Frechet distance between per-picture vectors (means, deviations), the same number of them in every
        condition; `learned` itself gives as many other paintings of the training set.

        Args:
            learned: (M, 3, s, s) of the training set.
            permutations: as in `rows`.
        """
        tap, count = self.model.layer, len(self.statistics[self.model.layer].mean)
        batches = [
            torch.cat(channel_statistics(self.model.encoder(part, (tap,))[tap]), 1) for part in learned.split(64)
        ]
        known = torch.cat(batches)  # (M, 2C)
        held, law = known[:count], known[count:]
        yield {"kind": "law", "condition": "learned", "seed": 0, "distance": frechet_distance_of_features(held, law)}
        for seed in range(permutations):
            sets: dict[str, list[Tensor]] = {}
            for number in range(count):
                style = self.style(number)
                others = {"none": style, **changed(style, self.style((number + 1 + seed) % count), seed)}
                for condition, (mean, std) in others.items():
                    # The deviation of features that were multiplied by a negative number is positive.
                    sets.setdefault(condition, []).append(torch.cat((mean, std.abs()), 1))
            for condition, vectors in sets.items():
                distance = frechet_distance_of_features(torch.cat(vectors), law)
                yield {"kind": "law", "condition": condition, "seed": seed, "distance": distance}


def read_set(folders: Sequence[Path], count: int, size_px: int) -> tuple[list[str], Tensor]:
    """Return names and squares, (count, 3, s, s) in [0, 1], of as many pictures of each folder as there are in turn.

    Raises:
        ValueError: if the folders hold fewer pictures.
    """
    files = [file for folder in folders for file in sample_files(folder, count, 0)][:count]
    if len(files) < count:
        raise ValueError(f"expected {count} pictures, found {len(files)} in {', '.join(map(str, folders))}; add some")
    return [file.stem for file in files], read_squares(files, size_px).float() / 255


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    """Measure, and write the rows."""
    model = cast(AdaINTranslator, stylebench.load(options.run))
    layers = options.style_layers or model.encoder.style_layers
    content_names, contents = read_set([options.contents], options.count, options.size)
    style_names, styles = read_set(options.styles, options.count, options.size)
    study = Study(model, layers, contents, styles)
    _, learned = read_set([options.learned], options.count + LEARNED, options.size)
    head = {"kind": "setting", "encoder": model.encoder.name, "tap": model.layer, "channels": study.maps.shape[1],
            "contents": content_names, "styles": style_names, "size_px": options.size, "layers": list(layers),
            "permutations": options.permutations}  # fmt: skip
    with options.output.open("w") as file:
        for row in (head, *study.laws(learned, options.permutations)):
            file.write(json.dumps(row) + "\n")
        for row in study.rows(options.permutations):
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("measure", "tables"))
    parser.add_argument("--run", help="of a trained AdaIN model")
    parser.add_argument("--contents", type=Path, help="photographs")
    parser.add_argument("--styles", type=Path, nargs="+", help="folders of paintings, taken in this order")
    parser.add_argument("--learned", type=Path, help="a folder of paintings that the model was trained with")
    parser.add_argument("--style-layers", nargs="+", help="taps of the style terms; without it, the encoder's")
    parser.add_argument("--count", type=int, default=12, help="of contents, and of styles")
    parser.add_argument("--permutations", type=int, default=3)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in px")
    parser.add_argument("--output", type=Path, help="of measure: a file of JSON lines")
    parser.add_argument("--rows", type=Path, help="of tables: that file")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.case == "measure":
        run(options)
    else:
        logger.info(tables([json.loads(line) for line in options.rows.read_text().splitlines()]))


if __name__ == "__main__":
    main()
