"""The classes that a config from outside may name, and the walk that holds it to them.

A config that was read from a checkpoint, an export or somebody's run folder is untrusted: a `_target_` is a call. The
list below decides, and it is compared with the *resolved object's* own module and name: a string or a prefix proves
nothing (`torch.utils.collect_env.run` runs a shell, `torch.os` is the os module).
"""

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

# What inference needs: built from checkpoints and exports by `loading`.
NETWORKS = frozenset(
    {
        "stylebench.nn.gatys.GatysTranslator",
        "stylebench.nn.gatys.TextureTranslator",
        "stylebench.nn.adain.AdaINTranslator",
        "stylebench.nn.encoders.compact.CompactEncoder",
        "stylebench.nn.encoders.squeezenet.SqueezeNetEncoder",
        "stylebench.nn.encoders.vgg.VGGEncoder",
        "stylebench.nn.johnson.JohnsonModern",
        "stylebench.nn.johnson.JohnsonPaper",
        "stylebench.nn.labels.DomainLabels",
        "stylebench.nn.resnet_generator.ResNetGenerator",
        "stylebench.nn.stargan.StarGANGenerator",
        "stylebench.nn.translation.MultiDomainTranslator",
        "stylebench.nn.translation.PairedTranslator",
        "stylebench.nn.translation.UnpairedTranslator",
        "stylebench.nn.style_losses.BatchStatistics",
        "stylebench.nn.style_losses.Blend",
        "stylebench.nn.style_losses.GaussianMMD",
        "stylebench.nn.style_losses.GaussianWasserstein",
        "stylebench.nn.style_losses.GramStyle",
        "stylebench.nn.style_losses.LinearMMD",
        "stylebench.nn.style_losses.PolynomialMMD",
        "stylebench.nn.super_resolution.SuperResolutionNet",
        "stylebench.nn.super_resolution.SuperResolutionTranslator",
        "stylebench.nn.translators.ImageToImage",
        "stylebench.nn.unet.UNetGenerator",
        "torch.optim.adam.Adam",  # of pixels
        "torch.optim.lbfgs.LBFGS",
    }
)

# What a training config names, each by the module that defines it.
LISTED = NETWORKS | {
    "stylebench.data.arrange.AttributeLists",
    "stylebench.data.arrange.Links",
    "stylebench.data.filterstyle.world.FilterStyle",
    "stylebench.data.folders.Folders",
    "stylebench.data.procedural.Procedural",
    "stylebench.data.procstyle.world.ProcStyle",
    "stylebench.data.release.Release",
    "stylebench.data.torchvision_sets.TorchvisionSets",
    "stylebench.functional.schedules.Constant",
    "stylebench.functional.schedules.EpochDecay",
    "stylebench.functional.schedules.LinearDecay",
    "stylebench.functional.schedules.SubtractiveDecay",
    "stylebench.methods.adain.AdaIN",
    "stylebench.methods.cyclegan.CycleGAN",
    "stylebench.methods.fast_transfer.FastTransfer",
    "stylebench.methods.gatys.Gatys",
    "stylebench.methods.pix2pix.Pix2Pix",
    "stylebench.methods.stargan.StarGAN",
    "stylebench.methods.super_resolution.SuperResolution",
    "stylebench.methods.texture_synthesis.TextureSynthesis",
    "stylebench.metrics.combined.ArtFD",
    "stylebench.metrics.extractors.clip.CLIP",
    "stylebench.metrics.extractors.dinov2.DINOv2",
    "stylebench.metrics.extractors.encoder_features.EncoderFeatures",
    "stylebench.metrics.extractors.inception.Inception",
    "stylebench.metrics.extractors.pixel_pca.PixelPCA",
    "stylebench.metrics.extractors.random_network.RandomMultiScale",
    "stylebench.metrics.extractors.torchvision_inception.TorchvisionInception",
    "stylebench.metrics.feature_pairs.CFSD",
    "stylebench.metrics.feature_pairs.Diversity",
    "stylebench.metrics.feature_pairs.FeatureDistance",
    "stylebench.metrics.feature_pairs.GramDistance",
    "stylebench.metrics.feature_pairs.LPIPSDiversity",
    "stylebench.metrics.feature_pairs.MomentDistance",
    "stylebench.metrics.feature_pairs.PerceptualMaps",
    "stylebench.metrics.pairs.EdgeSSIM",
    "stylebench.metrics.pairs.MSSSIM",
    "stylebench.metrics.pairs.PSNR",
    "stylebench.metrics.pairs.PSNRY",
    "stylebench.metrics.pairs.RGBUV",
    "stylebench.metrics.pairs.SSIM",
    "stylebench.metrics.perceptual.DISTS",
    "stylebench.metrics.perceptual.LPIPS",
    "stylebench.metrics.readouts.Masks",
    "stylebench.metrics.readouts.Strength",
    "stylebench.metrics.sets.FrechetDistance",
    "stylebench.metrics.sets.GaussianMMD",
    "stylebench.metrics.sets.KernelDistance",
    "stylebench.metrics.sets.Manifold",
    "stylebench.nn.encoders.judge.JudgeEncoder",
    "stylebench.nn.patch_discriminator.PatchDiscriminator",
    "stylebench.nn.stargan.StarGANDiscriminator",
    "pytorch_lightning.loggers.csv_logs.CSVLogger",
    "pytorch_lightning.loggers.tensorboard.TensorBoardLogger",
    "pytorch_lightning.loggers.wandb.WandbLogger",
    "pytorch_lightning.strategies.ddp.DDPStrategy",
    "pytorch_lightning.trainer.trainer.Trainer",
    "torch.optim.adagrad.Adagrad",
    "torch.optim.adamw.AdamW",
    "torch.optim.nadam.NAdam",
    "torch.optim.radam.RAdam",
    "torch.optim.rmsprop.RMSprop",
    "torch.optim.sgd.SGD",
    "torch.optim.lr_scheduler.ConstantLR",
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
    "torch.optim.lr_scheduler.ExponentialLR",
    "torch.optim.lr_scheduler.LinearLR",
    "torch.optim.lr_scheduler.MultiStepLR",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.optim.lr_scheduler.PolynomialLR",
    "torch.optim.lr_scheduler.ReduceLROnPlateau",
    "torch.optim.lr_scheduler.StepLR",
}

