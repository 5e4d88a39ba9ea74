"""Calibration: the statistics of a domain for the batch norms of a trained model, kept beside its weights (AdaBN)."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from stylebench.adaptation.adabn import FEWEST_IMAGES, recalibrate
from stylebench.adaptation.reports import CalibrationReport
from stylebench.build import Config, build
from stylebench.checks import UsageError, check_optional_whole, check_size, check_whole, size_text
from stylebench.commands.stylize.pictures import choose_device
from stylebench.data.augmentation import CropSettings
from stylebench.data.central_crops import CentralCrops
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.splits import SPLITS, Indices
from stylebench.data.streams import mixed
from stylebench.inference.classifier import Classifier
from stylebench.inference.loading import TrainedModel, read_model
from stylebench.inference.statistics import weights_digest, write_statistics
from stylebench.inference.translators.base import Translator
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import MODES, batch_norms
from stylebench.run_folder import RunFolder
from stylebench.trusted import check_targets

log = logging.getLogger(__name__)
_SIZE_PX = 256  # of a model that does not say at which size it was trained
_STORED_PX = 512  # shorter side that larger images of a folder are packed at
_LARGEST_PX = 200_000_000


@dataclass(frozen=True)
class Calibrated:
    """What was done.

    Attributes:
        file: the statistics.
        name: what they are called.
        domain: what they were taken of.
        report: how they were taken.
    """

    file: Path
    name: str
    domain: Domain
    report: CalibrationReport

    def table(self) -> str:
        """Return the layers as lines: how far the domain lies from the source, and channels that are constant."""
        width = max(len(name) for name in self.report.layers)
        lines = [f"{'layer':<{width}}  {'distance':>9}  {'dead':>5}"]
        lines += [f"{name:<{width}}  {each.distance:9.3f}  {each.dead:5d}" for name, each in self.report.layers.items()]
        return "\n".join(lines)


def calibrate(config: Config) -> Calibrated:
    """Take the statistics of a domain for a trained model, and keep them beside its weights.

    Args:
        config: the resolved config of the command.

    Raises:
        FileNotFoundError: if there is no such run or domain.
        UsageError: if the domain is not known, or a name has a meaning of its own.
        ValueError: if the model has no batch norm, needs other pictures, or the domain has too few images.
    """
    folder, device = Path(config["run"]), choose_device(config["device"])
    check_whole("batch_size", config["batch_size"], FEWEST_IMAGES)
    if folder.is_file():
        raise UsageError(f"run={folder} is a file; statistics lie beside a model in its folder: name the run folder")
    trained = read_model(folder, config["weights"])
    model = trained.build().to(device)
    batch_norms(model)
    domain = open_domain(config["domain"], trained)
    name = config["name"] or domain.name
    if name in (SOURCE, *MODES):
        raise UsageError(f"statistics cannot be called {name}, which has a meaning of its own; choose another by name=")
    check_optional_whole("max_images", config["max_images"], FEWEST_IMAGES)
    crop, indices = crops(config, trained), _chosen(domain, config["split"], config["max_images"])
    log.info("%d images of %s, %s px", len(indices), domain.path, size_text(crop.size_px))
    batches = CentralCrops(domain, indices, crop, config["batch_size"])
    report = recalibrate(
        model, batches, propagate=config["propagate"], layers=config["layers"], unbiased=config["unbiased"],
        prior_images=config["prior_images"], forward=as_at_work,
    )  # fmt: skip
    facts = {"data": domain.digest, "path": domain.path, "split": config["split"], "size_px": crop.size_px}
    with RunFolder(folder).held():
        file = write_statistics(
            folder, name, weights_digest(trained.state), report.statistics, {**facts, **report.record()}
        )
    return Calibrated(file, name, domain, report)


def as_at_work(model: nn.Module, images: Any) -> None:
    """Run a model on images in [0, 1] as it is used, its batch norms on the statistics of their buffers.

    Raises:
        ValueError: if it needs other pictures beside them.
    """
    assert isinstance(model, Classifier | Translator)
    if others := [picture.name for picture in model.inputs if picture.required and picture.name != "content"]:
        raise ValueError(
            f"{type(model).__name__} is shown a {others[0]} beside each image, so a domain of images alone has no "
            "statistics in it"
        )
    with model.on_current_statistics():
        model.classify(images) if isinstance(model, Classifier) else model.translate(images)


def open_domain(value: Any, trained: TrainedModel) -> Domain:
    """Open a domain: a folder, or what the data set that a model was trained on calls so.

    Args:
        value: as it was typed.
        trained: the model.

    Raises:
        FileNotFoundError: if there are no images.
        UsageError: if it is neither.
        TrustError: if the run names a class of data sets that is not listed.
    """
    path = Path(str(value)).expanduser()
    settings = trained.config.get("dataset") or {}
    if path.exists() and not isinstance(settings.get(str(value)), str):
        return Folders(None, _STORED_PX, _LARGEST_PX, "stop", 0.0, 0.0).open(path)
    if not settings:
        raise UsageError(f"domain={value}: there is no such folder, and an export names no data set; name a folder")
    check_targets(trained.config)
    store = build(settings["store"], "dataset.store")
    known = settings.get("domains")
    named = known.get(value) if isinstance(known, dict) else None
    try:
        own = settings[str(value)] if isinstance(settings.get(str(value)), str) else named or str(value)
        domain: Domain = store.open(own)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(f"domain={value} is no folder, and no domain of the run's data set: {error}") from error
    return domain


def _chosen(domain: Domain, split: str, most: int | None) -> Indices:
    """Return a split's images in hash order, at most so many.

    Raises:
        ValueError: if the split has too few images.
    """
    indices = mixed(domain, domain.split(split))[:most]
    if len(indices) < FEWEST_IMAGES:
        counts = ", ".join(f"{len(domain.split(each))} {each}" for each in (*SPLITS, "all"))
        raise ValueError(
            f"statistics of a domain need at least {FEWEST_IMAGES} images, and split={split} of {domain.path} has "
            f"{len(indices)} ({counts}); choose another split, or a domain with more"
        )
    return indices


def crops(config: Config, trained: TrainedModel) -> CropSettings:
    """Return how crops are cut: at the given size, else as in the evaluations of the training."""
    if config["size_px"] is not None:
        return CropSettings(check_size("size_px", config["size_px"]), None, False)
    settings = trained.config.get("dataset") or {}
    return CropSettings(settings.get("size_px") or _SIZE_PX, settings.get("resize_px"), False)
