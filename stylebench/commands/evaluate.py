"""Evaluation after training: a finished run, or anybody's folders of images; the values as a table."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylebench.build import (
    Config,
    build_evaluator,
    measured_plans,
    open_data,
    reference_cache,
)
from stylebench.checks import UsageError
from stylebench.commands.stylize.pictures import choose_device
from stylebench.data.images import write_png
from stylebench.data.plan import asked_for
from stylebench.files import write_json
from stylebench.inference.loading import load_translator, read_model
from stylebench.inference.translators.base import OptimizingTranslator, Translator, translate_as_asked
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.folders import ImageFolder
from stylebench.metrics.measuring import asking, measure_method, reference_sets, tell_missing
from stylebench.metrics.records import to_record
from stylebench.metrics.utilities import utilities
from stylebench.nn.encoders.base import record_name
from stylebench.run_folder import MANIFEST, NOT_APPLICABLE, RunFolder, dashboard, mean_dashboard
from stylebench.trusted import check_targets

log = logging.getLogger(__name__)
PAIRED = ("content", "style", "target")


@dataclass(frozen=True)
class Evaluated:
    """Values, and the files that hold them.

    Attributes:
        sets: entries by record key, for each name of what was evaluated: `test-ema`, and `test-ema-<a>-to-<b>`
            where a run has several domains to translate to; empty for folders of images.
        written: files and folders.
        named: whether the sets are told apart by the names of their plans.
    """

    sets: dict[str, dict[str, dict[str, Any]]]
    written: list[Path]
    named: bool = False

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        """The entries of all sets by record key, which is preceded by the set's name where a method has several."""
        return {
            f"{name}/{key}" if self.named else key: entry
            for name, entries in self.sets.items()
            for key, entry in entries.items()
        }

    @property
    def means(self) -> dict[str, float]:
        """The means over the sets, by dashboard key without its stage."""
        return mean_dashboard([dashboard(entries) for entries in self.sets.values()])


def evaluate(config: Config) -> Evaluated:
    """Evaluate a finished run, or folders of images.

    Args:
        config: the resolved config of the command.

    Returns:
        The values, and where they were written.

    Raises:
        UsageError: if it is not said what to evaluate.
        FileNotFoundError: if the run, a folder, or the weights of a required metric are missing.
        ValueError: if images do not fit each other, or a metric cannot take them.
    """
    if (config["run"] is None) == (config["generated"] is None):
        raise UsageError("name what to evaluate: run=<run folder>, or generated=<folder of images>, one of them")
    device = choose_device(config["device"])
    settings = config["metrics"]
    if config["run"] is None:
        if config["controls"]:
            raise UsageError(f"{', '.join(config['controls'])}: folders of images have no controls; name a run by run=")
        folders = open_folders(config)
        images = max(len(folders.generated), len(folders.reference or ()))
        evaluator = build_evaluator(settings, images=images)
        sets = {"": evaluate_folders(
            evaluator, folders, reference_cache(settings), size=settings["batch_size"], limit=settings["num_images"],
            device=device,
        )}  # fmt: skip
        evaluated = Evaluated(sets, [])
    else:
        evaluated = _evaluate_run(config, Path(config["run"]), device)
    if config["output"] is not None:
        write_json(Path(config["output"]), evaluated.record)
        evaluated.written.append(Path(config["output"]))
    return evaluated


