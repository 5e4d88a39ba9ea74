"""The domains of the adaptation task as a protocol and a stylization would have them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylebench.adaptation.stylized import stylized
from stylebench.checks import UsageError, check_choice
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices, Layout, unit_hash
from stylebench.data.stores import Store

# split: adapt on the target's training images, score on others, as the data set divides them; transductive: adapt and
# score on all of them; holdout: adapt on 80 % of all of them, score on the others.
PROTOCOLS = ("split", "transductive", "holdout")
HELD_OUT = 0.2


def adapted_domains(
    domains: Mapping[str, Domain], store: Store, settings: Mapping[str, Any], seed: int
) -> dict[str, Domain]:
    """Return the domains that training and scoring read.

    Args:
        domains: by role, as they were opened.
        store: opens the domain of styles.
        settings: the config under `dataset`: `protocol` and `stylize`.
        seed: of the run.

    Raises:
        UsageError: if a setting is of the adaptation task, and the task is another.
        ValueError: if the source is the target, or a setting is wrong.
    """
    found = dict(domains)
    adaptation = set(domains) == {"source", "target"}
    protocol = check_choice("dataset.protocol", settings.get("protocol", PROTOCOLS[0]), PROTOCOLS)
    if not adaptation:
        if protocol != PROTOCOLS[0] or settings.get("stylize"):
            raise UsageError("dataset.protocol and dataset.stylize are of the adaptation task; leave them as they are")
        return found
    source, target = domains["source"], domains["target"]
    if source.digest == target.digest or source.address == target.address:
        raise ValueError(
            f"dataset.source and dataset.target are the same domain ({source.address}), so there is nothing to adapt "
            "to; name another domain by dataset.target"
        )
    if protocol == "transductive":
        found["target"] = _divided(target, target.split("all"), target.split("all"))
    if protocol == "holdout":
        found["target"] = _divided(target, *_held_out(target))
    return stylized(found, store, settings, seed) if settings.get("stylize") else found


def _held_out(domain: Domain) -> tuple[Indices, Indices]:
    """Return the ascending positions of a domain's first 80 % in hash order, and of the others; at least one each."""
    order = np.argsort([unit_hash(identity) for identity in domain.ids], kind="stable")
    kept = len(order) - max(1, round(HELD_OUT * len(order)))
    return np.sort(order[:kept]), np.sort(order[kept:])


def _divided(domain: Domain, train: Indices, others: Indices) -> Domain:
    """Return a domain with other training images, and others that are both val and test."""
    splits = {"train": train, "val": others, "test": others, "all": domain.split("all")}
    return Domain(
        name=domain.name,
        path=domain.path,
        address=domain.address,
        ids=domain.ids,
        shapes=domain.shapes,
        pixels=domain.views,
        digest=domain.digest,
        layout=Layout(splits, domain.classes, domain.labels),
        stored_px=domain.stored_px,
        skipped=domain.skipped,
        left_out=domain.left_out,
    )
