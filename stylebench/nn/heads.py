"""The ends of networks on images in [0, 1]: what enters the first convolution, and how its last output becomes RGB.

| head | enters | leaves |
|---|---|---|
| `tanh` | RGB, 0..1 | 0.5 + 0.6 tanh(z) |
| `paper` (Johnson et al. 2016) | RGB, 0..1 | (tanh(z) + 1) / 2 |
| `linear` (pytorch/examples) | RGB, 0..255 | z / 255 |

`tanh`, which reaches black and white at a finite input, and `linear` may leave [0, 1].
"""

from torch import Tensor

HEADS = ("linear", "tanh", "paper")


def enter(images: Tensor, head: str) -> Tensor:
    """Map (B, 3, H, W) images in [0, 1] to what the first convolution takes."""
    return images * 255.0 if head == "linear" else images


def leave(maps: Tensor, head: str) -> Tensor:
    """Map the last convolution's (B, 3, H, W) output to RGB."""
    if head == "tanh":
        return maps.tanh().mul(0.6).add(0.5)
    return maps.tanh().add(1.0).mul(0.5) if head == "paper" else maps / 255.0


def check_size(images: Tensor, minimum_px: int, network: str) -> None:
    """Refuse what a network that pads by reflection cannot take.

    Raises:
        ValueError: if the shape is not (B, 3, H, W), or a side is shorter than `minimum_px`.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images of shape (B, 3, H, W), got {tuple(images.shape)}")
    height, width = images.shape[-2:]
    if min(height, width) < minimum_px:
        raise ValueError(
            f"{network} needs images of at least {minimum_px} x {minimum_px} px (its reflection padding mirrors that "
            f"far), got {height} x {width}; enlarge the image"
        )
