"""ArtFID: content and style distance in one number."""


def artfid(content_distance: float, style_distance: float) -> float:
    """Return (1 + content distance) (1 + style distance), 1 at best.

    Args:
        content_distance: mean LPIPS of results and contents, >= 0.
        style_distance: Frechet distance of results and styles, >= 0.

    Raises:
        ValueError: if a distance is negative.

    Source: Wright & Ommer 2022.
    """
    if min(content_distance, style_distance) < 0:
        raise ValueError(f"artfid expects distances >= 0, got {content_distance:g} and {style_distance:g}")
    return (1 + content_distance) * (1 + style_distance)
