"""A classifier of a labeled source domain that is tested on another one; an adaptation strategy may see its images.

The loss is the cross entropy of the source plus the strategy's own terms: the papers stand with the strategies
(`stylebench/adaptation/`). Labels of the target are never seen in training.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.adaptation.adabn import shown_moments
from stylebench.checks import check_number, sides
from stylebench.data.tasks import AdaptationBatch, AdaptationTask, Task
from stylebench.functional.schedules import Schedule
from stylebench.inference.classifier import NetworkClassifier
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.prediction_grid import labeled_pictures
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import RUNNING, has_batch_norm
from stylebench.nn.seeded_dropout import seeded_dropout


class DomainClassifier(Method):
    """Train a classifier on a source domain, with an adaptation strategy for the target.

    Args:
        inference: holds the network and the strategy.
        classes: names of the classes, as the inference has them.
        optimizers: build the optimizer of the network, under its name, from groups of parameters.
        schedule: of the learning rate.
        weight_class: factor of the cross entropy.
        label_smoothing: part of a label that is spread over all classes, in [0, 1).

    Raises:
        ValueError: if a setting is out of its range.
    """

    task: ClassVar[type[Task]] = AdaptationTask
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.network",)
    completes: ClassVar[bool] = True
    model: NetworkClassifier  # type: ignore[assignment]

    def __init__(
        self,
        *,
        inference: NetworkClassifier,
        classes: Any,
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        weight_class: float,
        label_smoothing: float,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)  # type: ignore[arg-type]
        self.weights = {"class": weight_class, **inference.adaptation.weights}
        check_weights(self.weights)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0.0, 0.999)

    @property
    def encoder(self) -> nn.Module | None:
        """The frozen encoder whose features the network reads, if there is one: runs are bound to its weights."""
        return self.model.encoder

    @classmethod
    def completed(cls, node: Mapping[str, Any], task: Task) -> dict[str, Any]:
        """Return the `model` node with the names of the classes, which the source has.

        Raises:
            ValueError: if the node names other classes than the source has.
        """
        assert isinstance(task, AdaptationTask)
        given, there = node["classes"], list(task.classes)
        if given is not None and list(map(str, given)) != there:
            raise ValueError(f"model.classes={given}: the source has the classes {', '.join(there)}; leave it null")
        return {**node, "classes": there, "inference": {**node["inference"], "classes": there}}

    def prepare(self, task: Task) -> None:
        """Refuse a batch of one image whose maps have one position somewhere: batch norm would leave nothing of it.

        Raises:
            ValueError: if there is such a layer; the message names it.
        """
        if task.batch_size > 1 or not has_batch_norm(self.model.network):
            return
        device = next(self.model.network.parameters()).device
        images = torch.zeros(1, 3, *sides(task.crop.size_px), device=device)
        two = torch.cat([images, images])
        for layer, moments in shown_moments(self.model.network, [two], RUNNING).items():
            if moments.count == len(two):
                raise ValueError(
                    f"dataset.batch_size=1: layer {layer} is shown 1 position of each image, and batch norm leaves "
                    "nothing of a single entry; take 2 images or more, or a larger dataset.size_px"
                )

    def training_step(self, batch: AdaptationBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        strategy = self.model.adaptation
        target = batch.target if strategy.uses_target else None
        outputs = strategy.outputs(self.model.network, batch.source, target)
        loss = F.cross_entropy(outputs.source, batch.label, label_smoothing=self.label_smoothing)
        with seeded_dropout(strategy, self.draw_seeds(len(batch.source))):
            terms = strategy.terms(outputs, self.progress)
        return self.log_and_sum({"class": loss, **terms}, self.weights)

    @property
    def progress(self) -> float:
        """Share of the batches over which the strategy's terms change that is done, in [0, 1]."""
        length = self.model.adaptation.length
        return min(1.0, self.batches_done / length) if length else 0.0

    def validation_step(self, batch: AdaptationBatch, batch_idx: int) -> None:
        """Log the cross entropy of held-out source images, normalized as the source is."""
        logits = self.model.classify(batch.source, statistics=SOURCE)
        self.log_and_sum({"class": F.cross_entropy(logits, batch.label)}, self.weights, stage="val")

    def use(self, batch: AdaptationBatch, domain: str = SOURCE) -> None:
        """Classify the source's images, or the target's."""
        self.model.classify(batch.source if domain == SOURCE else batch.target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, with a learning rate of its own for what the strategy sets apart."""
        (build,) = self.build_optimizers.values()
        optimizer = build(self.model.adaptation.parameter_groups(self.model.network))
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_factor", 1.0)
        return optimizer

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and bring the strategy's parameters back into their range."""
        super().optimizer_step(*args, **kwargs)
        self.model.adaptation.after_step(self.model.network)

    def sample_rows(self, batch: AdaptationBatch) -> list[Tensor]:
        """Return source and target images, each with what it was taken for below."""
        classes = self.model.classes
        rows = []
        for images, labels, statistics in (
            (batch.source, batch.label, SOURCE),
            (batch.target, batch.target_label, self.model.own_statistics),
        ):
            found = self.model.classify(images, statistics=statistics).argmax(1).tolist()
            truth = [None] * len(found) if labels is None else labels.tolist()
            rows.append(labeled_pictures(images, [classes[each] for each in found],
                                         [None if each is None else classes[each] for each in truth]))  # fmt: skip
        return rows
