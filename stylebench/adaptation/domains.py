"""The domains of the adaptation task as a protocol and a stylization would have them."""

from collections.abc import Mapping
from typing import Any

from stylebench.adaptation.stylized import stylized
from stylebench.checks import UsageError, check_choice
from stylebench.data.domain import Domain
from stylebench.data.splits import SPLITS, Layout
from stylebench.data.stores import Store

# split: adapt on the target's training images, score on others; transductive: adapt and score on all of them.
PROTOCOLS = ("split", "transductive")


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
    if source.digest == target.digest:
        raise ValueError(
            f"dataset.source and dataset.target are the same images ({source.path}), so there is nothing to adapt to; "
            "name another domain by dataset.target"
        )
    if protocol == "transductive":
        found["target"] = _whole(target)
    return stylized(found, store, settings, seed) if settings.get("stylize") else found


def _whole(domain: Domain) -> Domain:
    """Return a domain all of whose images are in each split."""
    everything = domain.split("all")
    return Domain(
        name=domain.name,
        path=domain.path,
        address=domain.address,
        ids=domain.ids,
        shapes=domain.shapes,
        pixels=domain.views,
        digest=domain.digest,
        layout=Layout({**dict.fromkeys(SPLITS, everything), "all": everything}, domain.classes, domain.labels),
        stored_px=domain.stored_px,
        skipped=domain.skipped,
        left_out=domain.left_out,
    )
