"""What binds a run: settings and content that a continuation must share with it, wherever its files lie."""

from collections.abc import Iterator, Mapping
from typing import Any

from stylebench.run_folder import BINDING_KEYS


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping as dotted keys and values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def binding_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a resolved config that bind a run: `BINDING_KEYS` without what names a place.

    Places are the file of an encoder's weights, and what follows the key of a domain (`model.labels.domains`).
    """
    leaves = dict(flatten(config))
    bound = {key: leaves[key] for key in leaves if any(f"{key}.".startswith(f"{name}.") for name in BINDING_KEYS)}
    places = {
        key.removeprefix("dataset."): leaves[key] for key in leaves.keys() - bound.keys() if key[:8] == "dataset."
    }
    return {
        key: value
        for key, value in bound.items()
        if not key.endswith("encoder.weights")
        and not any(key.endswith(f".{place}") and value == at for place, at in places.items())
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return `old -> new` for every binding key whose value differs."""
    before, after = binding_part(old), binding_part(new)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return {key: f"{before.get(key, '(none)')} -> {after.get(key, '(none)')}" for key in keys}


def content_digests(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of each domain, and of weights that were read, by config key, from the facts of a record."""
    found = {f"dataset.{role}": str(domain["digest"]) for role, domain in (facts.get("data") or {}).items()}
    read = {"encoder.weights": facts.get("encoder"), "init": facts.get("init")}
    return {**found, **{key: str(about["digest"]) for key, about in read.items() if about}}


def changed_content(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Compare what a run was made from with what there is now.

    Args:
        before: the facts of its record: `data`, `encoder` and `init`.
        now: the same facts, found now.

    Returns:
        `digest ... -> ...` by config key where the content differs; empty if the run is bound to what there is now.
    """
    old, new = content_digests(before), content_digests(now)
    changed = {
        key: f"digest {old.get(key, '(none)')[:12]} -> {new.get(key, '(none)')[:12]}"
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
    }
    orders = [[key for key in digests if key.startswith("dataset.")] for digests in (old, new)]
    if not changed and orders[0] != orders[1]:
        changed["dataset"] = " -> ".join(", ".join(order) for order in orders)
    return changed
