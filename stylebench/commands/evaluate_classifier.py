"""Evaluation of a classifier run: its predictions on held-out images of source and target."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from stylebench.adaptation.adabn import FEW_IMAGES, recalibrate
from stylebench.adaptation.scoring import calibrated, predictions, shown, source_prior
from stylebench.checks import UsageError, check_whole
from stylebench.data.opened import Opened
from stylebench.data.tasks import AdaptationTask
from stylebench.inference.classifier import Classifier, NetworkClassifier
from stylebench.metrics.classification import prediction_rows, prediction_values
from stylebench.metrics.predictions import PRIOR_SHIFT
from stylebench.metrics.records import Value
from stylebench.nn.domain_norms import SOURCE, TARGET
from stylebench.nn.normalization import has_batch_norm

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

    def measure(self) -> tuple[list[Value], list[dict[str, Any]]]:
        """Return the values of both domains, and a row an image."""
        prior, values, parts = source_prior(self.task), list[Value](), []
        for domain, statistics in ((SOURCE, SOURCE), (TARGET, self.statistics)):
            found = predictions(self.model, self.task, domain, self.split, statistics, self.most)
            values += prediction_values(found, domain, prior, validators=domain == TARGET)
            parts.append((domain, found))
            if domain == TARGET and (shift := found.prior_shift(prior)) > PRIOR_SHIFT:
                log.warning("the target's predicted classes lie %.2f nats from the source's shares", shift)
        return [*values, self.distance()], prediction_rows(parts)

    def distance(self) -> Value:
        """Return how far the target lies from the source in the batch norms' inputs: mean over layers, and each."""
        images = shown(self.model, self.task, TARGET, self.split, self.most)
        name, count = "domain_distance", len(images.indices)
        here = {"batch norm": has_batch_norm(self.model.network), f"{FEW_IMAGES} target images": count >= FEW_IMAGES}
        value, details = None, dict[str, Any](larger_is_better=False)
        if all(here.values()):
            layers = recalibrate(self.model.network, images).layers
            details |= {"layers": {layer: report.distance for layer, report in layers.items()}, "propagate": "batch"}
            value = math.fsum(details["layers"].values()) / len(layers)
        return Value(
            name, value, f"{name}/{TARGET}", n_gen=count, variant=TARGET, details=details,
            missing=tuple(what for what, there in here.items() if not there),
        )  # fmt: skip
