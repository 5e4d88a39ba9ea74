"""Values of an evaluation as text."""

from collections.abc import Mapping
from typing import Any

from stylebench.metrics.sets import FrechetDistance
from stylebench.run_folder import NOT_APPLICABLE

Entries = Mapping[str, Mapping[str, Any]]


def tables(sets: Mapping[str, Entries], means: Mapping[str, float]) -> str:
    """Return all values as text: a table of each set under its name, their means, and once what was not measured.

    Args:
        sets: entries by record key, for each name of what was evaluated.
        means: over the sets, by dashboard key; shown where there are several.
    """
    parts = [f"{name}\n{table(entries)}".lstrip() for name, entries in sets.items()]
    if len(sets) > 1:
        width = max(map(len, means), default=0)
        found = "\n".join(f"{key.ljust(width)}  {value:.5g}" for key, value in means.items())
        parts.append(f"mean over {len(sets)}\n{found}")
    absent = "\n".join(_not_measured(sets))
    return "\n\n".join(parts) + (f"\nnot measured:\n{absent}" if absent else "")


def table(record: Entries) -> str:
    """Return entries as a text table: dashboard key, which direction is better, value, interval, floor, record key.

    Below it stands where images are too few for what was measured of them.
    """
    rows = [("metric", "better", "value", "95 % interval", "floor", "record key")]
    notes = []
    for key, entry in record.items():
        if entry["shown"] == "record" or _is_absent(entry):
            continue
        bounds, floor, larger = entry["interval"], entry.get("floor"), entry.get("larger_is_better")
        rows.append(
            (
                entry["alias"],
                "" if larger is None else "higher" if larger else "lower",
                f"{entry['value']:.5g}",
                "" if bounds is None else f"{bounds[0]:.4g} .. {bounds[1]:.4g}",
                "" if floor is None else f"{floor:.4g}",
                key,
            )
        )
        notes += _few_images(key, entry)
    if all(not row[4] for row in rows[1:]):
        rows = [(*row[:4], row[5]) for row in rows]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join([*lines, *dict.fromkeys(notes)])


def _is_absent(entry: Mapping[str, Any]) -> bool:
    return entry.get("status") == NOT_APPLICABLE


def _not_measured(sets: Mapping[str, Entries]) -> list[str]:
    """Return a line for each reason: the metrics that it keeps from being measured, and what is missing.

    A metric that some sets have and others have not stands with the names of those.
    """
    lacking: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name, entries in sets.items():
        for entry in entries.values():
            if _is_absent(entry) and entry["shown"] != "record":
                lacking.setdefault(tuple(entry["missing"]), {}).setdefault(entry["alias"], []).append(name)
    lines = []
    for missing, metrics in lacking.items():
        named = [
            alias if len(where) == len(sets) else f"{alias} ({', '.join(where)})" for alias, where in metrics.items()
        ]
        inputs = " and ".join(part for part in missing if "not here" not in part)
        told = [f"{'needs' if len(named) == 1 else 'need'} {inputs}"] if inputs else []
        told += [part for part in missing if "not here" in part]
        lines.append(f"  {', '.join(named)}: {', '.join(told)}")
    return lines


def _few_images(key: str, entry: Mapping[str, Any]) -> list[str]:
    """Say where a Frechet distance rests on fewer images than the features have directions."""
    width, count = (entry.get("network") or {}).get("width"), min(entry["n_ref"] or 0, entry["n_gen"])
    if key.partition("/")[0] not in (FrechetDistance.stem, FrechetDistance.word) or width is None or count >= width:
        return []
    return [
        f"{count} images for the covariance of {width} features ({entry['alias']}): compare with the floor, and with "
        "sets of the same sizes alone"
    ]
