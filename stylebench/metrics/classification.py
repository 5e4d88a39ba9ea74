"""What is recorded of predictions: values under record keys, and a table with a row an image."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stylebench.metrics.dev import FEWEST, density_ratios, weighted_risk
from stylebench.metrics.predictions import BINS, Predictions
from stylebench.metrics.records import Value
from stylebench.metrics.validators import label_free
from stylebench.statistics.intervals import wilson

DEV_IMAGES = 2000  # of the source's training, at most: what tells the domains apart learns from them
_FEWEST = 2  # images from which on there are figures without labels
_LARGER_IS_BETTER = {
    "accuracy": True, "balanced_accuracy": True, "calibration_error": False, "prior_shift": False, "entropy": False,
    "im": True, "snd": True, "bnm": True,
}  # fmt: skip


def prediction_values(found: Predictions, domain: str, prior: NDArray[np.float64], validators: bool) -> list[Value]:
    """Return the values of predictions; each says how many images it counts.

    Args:
        found: the predictions.
        domain: `source` or `target`.
        prior: (K,) shares of the classes among the source's training images.
        validators: whether to add the figures that need no labels.
    """
    labeled = {"accuracy": found.accuracy(), "balanced_accuracy": found.balanced_accuracy(),
               "calibration_error": found.calibration_error()}  # fmt: skip
    details: dict[str, dict[str, Any]] = {
        "accuracy": {"by_class": found.by_class(), "images": len(found.ids)},
        "calibration_error": {"bins": BINS},
    }
    right = round(labeled["accuracy"] * found.counted) if found.counted else 0
    interval = wilson(right, found.counted).bounds if found.counted else None
    values = [
        Value(
            name, value if found.counted else None, f"{name}/{domain}", n_gen=found.counted, variant=domain,
            interval=interval if name == "accuracy" else None,
            details={"larger_is_better": _LARGER_IS_BETTER[name], **details.get(name, {})},
            missing=() if found.counted else (f"labels of the {domain}",),
        )
        for name, value in labeled.items()
    ]  # fmt: skip
    details["prior_shift"] = {"shares": {"predicted": _named(found, found.histogram()), "source": _named(found, prior)}}
    free: dict[str, float] = {"prior_shift": found.prior_shift(prior)}
    if validators and len(found.ids) >= _FEWEST:
        free |= label_free(found.logits)
    return values + [
        Value(
            name, value, f"{name}/{domain}", n_gen=len(found.ids), variant=domain,
            details={"larger_is_better": _LARGER_IS_BETTER[name], **details.get(name, {})},
        )
        for name, value in free.items()
    ]  # fmt: skip


def dev_value(trained: Predictions, held: Predictions, target: Predictions) -> Value:
    """Return the loss on the target that labels of the source let expect; see `dev.py`.

    Args:
        trained: predictions of source images that the classifier learned from, with features.
        held: of held-out source images, with features.
        target: of target images, with features.
    """
    counts = {"source training images": len(trained.ids), "labeled source images": held.counted,
              "target images": len(target.ids)}  # fmt: skip
    missing = tuple(f"{FEWEST} {name}" for name, count in counts.items() if count < FEWEST)
    value = None
    if not missing:
        losses = F.cross_entropy(held.logits[held.known].double(), held.labels[held.known], reduction="none")
        parts = [trained, target, held]
        vectors = [cast(Tensor, each.features).double().numpy() for each in parts]
        vectors[-1] = vectors[-1][held.known.numpy()]
        value = weighted_risk(losses.numpy(), density_ratios(*vectors))
    details = {"larger_is_better": False, "source_images": held.counted}
    return Value("dev", value, "dev/target", n_gen=len(target.ids), variant="target", details=details, missing=missing)


def prediction_rows(parts: Sequence[tuple[str, Predictions]]) -> list[dict[str, Any]]:
    """Return a row an image over several domains: `<domain>/<id>`, then numbers.

    Args:
        parts: domains with their predictions.

    Returns:
        Rows with `index`, `content_id`, `style_id` (empty), the accuracy's record key with 1 where the prediction is
        right, else 0; `label` and `predicted`, numbers of classes; `probability` of what was predicted, and `entropy`
        in nats. What needs a label is left out where there is none.
    """
    rows: list[dict[str, Any]] = []
    for domain, found in parts:
        key = Value("accuracy", None, "", n_gen=found.counted, variant=domain).key
        shares = found.logits.double().softmax(1)
        entropies = torch.special.entr(shares).sum(1)
        for place, identity in enumerate(found.ids):
            guess, row = int(found.found[place]), {"index": len(rows), "content_id": f"{domain}/{identity}"}
            row |= {"style_id": "", "predicted": guess, "probability": float(shares[place, guess])}
            row["entropy"] = float(entropies[place])
            if bool(found.known[place]):
                label = int(found.labels[place])
                row |= {key: float(guess == label), "label": label}
            rows.append(row)
    return rows


def finite(values: Sequence[Value], stage: str) -> dict[str, float]:
    """Return values as columns of a training, by stage and dashboard key; those that are missing are left out."""
    return {
        f"{stage}/{value.alias}": value.value
        for value in values
        if value.value is not None and math.isfinite(value.value)
    }


def _named(found: Predictions, shares: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(share) for name, share in zip(found.classes, shares, strict=True)}
