"""Color statistics of one image given to others: the least that can be called style transfer."""

from torch import Tensor


def match_color_statistics(images: Tensor, style: Tensor) -> Tensor:
    """Shift and scale each channel so that its mean and standard deviation become those of a style image.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        style: (1, 3, h, w) or (B, 3, h, w) RGB in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1], clamped; a channel without any contrast takes the style's mean.

    Raises:
        ValueError: if a shape is another one.

    Source: Reinhard et al. 2001, "Color Transfer between Images", here in RGB.
    """
    if images.ndim != 4 or style.ndim != 4 or images.shape[1] != style.shape[1]:
        raise ValueError(
            f"match_color_statistics expects (B, C, H, W) images and styles of equal C, got {tuple(images.shape)} and "
            f"{tuple(style.shape)}"
        )
    dims = (2, 3)
    mean, spread = images.mean(dims, keepdim=True), images.std(dims, keepdim=True, unbiased=False)
    wanted, wanted_spread = style.mean(dims, keepdim=True), style.std(dims, keepdim=True, unbiased=False)
    return ((images - mean) * (wanted_spread / spread.clamp_min(1e-6)) + wanted).clamp(0, 1)
