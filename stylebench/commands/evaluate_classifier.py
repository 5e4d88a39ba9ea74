"""Evaluation of a classifier run: its predictions on held-out images of source and target."""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylebench.adaptation.adabn import FEW_IMAGES, shown_moments
from stylebench.adaptation.scoring import calibrated, domain_predictions, shown, source_prior
from stylebench.checks import UsageError, check_whole
from stylebench.data.central_crops import CentralCrops
from stylebench.data.images import write_png
from stylebench.data.opened import Opened
from stylebench.data.tasks import AdaptationTask
from stylebench.files import atomic_write, csv_text
from stylebench.functional.moments import domain_distance
from stylebench.inference.classifier import Classifier, NetworkClassifier
from stylebench.metrics.charts import bar_chart
from stylebench.metrics.classification import prediction_rows, prediction_values
from stylebench.metrics.predictions import PRIOR_SHIFT
from stylebench.metrics.records import Value
from stylebench.nn.domain_norms import SOURCE, TARGET
from stylebench.nn.normalization import has_batch_norm, statistics_of

DISTANCES = "domain_distance"  # name of the chart and of the table

log = logging.getLogger(__name__)


class ClassifierEvaluation:
    """A trained classifier on the data of its run, or on others with the same classes.

    Args:
        model: the classifier, with the statistics that its run kept.
        opened: the data.
        split: of both domains, what is scored.
        statistics: what normalizes the target; None for the strategy's own.
        most: images of each domain, at most.

    Raises:
        UsageError: if the model or its data are none that predictions are scored on.
        ValueError: if the data have other classes than the model, or no image is to be scored.
    """

    def __init__(self, model: Classifier, opened: Opened, split: str, statistics: str | None, most: int) -> None:
        if not isinstance(model, NetworkClassifier) or not isinstance(opened.task, AdaptationTask):
            raise UsageError(
                f"a {type(model).__name__} on data of the {opened.task.name} task cannot be scored; predictions are "
                "scored on the adaptation task, which model=classifier trains on"
            )
        if list(model.classes) != list(opened.task.classes):
            raise ValueError(
                f"the model has the classes {', '.join(model.classes)}, and dataset.source has "
                f"{', '.join(opened.task.classes)}; name a source and a target with the model's classes"
            )
        self.model, self.task, self.split = model, opened.task, split
        self.most = check_whole("metrics.num_images", most)
        self.statistics = model.own_statistics if statistics is None else str(statistics)

    def prepare(self, fresh: bool, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Have the strategy take what statistics it still needs, and return the facts of the evaluation.

        Args:
            fresh: whether the data are others than those of the training: then the run's own statistics do not count.
            recorded: what the run's record says of its calibration, by domain.
        """
        calibration = dict[str, dict[str, Any]]()
        for domain in (SOURCE, TARGET) * self.model.adaptation.rounds(self.model):
            if fresh or domain not in self.model.domains:
                report = calibrated(self.model, self.task, domain)
                calibration |= {domain: report.record()} if report else {}
            elif domain in recorded:
                calibration[domain] = recorded[domain]
        strategy = self.model.adaptation
        about: dict[str, Any] = {"strategy": strategy.name, "statistics": self.statistics, "selection": "last"}
        about |= {"batch_size": strategy.batch_size}
        about["calibration"] = {
            domain: {key: each[key] for key in ("images", "propagate")} for domain, each in calibration.items()
        }
        return {"adaptation": about, "classes": list(self.model.classes)}

    def measure(self, folder: Path) -> tuple[list[Value], list[dict[str, Any]]]:
        """Return the values of both domains, and a row an image.

        Args:
            folder: of the evaluation, for the table and the chart of the layers' distances.
        """
        prior, values, parts = source_prior(self.task), list[Value](), []
        both, dev = domain_predictions(self.model, self.task, self.split, self.statistics, self.most)
        for domain, found in both.items():
            values += prediction_values(found, domain, prior, validators=domain == TARGET)
            parts.append((domain, found))
            if domain == TARGET and (shift := found.prior_shift(prior)) > PRIOR_SHIFT:
                log.warning("the target's predicted classes lie %.2f nats from the source's shares", shift)
        distance = self.distance()
        if distance.value is not None and os.access(folder, os.W_OK):
            write_distances(folder, distance.details["layers_source"], distance.details["layers"])
        return [*values, dev, distance], prediction_rows(parts)

    def distance(self) -> Value:
        """Return how far the target lies from the source in what batch norms are shown: mean over layers, and each.

        The target goes through the network as it is tested; `layers_source` has the same by the source's statistics.
        """
        images = shown(self.model, self.task, TARGET, self.split, self.most)
        name, count = "domain_distance", len(images.indices)
        here = {"batch norm": has_batch_norm(self.model.network), f"{FEW_IMAGES} target images": count >= FEW_IMAGES}
        value, details = None, dict[str, Any](larger_is_better=False)
        if all(here.values()):
            before, after = (self._distances(images, each) for each in (SOURCE, self.statistics))
            details |= {"layers": after, "layers_source": before}
            value = math.fsum(after.values()) / len(after)
        return Value(
            name, value, f"{name}/{TARGET}", n_gen=count, variant=TARGET, details=details,
            missing=tuple(what for what, there in here.items() if not there),
        )  # fmt: skip

    def _distances(self, images: CentralCrops, statistics: str) -> dict[str, float]:
        source = statistics_of(self.model.network, SOURCE)
        moments = shown_moments(self.model.network, images, statistics)
        return {layer: domain_distance(source[layer], each.statistics()) for layer, each in moments.items()}


def write_distances(folder: Path, before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """Write how far each layer's domains lie from each other, as a table and as a chart.

    Args:
        folder: for `domain_distance.csv` and `domain_distance.png`.
        before: by layer, with the source's statistics.
        after: by layer, as the target is tested.
    """
    names = ("by the source's statistics", "as tested")
    layers = {layer: dict(zip(names, (before[layer], after[layer]), strict=True)) for layer in after}
    rows = [{"layer": layer, "source_statistics": before[layer], "as_tested": after[layer]} for layer in after]
    with atomic_write(folder / f"{DISTANCES}.csv") as file:
        file.write(csv_text(rows, ("layer",)).encode())
    write_png(bar_chart("how far the target lies from the source in what each batch norm is shown", layers),
              folder / f"{DISTANCES}.png")  # fmt: skip