def _evaluate_run(config: Config, folder: Path, device: torch.device) -> Evaluated:
    """Evaluate a run on its own data set, and keep the values in its folder."""
    model = read_model(folder, config["weights"])
    if not model.config:
        raise ValueError(f"{folder} does not say what it was trained on (an export?); name the run folder itself")
    check_targets(model.config)
    trained = {**model.config, "metrics": config["metrics"]}
    opened = open_data(trained)
    translator = load_translator(folder, config["weights"], device)
    if isinstance(translator, OptimizingTranslator):  # each image costs minutes: as many as the run itself took
        few = min(config["metrics"]["num_images"], model.config["metrics"]["num_images"])
        log.info("measuring %d images, as the run did: each is optimized again", few)
        trained = {**trained, "metrics": {**config["metrics"], "num_images": few}}
    _refuse_folders(config, translator)
    asked = config["controls"]
    translator.check_controls(**asked)
    plans = measured_plans(trained["metrics"], asked_for(opened.plans(config["split"]), asked))
    encoder = model.trained["record"].get("encoder")
    name = record_name(encoder["name"], encoder["digest"]) if encoder else None
    evaluator = build_evaluator(config["metrics"], name)
    tell_missing(evaluator)
    run = RunFolder(folder)
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    written: list[Path] = []
    for plan in plans:
        given = [f"{key}={value}" for key, value in asked.items() if key not in plan.request or not plan.name]
        set_name = "-".join(filter(None, (config["split"], model.weights, plan.name, *given)))
        controls = {**plan.request, **asked}
        facts = {"weights": model.weights, "split": config["split"], "batches": model.trained.get("batches")}
        facts |= {"controls": controls} if controls else {}
        writer = ImageWriter(run.set_folder(set_name)) if config["save_images"] else None
        values = measure_method(
            evaluator,
            plan,
            asking(partial(translate_as_asked, translator), **asked),
            cache=reference_cache(config["metrics"]),
            size=config["metrics"]["batch_size"],
            device=device,
            watch=writer,
        )
        rows = [{**row, "seed": model.config.get("seed")} for row in evaluator.table()]
        values += utilities(evaluator, config["metrics"]["axes"], plan, config["metrics"]["batch_size"], device)
        sets[set_name] = to_record(values, **facts)
        if folder.is_dir():  # a checkpoint alone has no folder to keep values in
            images = None if writer is None else writer.images
            written.append(run.write_evaluation(set_name, sets[set_name], rows, facts, images))
    evaluated = Evaluated(sets, written, any(plan.name for plan in plans))
    if folder.is_dir() and not asked:
        means = {f"{config['split']}/{key}": value for key, value in evaluated.means.items()}
        run.write_means(config["split"], model.weights, model.trained.get("batches"), means)
    return evaluated


def _refuse_folders(config: Config, translator: Translator) -> None:
    """Refuse folders of images beside a run, which is evaluated on its own data set."""
    if given := sorted(role for role in ("reference", *PAIRED) if config[role] is not None):
        names = [control.name for control in translator.controls]
        raise UsageError(
            f"{', '.join(given)}: these keys take folders, and only together with generated=<folder>; a run is "
            f"evaluated on its own data set, and this one's controls are: {', '.join(names) or 'none'}"
        )


@dataclass(frozen=True)
class Folders:
    """The image folders of an evaluation.

    Attributes:
        generated: what a method made.
        reference: what it should look like as a set, None for no set metrics.
        others: `content`, `style` and `target`, those that are given.
    """

    generated: ImageFolder
    reference: ImageFolder | None
    others: Mapping[str, ImageFolder]


def open_folders(config: Mapping[str, Any]) -> Folders:
    """Open the folders that the command names, and match those that go in pairs.

    Raises:
        UsageError: if there is nothing to compare with.
        FileNotFoundError: if a folder or its images are missing.
        ValueError: if an image has no partner.
    """
    if config["reference"] is None and all(config[role] is None for role in PAIRED):
        raise UsageError(
            "name what the images are compared with: reference=<folder> as a set, or content=, style=, target= pair by "
            "pair"
        )
    generated = ImageFolder(Path(config["generated"]), "generated")
    reference = None if config["reference"] is None else ImageFolder(Path(config["reference"]), "reference")
    others = {role: ImageFolder(Path(config[role]), role) for role in PAIRED if config[role] is not None}
    for folder in others.values():
        folder.partners(generated.ids)
    return Folders(generated, reference, others)


