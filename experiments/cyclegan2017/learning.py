"""Measure translations of one rendered domain into another against the exact answers, all by one protocol.

    python -m experiments.cyclegan2017.learning --a photo --b oil_noise --size 64 [--ceiling ceiling.pt]
        --runs outputs/learning/cyclegan outputs/learning/pix2pix ... --output learning.jsonl [--picture learning.png]
    python -m experiments.cyclegan2017.learning --tables learning.jsonl

A run is measured at each checkpoint that it kept; its cost is counted operations (`flops_per_batch` of its record times
batches). Beside them: another draw of the exact answer, the content as it is, the content with the target domain's
colors, and the ceiling.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.build import build, build_evaluator, measured_plans, open_data, reference_cache
from stylebench.cli.config import compose
from stylebench.data.contact_sheet import labeled_rows
from stylebench.data.images import write_png
from stylebench.data.plan import Piece, asked_for
from stylebench.data.world import TRUTH_DRAWS
from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.pixels import from_signed, luma, quantize, to_signed
from stylebench.inference.loading import load, read_model
from stylebench.inference.translators.base import Translator
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.measuring import measure_method
from stylebench.metrics.records import to_record
from stylebench.run_folder import dashboard

METRICS = ("strength", "fd", "kd", "content", "masks", "psnr", "sharpness")
_SHOWN = 8
Translate = Callable[[Piece], Tensor]


class Bench:
    """Contents, references and metrics of one pair of domains.

    Args:
        a: the domain of the contents.
        b: the domain to go to.
        size_px: side of the pictures.
        images: of the test split.
        scenes: of them that are compared with exact answers.
    """

    def __init__(self, a: str, b: str, size_px: int, images: int, scenes: int) -> None:
        config = compose(
            "train",
            ["model=cyclegan", "dataset=procstyle", f"dataset.a={a}", f"dataset.b={b}", "metrics=track",
             f"dataset.store.size_px={size_px}", f"metrics.num_images={images}", f"metrics.scenes={scenes}"],
        )  # fmt: skip
        self.config = config
        plans = asked_for(open_data(config).plans("test"), {})
        (self.plan,) = measured_plans(config["metrics"], plans)
        self.evaluator = build_evaluator(config["metrics"])

    def measure(self, translate: Translate) -> dict[str, float]:
        """Return a translation's figures by name."""
        slopes: list[tuple[float, float]] = []

        def watch(batch: EvaluationBatch) -> None:
            if batch.target is not None:
                slopes.append((mean_slope(batch.image), mean_slope(batch.target.flatten(0, 1))))

        values = measure_method(
            self.evaluator, self.plan, translate, cache=reference_cache(self.config["metrics"]), size=16,
            device=torch.device("cpu"), watch=watch,
        )  # fmt: skip
        found = dashboard(to_record(values), "test")
        figures = {key.removeprefix("test/").removesuffix("_compact_judge"): value for key, value in found.items()}
        figures["sharpness"] = sum(own for own, _ in slopes) / sum(wanted for _, wanted in slopes)
        return {key: round(value, 4) for key, value in figures.items()}

    def first(self) -> Piece:
        """Return the first contents, and the exact answers to it."""
        return next(self.plan.pieces(_SHOWN, 0, 1, torch.device("cpu")))


def mean_slope(images: Tensor) -> float:
    """Return the mean absolute difference of brightness between neighbors of (B, 3, H, W) uint8 pictures."""
    y = luma(images)
    return float((y.diff(dim=-1).abs().mean() + y.diff(dim=-2).abs().mean()) / 2)


def toward(translator: Translator, b: str) -> Translate:
    """Return how to translate contents to domain b with whatever controls a translator has."""
    names = {control.name for control in translator.controls}
    controls = {"target": b} if "target" in names else {}
    return lambda piece: translator.translate(piece.images, **controls)


def trivial(bench: Bench) -> Iterator[tuple[str, Translate]]:
    """Yield the exact answer, and those that need no learning."""
    reference = next(iter(bench.plan.reference_batches(64)))[0].float() / 255  # (64, 3, H, W)
    side_by_side = torch.cat(list(reference), 2)[None]  # (1, 3, H, 64 W): one picture with the colors of the domain
    yield "another exact answer", exact(bench)
    yield "content as it is", lambda piece: piece.images
    yield "colors matched", lambda piece: match_color_statistics(piece.images, side_by_side)


