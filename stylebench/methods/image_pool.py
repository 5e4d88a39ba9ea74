"""A pool of earlier generated images, so that a discriminator does not forget what its generator left behind."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylebench.checks import check_whole


class ImagePool(nn.Module):
    """Return, for each new image, the image itself or one of earlier batches.

    While the pool has room a new image is stored and returned. Then, with probability 1/2, a random stored image is
    returned and the new one takes its place; else the new one is returned and the pool is left alone. In evaluation
    mode every image is returned as it is and the pool is left alone, so that validation can run a training step.

    Every choice is a function of (seed, name, process, number of images seen), and the images are a buffer, so a pool
    that was saved goes on exactly as it would have. Each process of a distributed run has a pool of its own (the
    effective pool is as many times larger); a checkpoint holds the first process's, which all of them resume with.

    Args:
        size: images it holds; 0 returns every image as it is.
        seed: of its choices.
        name: tells the pools of one method apart.

    Source: Shrivastava et al. 2017, sec. 2.3; junyanz/pytorch-CycleGAN-and-pix2pix, util/image_pool.py.
    """

    images: Tensor

    def __init__(self, size: int, seed: int = 0, name: int = 0) -> None:
        super().__init__()
        self.size, self.seed, self.name = check_whole("size", size, 0), seed, name
        self.seen = 0
        self.register_buffer("images", torch.zeros(0, 3, 1, 1))  # (size, 3, H, W) once the first image has come

    def __len__(self) -> int:
        return min(self.seen, self.size)

    @torch.no_grad()
    def forward(self, images: Tensor, rank: int = 0) -> Tensor:
        """Exchange a batch.

        Args:
            images: (B, 3, H, W), the same size in every call.
            rank: the process.

        Returns:
            (B, 3, H, W), detached.
        """
        images = images.detach()
        if not self.size or not self.training:
            return images
        if not len(self.images):
            self.images = images.new_zeros(self.size, *images.shape[1:])
        returned = []
        for image in images:  # in turn: a later image of the batch may meet an earlier one
            place, given = self._choose(rank)
            returned.append(image if not given else self.images[place].clone())
            if place is not None:
                self.images[place] = image
        return torch.stack(returned)

    def _choose(self, rank: int) -> tuple[int | None, bool]:
        """Return where the next image is stored, None for nowhere, and whether what was there is returned for it."""
        number, self.seen = self.seen, self.seen + 1
        if number < self.size:
            return number, False
        draws = np.random.Generator(np.random.Philox(key=[self.seed, rank], counter=[number, self.name, 0, 0]))
        swap, place = draws.random(2)
        return (int(place * self.size), True) if swap < 0.5 else (None, False)

    def get_extra_state(self) -> dict[str, int]:
        """Return how many images have come."""
        return {"seen": self.seen}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on after as many images."""
        self.seen = int(state["seen"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take a saved pool of whatever size of images."""
        saved = state_dict.get(f"{prefix}images")
        if saved is not None and saved.shape != self.images.shape:
            self.images = self.images.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
