"""The classes that a config from outside may name, and the walk that holds it to them.

A config that was read from a checkpoint, an export or somebody's run folder is untrusted: a `_target_` is a call. The
list decides, and it is compared with the *resolved object's* own module and name: a string or a prefix proves nothing
(`torch.utils.collect_env.run` runs a shell, `torch.os` is the os module). Of this package, what the shipped config
files name is on the list, so a new method is trusted by its own YAML; of other packages, what `FOREIGN` names. Of a
package that the user's own settings trust (`own_packages.py`), a config may name every class that is defined in it.
"""

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from stylebench.own_packages import how_to_trust, import_package, importing, trusted_packages
from stylebench.shipped import shipped_targets

# Of other packages, each by the module that defines it: a new name here is a decision, not a consequence.
FOREIGN = frozenset(
    {
        "pytorch_lightning.loggers.csv_logs.CSVLogger",
        "pytorch_lightning.loggers.tensorboard.TensorBoardLogger",
        "pytorch_lightning.loggers.wandb.WandbLogger",
        "pytorch_lightning.strategies.ddp.DDPStrategy",
        "pytorch_lightning.trainer.trainer.Trainer",
        "torch.optim.adagrad.Adagrad",
        "torch.optim.adam.Adam",
        "torch.optim.adamw.AdamW",
        "torch.optim.lbfgs.LBFGS",
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
)
# Our own that a config may name although no shipped file does.
UNSHIPPED = frozenset(
    {
        "stylebench.metrics.extractors.clip.CLIP",
        "stylebench.metrics.extractors.dinov2.DINOv2",
        "stylebench.metrics.extractors.pixel_pca.PixelPCA",
        "stylebench.metrics.extractors.torchvision_inception.TorchvisionInception",
        "stylebench.metrics.feature_pairs.CFSD",
        "stylebench.metrics.feature_pairs.Diversity",
        "stylebench.metrics.feature_pairs.LPIPSDiversity",
        "stylebench.metrics.feature_pairs.MomentDistance",
        "stylebench.metrics.pairs.MSSSIM",
        "stylebench.metrics.sets.GaussianMMD",
    }
)
# What a trained model may be made of: our own networks and strategies, and the optimizers of pixels.
_INFERENCE_ROOMS = ("stylebench.adaptation.", "stylebench.inference.", "stylebench.nn.", "stylebench.optimization.")
_NOT_AFTER_TRAINING = ("stylebench.nn.discriminators.", "stylebench.nn.encoders.judge.")  # they train or judge others
_INFERENCE_OPTIMIZERS = frozenset({"torch.optim.adam.Adam", "torch.optim.lbfgs.LBFGS"})

DEPTH_LIMIT = 32
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


class TrustError(ValueError):
    """A config from outside that names what is not on the list, or holds what is not a plain value."""


@functools.cache
def training_classes() -> frozenset[str]:
    """Return what a training config from a file may name, each class by the module that defines it."""
    return FOREIGN | UNSHIPPED | {target for target in shipped_targets() if target.startswith("stylebench.")}


@functools.cache
def inference_classes() -> frozenset[str]:
    """Return what a trained model may be made of: fewer than `training_classes`."""
    made_of = {name for name in training_classes() if name.startswith(_INFERENCE_ROOMS)}
    return _INFERENCE_OPTIMIZERS | {name for name in made_of if not name.startswith(_NOT_AFTER_TRAINING)}


def check_targets(config: Any, listed: frozenset[str] | None = None, place: str = "config") -> None:
    """Refuse a config that names anything but listed classes, anywhere in it; build nothing.

    Args:
        config: nested mappings, sequences and plain values, as read from a file.
        listed: names of the allowed classes, `module.qualname`; None for `training_classes()`.
        place: where it stands, for messages.

    Raises:
        TrustError: naming the target and where it stands.
    """
    allowed = training_classes() if listed is None else listed
    for found, target in _targets(config, place, 0):
        resolve(target, allowed, found)


def resolve(target: Any, listed: frozenset[str], place: str = "config") -> Any:
    """Return the class that a dotted path leads to: a listed one, or one of a package that the user trusts.

    A listed one may be named by any public alias (`torch.optim.Adam`).

    Imports no module but the listed ones, the packages they are in, and those of the user's packages; reads no
    attribute but one, from the module's own dictionary.

    Raises:
        TrustError: if the path leads nowhere, or to something that is not listed.
    """
    if not isinstance(target, str) or not _DOTTED.fullmatch(target):
        raise _refusal(target, place)
    module_name, _, name = target.rpartition(".")
    package = module_name.partition(".")[0]
    if package not in {entry.partition(".")[0] for entry in listed}:
        return _resolve_own(target, package, place)
    if not any(f"{entry.rpartition('.')[0]}.".startswith(f"{module_name}.") for entry in listed):
        raise _refusal(target, place)
    found = vars(_import(module_name, place)).get(name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise _refusal(target, place)
    if f"{found.__module__}.{found.__qualname__}" not in listed or not _leads_back(found, place):
        raise _refusal(target, place)
    return found


def _resolve_own(target: str, package: str, place: str) -> Any:
    """Return a class that a package on the user's list defines; what it merely imports is not its own.

    A function is refused: it would be called with whatever the file says. So is a module such as `__main__`, which does
    its work as soon as it is imported.
    """
    folder = trusted_packages().get(package)
    module_name, _, name = target.rpartition(".")
    if folder is None or any(part.startswith("__") for part in target.split(".")):
        raise _refusal(target, place)
    try:
        import_package(package, folder)
    except ImportError as error:
        raise TrustError(f"{place} needs the package {package}: {error}") from error
    found = vars(_import(module_name, place)).get(name)
    if not inspect.isclass(found) or found.__module__.partition(".")[0] != package or not _leads_back(found, place):
        raise _refusal(target, place)
    return found


def _leads_back(found: Any, place: str) -> bool:
    """Tell whether what an object says of itself leads to it: it can claim any name."""
    return vars(_import(found.__module__, place)).get(found.__qualname__) is found


def _refusal(target: Any, place: str) -> TrustError:
    way_out = "Do not use this file if you do not know where it comes from"
    package = target.partition(".")[0] if isinstance(target, str) and _DOTTED.fullmatch(target) else ""
    known = {entry.partition(".")[0] for entry in FOREIGN} | {"stylebench"} | sys.stdlib_module_names
    if package and package not in known and package not in trusted_packages():
        way_out += f". If you wrote the package {package} yourself, trust its classes: {how_to_trust(package)}"
    return TrustError(
        f"{place} names {target!r}, which is not on the list of classes that a config from a file may use; nothing was "
        f"run. {way_out}"
    )


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
        with importing(module_name):
            return sys.modules.get(module_name) or importlib.import_module(module_name)
    except ImportError as error:
        raise TrustError(f"{place} needs the module {module_name}, which cannot be imported here: {error}") from error
