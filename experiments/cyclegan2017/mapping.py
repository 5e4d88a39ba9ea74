"""Read off which source material a trained CycleGAN paints in which target material's color.

    python -m experiments.cyclegan2017.mapping --runs outputs/cyclegan/<time> [--output mapping.jsonl]

Scenes of the test split are translated; the median color of each material's region is matched with the six colors of
the target domain, one to one, so that the sum of squared distances in RGB is least (Hungarian method). Material k
should become material k. The unpaired losses cannot know that: any permutation that can be undone has the same
adversarial and cycle losses.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from stylebench.inference.loading import load, read_model
from stylebench.statistics.intervals import wilson
from stylebench.worlds.procstyle import MATERIALS
from stylebench.worlds.procstyle.world import ProcStyle

SCENES = 64
_LEAST_PX = 12  # of a material in a scene


def material_colors(images: Tensor, regions: Tensor) -> NDArray[np.float64]:
    """Return the median color of each material over all scenes that show enough of it.

    Args:
        images: (B, 3, H, W) in [0, 1].
        regions: (B, R, H, W) bool, the first `MATERIALS` of them those of objects.

    Returns:
        (MATERIALS, 3) RGB in [0, 1].
    """
    colors = []
    for material in range(MATERIALS):
        masks = regions[:, material]  # (B, H, W)
        seen = masks.sum((1, 2)) >= _LEAST_PX
        means = torch.stack(
            [image[:, mask].median(1).values for image, mask in zip(images[seen], masks[seen], strict=True)]
        )
        colors.append(means.double().median(0).values.numpy())  # (3,)
    return np.stack(colors)


def assignment(made: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[list[int], float]:
    """Match colors one to one.

    Args:
        made: (K, 3) colors of the source's materials after translation.
        wanted: (K, 3) colors of the target's materials.

    Returns:
        For each source material the target material, and the root mean square distance of the match divided by that
        of neighboring target colors: near 0 where the colors are met, 0.5 midway.
    """
    distances = ((made[:, None] - wanted[None]) ** 2).sum(2)  # (K, K)
    rows, columns = linear_sum_assignment(distances)
    between = ((wanted - np.roll(wanted, -1, axis=0)) ** 2).sum(1).mean()
    return [int(column) for column in columns], float(np.sqrt(distances[rows, columns].mean() / between))


def read_run(folder: Path) -> dict[str, Any]:
    """Return what a run learned, with its settings."""
    config = read_model(folder).config
    settings, store = config["dataset"], config["dataset"]["store"]
    world = ProcStyle(store["size_px"], store["train_images"], store["val_images"], store["test_images"], False, None)
    ids = [f"test-{number:05d}" for number in range(min(SCENES, store["test_images"]))]
    regions = world.anatomy(ids).regions
    source, target = (
        world.render(ids, settings[role], purpose="reference").float() / 255 for role in ("a", "b")
    )  # (B, 3, H, W) each
    translator = load(folder)
    with torch.no_grad():
        there = translator.translate(source, direction="a_to_b")
        back = translator.translate(there, direction="b_to_a")
    permutation, misfit = assignment(material_colors(there, regions), material_colors(target, regions))
    shifts = [(to - start) % MATERIALS for start, to in enumerate(permutation)]
    return {
        "run": str(folder),
        "seed": config["seed"],
        "weight_cycle": config["model"]["weight_cycle"],
        "weight_identity": config["model"]["weight_identity"],
        "permutation": permutation,
        "right": permutation == list(range(MATERIALS)),
        "rotation": shifts[0] if len(set(shifts)) == 1 else None,
        "misfit": round(misfit, 4),
        "cycle_error": round(float((back - source).abs().mean()) * 2, 5),
        "target_error": round(float((there - target).abs().mean()) * 2, 5),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the share of right assignments by setting, with Wilson's 95 % interval, as Markdown."""
    groups: dict[tuple[float, float], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[float(row["weight_cycle"]), float(row["weight_identity"])].append(row)
    lines = [
        "| cycle | identity | seeds | right | 95 % interval | rotation by 60 degrees back | another permutation "
        "| misfit | cycle error, right / wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (cycle, identity), found in sorted(groups.items()):
        right = [row for row in found if row["right"]]
        wrong = [row for row in found if not row["right"]]
        turned = sum(row["rotation"] == MATERIALS - 1 for row in found)
        interval = wilson(len(right), len(found))
        errors = " / ".join(
            f"{np.mean([row['cycle_error'] for row in part]):.3f}" if part else "-" for part in (right, wrong)
        )
        lines.append(
            f"| {cycle:g} | {identity:g} | {len(found)} | {len(right)} | {interval.low:.2f} .. {interval.high:.2f} "
            f"| {turned} | {len(wrong) - turned} | {np.mean([row['misfit'] for row in found]):.2f} | {errors} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read every run below a folder, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders with run folders in them")
    parser.add_argument("--output", type=Path, help="JSON lines, one a run")
    options = parser.parse_args()
    folders = sorted({path.parent for runs in options.runs for path in runs.rglob("record.json")})
    rows = [read_run(folder) for folder in folders]
    if options.output:
        options.output.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    print(table(rows))  # noqa: T201


if __name__ == "__main__":
    main()
