"""Columns of tables: which values may stand below one another."""

from collections.abc import Sequence


def one_column(keys: Sequence[str]) -> str:
    """Check that values may stand in one column of a table: their record keys must be the same.

    Args:
        keys: record keys, counts included.

    Returns:
        The key.

    Raises:
        ValueError: if they differ: distances in different feature spaces, or from different numbers of images.
    """
    different = sorted(set(keys))
    if len(different) != 1:
        raise ValueError(
            f"one column of a table takes one record key, got {', '.join(different) or 'none'}; evaluate all runs with "
            "the same extractor, resize protocol and number of images"
        )
    return different[0]
