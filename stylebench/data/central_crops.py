"""Central crops of a domain's images as batches: what statistics are taken of, and what is scored."""

import itertools
from collections.abc import Iterator

from torch import Tensor

from stylebench.data.augmentation import CropSettings, finish_images
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices
from stylebench.data.streams import central, cut


class CentralCrops:
    """Every image once, in a given order; may be read any number of times.

    Args:
        domain: where the images are.
        indices: (N,) which of them, in this order.
        crop: how large the crops are.
        batch_size: images at a time; a single one that is left over joins the batch before it, as an image alone has no
            statistics of a batch.
    """

    def __init__(self, domain: Domain, indices: Indices, crop: CropSettings, batch_size: int) -> None:
        self.domain, self.indices, self.crop, self.batch_size = domain, indices, crop, batch_size

    def __iter__(self) -> Iterator[Tensor]:
        """Yield (B, 3, H, W) float32 images in [0, 1]."""
        count = len(self.indices)
        starts = list(range(0, count, self.batch_size))
        if count > 1 and count - starts[-1] == 1:
            del starts[-1]
        for start, end in itertools.pairwise([*starts, count]):
            chosen = self.indices[start:end]
            yield finish_images(cut(self.domain, chosen, central(len(chosen)), self.crop), self.crop.size_px)
