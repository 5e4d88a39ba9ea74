"""Statistics of batch norms for averaged weights: over training images, as the averages are used."""

from collections.abc import Iterator
from typing import Any, cast

import pytorch_lightning as pl
from torch import nn

from stylebench.adaptation.adabn import FEWEST_IMAGES, recalibrate
from stylebench.data.datamodule import DomainData
from stylebench.inference.base import Inference
from stylebench.methods.base import Method
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm
from stylebench.nn.normalization import IMAGE, batch_norms, has_batch_norm, using, write_running

IMAGES = 256  # training images that the statistics are taken over, at most
_AT_A_TIME = 32


def take_average_statistics(network: nn.Module, method: Method, trainer: pl.Trainer) -> list[str]:
    """Take the statistics of a network's batch norms for the weights that it holds now, and write them there.

    Central crops of the first training images in hash order, so the result is a function of the weights and the data.
    Of layers that know two domains both branches are taken, each over its own images. Networks that normalize each
    image by itself when they are used are left alone.

    Args:
        network: a part of the method, its averages in it.
        method: what uses it.
        trainer: of a training on a task's data.

    Returns:
        Names of the buffers that changed; none without batch norm, or with a single training image.
    """
    model = getattr(method, "model", None)
    if not isinstance(model, Inference) or not has_batch_norm(network) or model.own_statistics == IMAGE:
        return []
    images = _TrainingImages(cast(DomainData, trainer.datamodule), trainer)  # type: ignore[attr-defined]
    if images.count < FEWEST_IMAGES:
        return []
    layers = batch_norms(network)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    converted = any(isinstance(layer, DomainNorm) for layer in layers.values())
    for domain in (SOURCE, TARGET) if converted else (SOURCE,):

        def show(_: nn.Module, batch: Any, domain: str = domain) -> None:
            with model.on_current_statistics():
                method.use(batch, domain)

        with using(network, domain):
            write_running(network, recalibrate(network, images, forward=show).statistics)
    return [name for name, buffer in network.named_buffers() if not bool((buffer == before[name]).all())]


class _TrainingImages:
    """This process's share of the first training images, as batches on the device; may be read any number of times."""

    def __init__(self, data: DomainData, trainer: pl.Trainer) -> None:
        self.data, self.trainer = data, trainer
        self.count = min(IMAGES, data.task.size("train"))

    def __iter__(self) -> Iterator[Any]:
        starts = range(0, self.count, _AT_A_TIME)
        for start in starts[self.trainer.global_rank :: self.trainer.world_size]:
            raw = self.data.task.fixed(min(_AT_A_TIME, self.count - start), "train", start)
            yield self.trainer.strategy.batch_to_device(raw)  # which finishes it, too
