"""Values of an evaluation as a text table."""

from collections.abc import Mapping
from typing import Any

from stylebench.run_folder import NOT_APPLICABLE


def table(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Return entries as a text table: dashboard key, which direction is better, value, interval, floor, record key.

    Below it stand what does not apply, and where images are too few for what was measured of them.
    """
    rows = [("metric", "better", "value", "95 % interval", "floor", "record key")]
    absent, notes = [], []
    for key, entry in record.items():
        if entry["shown"] == "record":
            continue
        if entry.get("status") == NOT_APPLICABLE:
            why = [part.partition(": ")[0] for part in entry["missing"]]  # what to do was said before
            told = [part if "not here" in part else f"needs {part}" for part in why]
            absent.append(f"  {entry['alias']}: {', '.join(told)}")
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
        notes += _few_images(entry)
    if all(not row[4] for row in rows[1:]):
        rows = [(*row[:4], row[5]) for row in rows]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join([*lines, *dict.fromkeys(notes), *(["not measured:", *absent] if absent else [])])


def _few_images(entry: Mapping[str, Any]) -> list[str]:
    """Say where a distance of sets rests on fewer images than the features have directions."""
    width, count = (entry.get("network") or {}).get("width"), min(entry.get("n_ref") or 0, entry["n_gen"])
    if entry["n_ref"] is None or width is None or count >= width:
        return []
    return [
        f"{count} images for the covariance of {width} features ({entry['alias']}): compare with the floor, and with "
        "sets of the same sizes alone"
    ]
