"""What all encoders share: named taps, one pass to the deepest, frozen weights outside every checkpoint."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from stylebench.checks import check_choice
from stylebench.nn.encoders.normalization import (
    Group,
    calibration_name,
    fold_means,
    load_means,
    measure_means,
    save_means,
)
from stylebench.nn.encoders.stages import Stage
from stylebench.nn.encoders.weights import (
    Shipped,
    Source,
    load_metadata,
    load_state,
    random_seed,
    random_state,
    resolve_weights,
    state_digest,
)

_log = logging.getLogger(__name__)

PROFILES = {  # RGB mean and standard deviation that an input in [0, 1] is normalized with
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's ImageNet networks
    "caffe_features": ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),  # torchvision's IMAGENET1K_FEATURES
}


def record_name(name: str, digest: str) -> str:
    """Return an encoder's name in records, which ends in the first 8 digits of its weights' digest."""
    end = f"-{digest[:8]}"
    return name.removesuffix(end) + end


class Encoder(nn.Module):
    """A frozen feature network with named taps.

    It always stays in eval mode, has no parameters and an empty state dict (its weights are non-persistent buffers,
    recorded by digest), and passes gradients to its input.

    Args:
        name: of the architecture and its geometry, for records.
        stages: the network by tap name, shallow to deep.
        profile: key of `PROFILES`.
        content_layers: taps that content losses compare.
        style_layers: taps that style losses compare.
        exchange_layer: tap at which statistics are exchanged.

    Attributes:
        judges_only: whether it may only score what others trained; a method refuses it then.
        taps: all tap names, shallow to deep.
        channels: channels by tap.
        strides: input pixels between two neighboring positions, by tap.
        digest: SHA-256 of the weight file, or of the tensors where there is none.

    Raises:
        ValueError: on an unknown profile or tap.
    """

    judges_only: ClassVar[bool] = False
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        stages: dict[str, Stage],
        profile: str,
        content_layers: Iterable[str],
        style_layers: Iterable[str],
        exchange_layer: str,
    ) -> None:
        super().__init__()
        self.name, self.profile = name, profile
        self.stages = nn.ModuleDict(stages)
        self.taps = tuple(stages)
        self.channels = {tap: stage.channels for tap, stage in stages.items()}
        self.strides: dict[str, int] = {}
        stride = 1
        for tap, stage in stages.items():
            stride *= stage.stride
            self.strides[tap] = stride
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        self.exchange_layer = exchange_layer
        self._check_layers((*self.content_layers, *self.style_layers, exchange_layer))
        check_choice("profile", profile, PROFILES)
        for key, values in zip(("mean", "std"), PROFILES[profile], strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.weights, self.digest = "", ""  # set by `_load`
        self._claims: Mapping[str, str] = {}  # what the file of weights says of itself, set by `_load`
        self.calibration: str | None = None  # set by `_normalize`
        self._minimum = self._minimum_sizes()
        self.eval()

    def groups(self) -> list[Group]:
        """List which convolutions make each rectified map and which read it, for the normalization."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return what identifies the encoder in a run's record, as plain values."""
        return {
            "name": self.name,
            "weights": self.weights,
            "digest": self.digest,
            "profile": self.profile,
            "normalized": self.calibration is not None,
            "calibration": self.calibration,
            "content_layers": list(self.content_layers),
            "style_layers": list(self.style_layers),
            "exchange_layer": self.exchange_layer,
        }

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever a parent module asks for."""
        return super().train(False)

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the activations at `layers` in one pass that stops at the deepest.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; every size from `minimum_px` on.
            layers: names out of `taps`, in any order.

        Returns:
            (B, C, H', W') activations by layer, in the order asked for.

        Raises:
            ValueError: on an unknown layer, another shape, or images too small for a layer.
        """
        self._check_layers(layers)
        self._check_images(images, layers)
        missing, found = set(layers), {}
        x, overwrite = images, False
        if missing:
            x = (images - self.mean) / self.std
        for tap, stage in self.stages.items():
            if not missing:
                break
            x = stage(x, overwrite)
            overwrite = tap not in missing
            if not overwrite:
                found[tap] = x
                missing.discard(tap)
        return {layer: found[layer] for layer in layers}

    def minimum_px(self, layer: str) -> int:
        """Return the smallest image side, in pixels, for which `layer` has a value."""
        return self._minimum[layer]

    def size_out(self, side: int, layer: str) -> int:
        """Return the side of the map at `layer` for an image's side in pixels, 0 where the image is too small."""
        return self._side_after(side, self.taps.index(layer) + 1)

    def reach_px(self, layer: str) -> int:
        """Return how many pixels beside its own place a position of `layer` sees, at most."""
        total, stride = 0, 1
        for tap, stage in zip(self.taps, self._stages(), strict=True):
            total += stage.reach * stride
            stride *= stage.stride
            if tap == layer:
                break
        return total

    @property
    def tileable(self) -> bool:
        """Whether tiles that start at multiples of the strides have the positions of the whole picture."""
        return all(stage.aligned for stage in self._stages())

    def _minimum_sizes(self) -> dict[str, int]:
        """Search the smallest side for every tap; sides only grow with depth, so the search goes on where it was."""
        sizes, side = {}, 1
        for depth, tap in enumerate(self.taps, start=1):
            while not self._side_after(side, depth):
                side += 1
            sizes[tap] = side
        return sizes

    def _side_after(self, side: int, depth: int) -> int:
        for stage in self._stages()[:depth]:
            side = stage.size_out(side) if side else 0
        return side

    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages.values() if isinstance(stage, Stage)]

    def _check_layers(self, layers: Iterable[str]) -> None:
        for layer in layers:
            if layer not in self.channels:
                raise ValueError(f"{self.name} has no layer {layer!r}; choose from {', '.join(self.taps)}")

    def _check_images(self, images: Tensor, layers: Sequence[str]) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"{self.name} expects (B, 3, H, W) floating RGB images in [0, 1], got {images.dtype} of shape "
                f"{tuple(images.shape)}"
            )
        for layer in layers:
            if min(images.shape[2:]) < self.minimum_px(layer):
                raise ValueError(
                    f"{self.name} needs images of at least {self.minimum_px(layer)} px a side for {layer}, got "
                    f"{images.shape[2]} x {images.shape[3]}; use larger images or a shallower layer"
                )

    def _load(self, weights: str, known: Mapping[str, Source | Shipped]) -> None:
        """Fill the convolutions from a named, given or (only if asked for by name) random state."""
        convs = {name: conv for stage in self._stages() for name, conv in stage.convs().items()}
        shapes: dict[str, tuple[int, ...]] = {}
        for name, conv in convs.items():
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = tuple(conv.weight.shape), tuple(conv.bias.shape)
        seed = random_seed(weights)
        if seed is not None:
            state = random_state(shapes, seed)
            self.digest = state_digest(state)
        else:
            file = resolve_weights(weights, known)
            state, self.digest = load_state(file.path, shapes, self.name), file.digest
            self._claims = load_metadata(file.path)
        for name, conv in convs.items():
            conv.weight.copy_(state[f"{name}.weight"])
            conv.bias.copy_(state[f"{name}.bias"])
        self.weights = weights

    def _normalize(self, wanted: bool, calibration: Tensor | None) -> None:
        """Scale every rectified channel to mean activation 1 if wanted, by means from the cache or measured now.

        Weights whose file says that they are this encoder's, scaled on the same pictures, stay as they are.

        Args:
            wanted: the `normalize` option.
            calibration: (N, 3, H, W) uint8 pictures to measure on, or None for the built-in ones.

        Raises:
            ValueError: if pictures are given for nothing.
        """
        if not wanted:
            if calibration is not None:
                raise ValueError(
                    "calibration needs an encoder with normalize=true; leave the pictures out for a raw encoder"
                )
            return
        self.calibration = calibration_name(calibration)
        if self._claims.get("encoder") == self.name and self._claims.get("calibration") == self.calibration:
            return
        settings = {"encoder": self.name, "digest": self.digest, "profile": self.profile, "pictures": self.calibration}
        groups = self.groups()
        means = load_means(settings, {group.tap: self.channels[group.tap] for group in groups})
        if means is None:
            _log.info("measuring the mean activations of %s, once for these weights", self.name)
            start = time.perf_counter()
            means = measure_means(self, [group.tap for group in groups], calibration)
            _log.info("measured the mean activations of %s in %.1f s", self.name, time.perf_counter() - start)
            save_means(settings, means)
        fold_means(groups, means)