DEPTH_LIMIT = 32
_HYDRA_KEYS = frozenset({"_target_", "_args_", "_partial_", "_convert_", "_recursive_"})
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


class TrustError(ValueError):
    """A config from outside that names what is not on the list, or holds what is no plain value."""


def check_targets(config: Any, listed: frozenset[str] = LISTED) -> None:
    """Refuse a config that names anything but listed classes, anywhere in it; build nothing.

    Args:
        config: nested mappings, sequences and plain values, as read from a file.
        listed: names of the allowed classes, `module.qualname`.

    Raises:
        TrustError: naming the target and where it stands.
    """
    for place, target in _targets(config, "config", 0):
        resolve(target, listed, place)


def resolve(target: Any, listed: frozenset[str] = LISTED, place: str = "config") -> Any:
    """Return the listed class that a dotted path leads to, by whatever public alias (`torch.optim.Adam`).

    Imports no module but the listed ones and the packages they are in, and reads no attribute but one, from the
    module's own dictionary.

    Raises:
        TrustError: if the path leads nowhere, or to something that is not listed.
    """
    refusal = TrustError(
        f"{place} names {target!r}, which is not on the list of classes that a config from a file may use; nothing was "
        "run. Do not use this file if you do not know where it comes from"
    )
    if not isinstance(target, str) or not _DOTTED.fullmatch(target):
        raise refusal
    module_name, _, name = target.rpartition(".")
    if not any(f"{entry.rpartition('.')[0]}.".startswith(f"{module_name}.") for entry in listed):
        raise refusal
    found = vars(_import(module_name, place)).get(name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise refusal
    if f"{found.__module__}.{found.__qualname__}" not in listed:
        raise refusal
    # An object can claim any name: what it says of itself must lead back to it.
    if vars(_import(found.__module__, place)).get(found.__qualname__) is not found:
        raise refusal
    return found


def build(node: Any, listed: frozenset[str] = LISTED) -> Any:
    """Build the objects that a plain config describes, innermost first; Hydra is not needed.

    Understands `_target_`, `_args_` and `_partial_`; mappings without a target stay mappings.

    Raises:
        TrustError: before anything is built, if a target is not listed.
        TypeError: if a class does not take the arguments it is given.
    """
    check_targets(node, listed)
    return _build(node, listed)


def _build(node: Any, listed: frozenset[str]) -> Any:
    if isinstance(node, Mapping):
        values = {key: _build(value, listed) for key, value in node.items() if key not in _HYDRA_KEYS}
        if "_target_" not in node:
            return values
        made = resolve(node["_target_"], listed)
        positional = [_build(value, listed) for value in node.get("_args_", ())]
        if node.get("_partial_", False):
            return functools.partial(made, *positional, **values)
        return made(*positional, **values)
    if isinstance(node, list | tuple):
        return [_build(value, listed) for value in node]
    return node


def _targets(node: Any, place: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield every target with its place; refuse what a config file cannot hold."""
    if depth > DEPTH_LIMIT:
        raise TrustError(f"{place} is nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(node, Mapping):
        for key, value in node.items():
            if not isinstance(key, str | int):
                raise TrustError(f"{place} has a key of type {type(key).__name__}; keys are text")
            if key == "_target_":
                yield place, value
            else:
                yield from _targets(value, f"{place}.{key}", depth + 1)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _targets(value, f"{place}[{index}]", depth + 1)
    else:
        _check_value(node, place)


def _check_value(value: Any, place: str) -> None:
    if isinstance(value, str) and "${" in value:  # it would be computed by whoever hands the config to Hydra
        raise TrustError(f"{place} holds an interpolation, {value!r}; a recorded config holds final values only")
    if value is not None and not isinstance(value, str | bool | int | float):
        raise TrustError(f"{place} holds a {type(value).__name__}; a config holds plain values only")


def _import(module_name: str, place: str) -> Any:
    try:
        return sys.modules.get(module_name) or importlib.import_module(module_name)
    except ImportError as error:
        raise TrustError(f"{place} needs the module {module_name}, which cannot be imported here: {error}") from error