def exact(bench: Bench) -> Translate:
    """Return the answer by another draw of what the style leaves open."""
    answers = bench.plan.world
    assert answers is not None

    def translate(piece: Piece) -> Tensor:
        ids = piece.known["content_id"]
        return answers.world.render(ids, answers.styles(ids), draw=TRUTH_DRAWS).float() / 255

    return translate


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints that a run kept, oldest first; `<run>_kept` may hold more of them."""
    kept = [*run.parent.glob(f"{run.name}_kept/*.ckpt"), *run.glob("checkpoints/*.ckpt")]
    return sorted({path.name: path for path in kept}.values(), key=lambda path: path.name)


def measured_runs(bench: Bench, runs: Sequence[Path], b: str) -> Iterator[dict[str, Any]]:
    """Yield a row for every checkpoint of every run."""
    for run in runs:
        record = json.loads((run / "record.json").read_text(encoding="utf-8"))
        for path in checkpoints(run):
            batches = int(read_model(path).trained["batches"])
            row = {"name": run.name, "batches": batches, "tflops": record["flops_per_batch"] * batches / 1e12}
            translator = load(path)
            yield {**row, **bench.measure(toward(translator, b)), **cycle_error(translator, bench)}


def cycle_error(translator: Translator, bench: Bench) -> dict[str, float]:
    """Return the mean absolute error of the way there and back in [-1, 1], where there is a way back."""
    if not any(control.name == "direction" for control in translator.controls):
        return {}
    images = bench.first().images
    back = translator.translate(translator.translate(images, direction="a_to_b"), direction="b_to_a")
    return {"cycle_error": round(2 * float((back - images).abs().mean()), 5)}


def ceiling(path: Path, run: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the generator that was trained on exact pairs, and its cost."""
    saved = torch.load(path, weights_only=True)  # noqa: TID251 (written by our own ceiling.py)
    generator: nn.Module = build(read_model(run).config["model"]["inference"]["generator_ab"])
    generator.load_state_dict(saved["generator"])
    return generator.eval(), saved["cost"]


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of all rows."""
    lines = ["| | batches | TFLOP | " + " | ".join(METRICS) + " | cycle error |", "|---" * (len(METRICS) + 4) + "|"]
    for row in rows:
        cells = [f"{row[metric]:.3g}" if metric in row else "-" for metric in METRICS]
        cost = [str(row.get("batches", "-")), f"{row['tflops']:.0f}" if "tflops" in row else "-"]
        lines.append(f"| {row['name']} | {' | '.join([*cost, *cells])} | {row.get('cycle_error', '-')} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print, or print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--a", default="photo")
    parser.add_argument("--b", default="oil_noise")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--ceiling", type=Path, help="weights of ceiling.py, made from the first run")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--tables", type=Path)
    options = parser.parse_args()
    if options.tables:
        print(tables([json.loads(line) for line in options.tables.read_text().splitlines()]))  # noqa: T201
        return
    bench = Bench(options.a, options.b, options.size, options.images, options.scenes)
    shown: dict[str, Translate] = dict(trivial(bench))
    rows: list[dict[str, Any]] = [{"name": name, **bench.measure(translate)} for name, translate in shown.items()]
    if options.ceiling:
        generator, cost = ceiling(options.ceiling, options.runs[0])
        shown["ceiling"] = lambda piece: from_signed(generator(to_signed(piece.images))).clamp(0, 1)
        cost = {"batches": cost["batches"], "tflops": cost["flops"] / 1e12}
        rows.append({"name": "ceiling", **cost, **bench.measure(shown["ceiling"])})
    rows += measured_runs(bench, options.runs, options.b)
    shown |= {run.name: toward(load(run), options.b) for run in options.runs}
    if options.output:
        options.output.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    if options.picture:
        piece = bench.first()
        pictures = {name: quantize(translate(piece)) for name, translate in shown.items()}
        write_png(labeled_rows({k: list(v.permute(0, 2, 3, 1).numpy()) for k, v in pictures.items()}), options.picture)
    print(tables(rows))  # noqa: T201


if __name__ == "__main__":
    main()
