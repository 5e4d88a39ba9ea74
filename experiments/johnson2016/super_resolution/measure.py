"""Measure a super-resolution run on whole pictures it never saw, beside bicubic enlargement.

    python -m experiments.johnson2016.super_resolution.measure --run outputs/super_resolution/... --photos Set14/
                                                               [--weights ema] [--grid grid.png]

Each picture is cut to a multiple of the factor and degraded as in the run's training, then rounded to the 256 levels of
a file. Results are rounded too. Prints means over the pictures: PSNR and SSIM of luma without a border of the factor's
width, and the distance of unit-length features of `compact_judge`, which trains nothing (smaller is better).
"""

import argparse
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from experiments.johnson2016.super_resolution.bicubic import luma_scores, read_picture
from stylebench.data.degradation import Degradation
from stylebench.data.listing import list_pictures
from stylebench.functional.bicubic import crop_to_multiple, enlarge
from stylebench.functional.geometry import center_crop
from stylebench.functional.pixels import quantize
from stylebench.inference.loading import load
from stylebench.metrics.batch import EvaluationBatch, Views
from stylebench.metrics.extractors import EncoderFeatures
from stylebench.metrics.feature_pairs import PerceptualMaps
from stylebench.nn.encoders import JudgeEncoder
from stylebench.training.callbacks.sample_grid import sample_grid, save_png

JUDGE_LAYERS = ("mix1", "mix2", "mix3")  # as the report's perceptual distance


def main() -> None:
    """Print the table of means."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--tile", type=int, default=160)
    options = parser.parse_args()
    config = OmegaConf.to_container(OmegaConf.load(options.run / "config.yaml"))
    degradation = Degradation.of(config["dataset"]["degradation"])
    translator = load(options.run, weights=options.weights)
    judge = EncoderFeatures(JudgeEncoder("shipped", ["mix2"], list(JUDGE_LAYERS), "mix5"), layers=JUDGE_LAYERS)
    scores: dict[str, list[tuple[float, float, float]]] = {}
    shown = []
    for path in list_pictures(options.photos).pictures.values():
        whole = crop_to_multiple(read_picture(path), degradation.factor)
        small = quantize(degradation(whole.float() / 255)).float() / 255
        made = {
            "bicubic": quantize(enlarge(small, degradation.factor)),
            "network": quantize(translator.translate(small, match="none")),
            "network, histogram matched": quantize(translator.translate(small, match="histogram")),
        }
        for name, image in made.items():
            pair = (*luma_scores(image, whole, degradation.factor), judged(image, whole, judge))
            scores.setdefault(name, []).append(pair)
        shown.append([center_crop(image, [options.tile] * 2) for image in (*made.values(), whole)])
    print(f"{options.photos.name}, {len(shown)} pictures, x{degradation.factor}, weights {options.weights}")  # noqa: T201
    print("| | PSNR-Y | SSIM-Y | judge |\n|---|---|---|---|")  # noqa: T201
    for name, rows in scores.items():
        means = [sum(values) / len(values) for values in zip(*rows, strict=True)]
        print(f"| {name} | {means[0]:.2f} | {means[1]:.4f} | {means[2]:.4f} |")  # noqa: T201
    if options.grid:
        save_png(sample_grid([torch.cat(column).float() / 255 for column in zip(*shown, strict=True)]), options.grid)


def judged(image: Tensor, target: Tensor, judge: EncoderFeatures) -> float:
    """Return the perceptual distance of (1, 3, H, W) uint8 pictures."""
    views = Views(EvaluationBatch(image, torch.zeros(1, dtype=torch.int64), target=target[:, None]), {"judge": judge})
    return float(PerceptualMaps("judge", JUDGE_LAYERS, against="target").rows(views)[""])


if __name__ == "__main__":
    main()
