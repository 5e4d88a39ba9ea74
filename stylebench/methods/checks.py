"""What is refused before a method is trained: encoders that only judge, norms that cannot work, wrong settings."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import nn

from stylebench.checks import Size, check_number, size_advice, size_text
from stylebench.nn.encoders.base import Encoder

_BETAS = 2


def refuse_judges(part: object) -> None:
    """Check that nothing is trained with the encoder that will score it.

    Args:
        part: a module of a method, looked through to any depth, plain lists, tuples, sets and dicts among its
            attributes too; such a container; or a class whose object a method is to be given.

    Raises:
        ValueError: if it is an encoder that only judges, or holds one.
    """
    kinds = [found if isinstance(found, type) else type(found) for found in _inside(part, set())]
    if any(issubclass(kind, Encoder) and kind.judges_only for kind in kinds):
        raise ValueError(
            "compact_judge only scores what others trained: what is trained with the features that score it looks "
            "better than it is. Choose another encoder to train with, such as encoder=compact"
        )


def refuse_synced_norms(method: pl.LightningModule) -> None:
    """Check that no SyncBatchNorm is to work on processes of the CPU, where torch has none.

    Raises:
        ValueError: if one is in the method, or the trainer is to make them of its batch norms.
    """
    trainer = method._trainer
    if trainer is None or trainer.world_size == 1 or trainer.strategy.root_device.type != "cpu":
        return
    there = [name for name, part in method.named_modules() if isinstance(part, nn.SyncBatchNorm)]
    if there or getattr(trainer.strategy, "_layer_sync", None) is not None:
        raise ValueError(
            f"SyncBatchNorm ({', '.join(there) or 'trainer.sync_batchnorm=true'}) works on GPUs alone, this run has "
            f"{trainer.world_size} processes on the CPU: build the network with torch.nn.BatchNorm2d, by which each "
            "process normalizes its part of a batch, or train on one process; adaptation=autodial and adaptation=dsbn "
            "share moments on any device by adaptation.sync_moments=true"
        )


def check_domains(roles: Sequence[str], known: Sequence[str]) -> None:
    """Check that a model knows the domains of a task, in their order.

    Raises:
        ValueError: if the names differ.
    """
    if tuple(known) != tuple(roles):
        raise ValueError(
            f"dataset.domains are {', '.join(roles)}, but the model calls them {', '.join(known)}; give them names: "
            "dataset.domains={first: <domain>, second: <domain>}"
        )


def _inside(part: object, seen: set[int]) -> Iterator[object]:
    """Yield modules and classes in a module or container; `seen` holds the ids of those that were looked into."""
    if id(part) in seen:
        return
    seen.add(id(part))
    inner: list[object] = []
    if isinstance(part, nn.Module | type):
        yield part
    if isinstance(part, nn.Module):  # its children are in a dict among its attributes, like any other container
        inner = [value for value in vars(part).values() if isinstance(value, list | tuple | set | dict)]
    elif isinstance(part, dict):
        inner = list(part.values())
    elif isinstance(part, list | tuple | set):
        inner = list(part)
    for value in inner:
        yield from _inside(value, seen)


def check_weights(weights: Mapping[str, float]) -> None:
    """Check the factors of loss terms when a method is built.

    Raises:
        ValueError: if one is not a finite number of at least 0.
    """
    for name, weight in weights.items():
        check_number(f"weight_{name}", weight)


def check_size_multiple(size_px: Size, multiple: int) -> None:
    """Check that a network can halve training crops as often as it does.

    Args:
        size_px: side of the crops, or height and width.
        multiple: what must divide each side.

    Raises:
        ValueError: naming the nearest sizes that would do.
    """
    if advice := size_advice(size_px, multiple):
        raise ValueError(
            f"the network halves images step by step, so dataset.size_px must be a multiple of {multiple}, got "
            f"{size_text(size_px)}; {advice}"
        )


def with_float_betas(builders: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Turn the betas of Adam into floats: YAML reads 0 as an integer, which torch refuses beside a float.

    Args:
        builders: partial optimizer classes by player, as the config gives them.

    Raises:
        ValueError: if betas are not two numbers in [0, 1).
    """
    checked = {}
    for player, builder in builders.items():
        betas = getattr(builder, "keywords", {}).get("betas")
        if betas is not None:
            numbers = isinstance(betas, list | tuple) and all(
                isinstance(beta, int | float) and not isinstance(beta, bool) and 0 <= beta < 1 for beta in betas
            )
            if not numbers or len(betas) != _BETAS:
                raise ValueError(
                    f"optimizers.{player}.betas must be two numbers in [0, 1), such as [0.5, 0.999], got {betas!r}"
                )
            builder = functools.partial(builder, betas=tuple(float(beta) for beta in betas))
        checked[player] = builder
    return checked
