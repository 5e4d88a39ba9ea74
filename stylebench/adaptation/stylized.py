"""Style transfer as adaptation: a labeled source whose training images were stylized toward a target beforehand.

A style keeps what an image shows, and with it the label; so a classifier that learns from stylized images is scored on
the target's own, and its accuracy says how much of the domain a model of style transfer brings over.

The stylized images are made once, as central crops at the size of the training, and kept in the cache: the file's
name is a digest of the images, the weights, the styles and the settings. Images of val and test stay as they are.

Source: Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture", for stylization as augmentation.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from stylebench.checks import UsageError, check_number, check_switch, check_whole, sides, size_text
from stylebench.data.augmentation import CropSettings, finish_images
from stylebench.data.domain import Domain, Pixels
from stylebench.data.splits import Indices, Layout
from stylebench.data.stores import Store
from stylebench.data.streams import central, cut, pick
from stylebench.files import atomic_write, cache_dir, json_digest
from stylebench.functional.pixels import quantize
from stylebench.inference.loading import load_translator
from stylebench.inference.statistics import weights_digest
from stylebench.inference.translators.base import Translator

KEYS = ("run", "jitter", "styles", "controls", "per_image", "originals")
_AT_A_TIME = 32
_FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stylization:
    """How source images are stylized, the config under `dataset.stylize`.

    Attributes:
        run: a trained run, checkpoint or export; None for none.
        jitter: strength of a change of colors in its place, a control: brightness, contrast, saturation by up to this
            part, hue by a quarter of it; in (0, 1]; None for none.
        styles: of a model that is shown a style: a domain whose training images are drawn from; None for the target.
        controls: of the model, by name.
        per_image: stylized versions of each training image, each in a style of its own.
        originals: whether the images as they are stay in the training, too.

    Raises:
        ValueError: if a value is out of its range, or neither or both of `run` and `jitter` are given.
    """

    run: str | None = None
    jitter: float | None = None
    styles: str | None = None
    controls: Mapping[str, Any] | None = None
    per_image: int = 1
    originals: bool = True

    def __post_init__(self) -> None:
        if (self.run is None) == (self.jitter is None):
            raise UsageError(
                "dataset.stylize takes run=<a trained run>, or jitter=<strength> as a control; one of them"
            )
        if self.jitter is not None:
            check_number("dataset.stylize.jitter", self.jitter, 0.0, 1.0)
        check_whole("dataset.stylize.per_image", self.per_image)
        check_switch("dataset.stylize.originals", self.originals)

    @classmethod
    def of(cls, value: Any) -> "Stylization":
        """Read it from the config: a run alone, or a mapping.

        Raises:
            UsageError: if a key is unknown.
        """
        if isinstance(value, str):
            return cls(run=value)
        if not isinstance(value, Mapping) or set(value) - set(KEYS):
            raise UsageError(f"dataset.stylize is a run, or has the keys {', '.join(KEYS)}; got {value!r}")
        return cls(**value)


def stylized(
    domains: Mapping[str, Domain], store: Store, settings: Mapping[str, Any], seed: int, device: str = "cpu"
) -> dict[str, Domain]:
    """Return domains whose source has stylized training images, as the config under `dataset` says.

    Args:
        domains: by role, `source` and `target` among them.
        store: opens the domain of the styles where another than the target is named.
        settings: the config under `dataset`.
        seed: of the run: which image gets which style.
        device: where the images are stylized.

    Raises:
        UsageError: if the setting is wrong.
        FileNotFoundError: if there is no such run.
        ValueError: if the model needs other pictures than styles.
    """
    plan, source = Stylization.of(settings["stylize"]), domains["source"]
    styles = domains["target"] if plan.styles is None else store.open(plan.styles)
    sizes = (sides(settings["size_px"]), sides(settings["resize_px"] or settings["size_px"]))
    size = (max(each[0] for each in sizes), max(each[1] for each in sizes))
    chosen = np.tile(source.split("train"), plan.per_image)
    made, name = _maker(plan, styles, seed, size, device)
    key = json_digest([_FORMAT, source.digest, styles.digest, name, size, len(chosen), seed])
    path = cache_dir() / "stylized" / f"{key}.npy"
    if not path.exists():
        _write(path, source, chosen, size, made)
    return {**domains, "source": _joined(source, chosen, path, key, plan)}


Maker = Callable[[Tensor, Indices], Tensor]


def _maker(plan: Stylization, styles: Domain, seed: int, size: tuple[int, int], device: str) -> tuple[Maker, list[Any]]:
    """Return what stylizes images at places of the list, and what it follows from."""
    if plan.jitter is not None:
        return _jittered(plan.jitter, seed), ["jitter", plan.jitter]
    model = load_translator(str(plan.run), device=device)
    others = [picture.name for picture in model.inputs if picture.required and picture.name not in ("content", "style")]
    if others:
        raise ValueError(f"dataset.stylize: the model of {plan.run} needs a picture of the {others[0]} for each image")
    controls = dict(plan.controls or {})
    model.check_controls(**controls)
    name = [weights_digest(model.state_dict()), type(model).__name__, controls, model.takes("style")]
    return _by_model(model, controls, styles, seed, size), name


def _by_model(
    model: Translator, controls: Mapping[str, Any], styles: Domain, seed: int, size: tuple[int, int]
) -> Maker:
    drawn = styles.split("train")

    def make(images: Tensor, places: Indices) -> Tensor:
        if not model.takes("style"):
            return model.translate(images, **controls)
        which = drawn[pick(seed, "stylize", len(drawn), places)]
        return model.translate(images, style=_crops(styles, which, size), **controls)

    return make


def _jittered(strength: float, seed: int) -> Maker:
    change = v2.ColorJitter(strength, strength, strength, strength / 4)

    def make(images: Tensor, places: Indices) -> Tensor:
        found = []
        for image, place in zip(images, places, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed((seed * 2**32 + int(place)) % 2**63)
                found.append(change(image))
        return torch.stack(found)

    return make


def _write(path: Path, source: Domain, chosen: Indices, size: tuple[int, int], make: Maker) -> None:
    """Stylize images and write them as (N, H, W, 3) uint8, whole or not at all."""
    _log.info("stylizing %d images of %s at %s px, once", len(chosen), source.path, size_text(size))
    with atomic_write(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), *size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(chosen), _AT_A_TIME):
            places = np.arange(start, min(start + _AT_A_TIME, len(chosen)), dtype=np.int64)
            images = make(_crops(source, chosen[places], size), places)
            if images.shape[-2:] != size:
                raise ValueError(f"the model makes images of another size than it is shown: {tuple(images.shape[-2:])}")
            file.write(quantize(images).permute(0, 2, 3, 1).contiguous().cpu().numpy().tobytes())


def _crops(domain: Domain, chosen: Sequence[int] | Indices, size: tuple[int, int]) -> Tensor:
    """Return central crops, (B, 3, *size) float32 in [0, 1]."""
    return finish_images(cut(domain, chosen, central(len(chosen)), CropSettings(size, None, False)), size)


class _Images:
    """The images of a domain, and after them stylized ones in a file; opened in each process that reads."""

    def __init__(self, source: Domain, path: Path) -> None:
        self.source, self.path = source, path
        self._made: NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}

    def __call__(self, indices: Sequence[int]) -> list[Pixels]:
        if self._made is None:
            self._made = np.load(self.path, mmap_mode="r")
        own = len(self.source)
        return [self.source.view(index) if index < own else np.asarray(self._made[index - own]) for index in indices]


def _joined(source: Domain, chosen: Indices, path: Path, key: str, plan: Stylization) -> Domain:
    """Return the source with its stylized images behind its own, in the training alone."""
    made = np.arange(len(source), len(source) + len(chosen), dtype=np.int64)
    train = np.concatenate([source.split("train"), made]) if plan.originals else made
    ids = [*source.ids, *(f"{source.ids[index]}#{number}" for number, index in enumerate(chosen))]
    labels = None if source.labels is None else np.concatenate([source.labels, source.labels[chosen]])
    size = np.load(path, mmap_mode="r").shape[1:3]
    return Domain(
        name=f"{source.name}_stylized",
        path=source.path,
        address=source.address,
        ids=ids,
        shapes=np.concatenate([source.shapes, np.tile(np.array(size, dtype=np.int64), (len(chosen), 1))]),
        pixels=_Images(source, path),
        digest=json_digest([source.digest, key, plan.originals]),
        layout=Layout(
            {**source.splits, "train": train, "all": np.union1d(source.split("all"), train)}, source.classes, labels
        ),
        stored_px=source.stored_px,
        skipped=source.skipped,
        left_out=source.left_out,
    )
