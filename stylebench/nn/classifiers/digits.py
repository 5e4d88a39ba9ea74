"""A small network for digits: four convolutions with batch norm, as fast as a CPU allows.

The layout is this project's own; published digit networks differ from one another, and none of their figures is its.
"""

from torch import Tensor, nn

from stylebench.checks import check_whole
from stylebench.functional.pixels import to_signed
from stylebench.nn.classifiers.base import ClassifierNetwork


class DigitNet(ClassifierNetwork):
    """Four convolutions of 3x3, each with batch norm and ReLU, then the mean over positions.

    The first two are pooled before they are normalized: the maximum of a window costs less than four norms.

    Args:
        classes: K.
        width: channels of the first convolution; the others have 1, 2 and 4 times as many.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        check_whole("width", width)
        self.width = 4 * width
        self.layers = nn.Sequential(
            *_stage(3, width, pool=2),
            *_stage(width, width, pool=2),
            *_stage(width, 2 * width),
            *_stage(2 * width, 4 * width),
        )
        self.head = nn.Linear(self.width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) images in [0, 1], of 4 px or more, to (B, 4 width)."""
        maps: Tensor = self.layers(to_signed(images))
        return maps.mean((2, 3))


def _stage(inputs: int, outputs: int, pool: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    pooled = [nn.MaxPool2d(pool)] if pool > 1 else []
    return [convolution, *pooled, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