def evaluate_folders(
    evaluator: Evaluator, folders: Folders, cache: ReferenceCache, *, size: int, limit: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Evaluate folders of images.

    Args:
        evaluator: what to measure.
        folders: the images.
        cache: of the reference's features.
        size: images at a time.
        limit: generated images that are looked at, at most.
        device: for the networks.

    Returns:
        The record's entries, by record key.

    Raises:
        ValueError: if sizes do not fit.
    """
    tell_missing(evaluator)
    evaluator.check_required({*folders.others, *(["reference"] if folders.reference is not None else [])})
    evaluator.to(device).reset()
    generated = folders.generated
    partners = {role: folder.partners(generated.ids) for role, folder in folders.others.items()}
    if len(generated) > limit:
        log.info("measuring %d of %d generated images, by hash (metrics.num_images)", limit, len(generated))
    for images, numbers in generated.batches(size, limit):
        chosen = numbers.tolist()
        known: dict[str, Any] = {"content_id": [generated.ids[number] for number in chosen]}
        for role, folder in folders.others.items():
            known |= _partners(role, folder, [partners[role][number] for number in chosen], device)
            _check_sizes(role, folder, generated)
        evaluator.update(
            EvaluationBatch(
                image=images.to(device),
                index=numbers,
                **known,
            )
        )
    reference = _reference(evaluator, folders, cache, size)
    facts = {"source_codec": generated.codec()}
    if folders.reference is not None:
        facts["reference_codec"] = folders.reference.codec()
        if facts["reference_codec"] != facts["source_codec"]:
            log.warning(
                "generated images are %s, reference images %s: distances between sets see compression, too",
                facts["source_codec"], facts["reference_codec"],
            )  # fmt: skip
    return to_record(evaluator.compute(reference), **facts)


def _partners(role: str, folder: ImageFolder, places: list[int], device: torch.device) -> dict[str, Any]:
    """Return a role's pictures of some images, as fields of a batch, with their names."""
    if folder.single and role == "style":
        return {"style": folder.image(0)[None].to(device), "style_id": [folder.ids[0]] * len(places)}
    pictures: Tensor = torch.stack([folder.image(place) for place in places]).to(device)  # (B, 3, H, W)
    if role == "target":
        return {"target": pictures[:, None]}
    return {role: pictures, f"{role}_id": [folder.ids[place] for place in places]}


def _check_sizes(role: str, folder: ImageFolder, generated: ImageFolder) -> None:
    """Check that what is compared place by place has the generated images' size."""
    if role != "style" and folder.size != generated.size and folder.size and generated.size:
        (height, width), (own_height, own_width) = folder.size, generated.size
        raise ValueError(
            f"images of {role}={folder.path} are {width} x {height}, those of generated={generated.path} {own_width} x "
            f"{own_height} (width x height); they are compared place by place: resize one of the folders"
        )


def _reference(evaluator: Evaluator, folders: Folders, cache: ReferenceCache, size: int) -> dict[str, Any]:
    reference = folders.reference
    if reference is None or len(reference) < 2:
        return {}
    first = tuple(reference.image(0).shape[1:])
    own = [name for name in evaluator.set_extractors() if evaluator.extractors[name].size_px is None]
    if own and first != folders.generated.size:
        height, width = folders.generated.size or (0, 0)
        raise ValueError(
            f"generated images are {width} x {height}, reference images {first[1]} x {first[0]} (width x height), and "
            f"{', '.join(own)} look at images at their own size, where scale counts as style; resize one set first"
        )
    facts = {"data": reference.digest(), "codec": reference.codec()}
    return reference_sets(evaluator, cache, facts, lambda: reference.batches(size))


class ImageWriter:
    """Writes every batch's images as PNG by their index, and notes what they are; what a folder held before goes.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, dict[str, str | None]] = {}
        for old in (*folder.glob("[0-9]*.png"), folder / MANIFEST):
            old.unlink(missing_ok=True)

    def __call__(self, batch: EvaluationBatch) -> None:
        """Write a batch."""
        names: list[Sequence[str | None]] = [
            ids or [None] * len(batch.image) for ids in (batch.content_id, batch.style_id)
        ]
        for place, image, content, style in zip(batch.index.tolist(), batch.image.cpu(), *names, strict=True):
            self.images[f"{place:06d}.png"] = {"content": content, "style": style}
            write_png(image.permute(1, 2, 0).contiguous().numpy(), self.folder / f"{place:06d}.png")


def tables(evaluated: Evaluated) -> str:
    """Return all values as text: a table, or one with a heading for each set, and the means over them."""
    parts = [f"{name}\n{table(entries)}".lstrip() for name, entries in evaluated.sets.items()]
    if len(parts) == 1:
        return parts[0]
    found = evaluated.means
    width = max(map(len, found), default=0)
    means = "\n".join(f"{key.ljust(width)}  {value:.5g}" for key, value in found.items())
    return "\n\n".join([*parts, f"mean over {len(parts)}\n{means}"])


def table(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Return entries as a text table: dashboard key, value, interval, how it was made; then what does not apply."""
    rows = [("metric", "value", "95 % interval", "record key")]
    absent = []
    for key, entry in record.items():
        if entry["shown"] == "record":
            continue
        if entry.get("status") == NOT_APPLICABLE:
            why = [part.partition(": ")[0] for part in entry["missing"]]  # what to do was said before
            told = [part if "not here" in part else f"needs {part}" for part in why]
            absent.append(f"  {entry['alias']}: {', '.join(told)}")
            continue
        bounds = entry["interval"]
        interval = "" if bounds is None else f"{bounds[0]:.4g} .. {bounds[1]:.4g}"
        if entry.get("floor") is not None:
            interval = f"{interval} floor {entry['floor']:.4g}".strip()
        rows.append((entry["alias"], f"{entry['value']:.5g}", interval, key))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join(lines + (["not measured:", *absent] if absent else []))
