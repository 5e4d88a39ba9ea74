"""The least that trains on each task: one linear layer from a batch's first images to its last."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.data.tasks import AdaptationTask, MultiDomainTask, PairedTask, StyleTask, Task, UnpairedTask
from stylebench.inference.base import Choice
from stylebench.inference.translators.base import Guides
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.methods.base import Method


class Dummy(Method):
    """Fit a 1x1 convolution."""

    task: ClassVar[type[Task]] = StyleTask

    def __init__(self) -> None:
        super().__init__(
            inference=ImageToImage(nn.Conv2d(3, 3, 1)), optimizers={"generator": partial(torch.optim.SGD, lr=0.01)}
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = [part for part in batch if part is not None and part.is_floating_point()]
        return self.log_and_sum({"fit": (self.model(images[0]) - images[-1]).square().mean()}, {"fit": 1.0})

    def sample_rows(self, batch: Any) -> list[Tensor]:
        return [part for part in batch if part is not None and part.is_floating_point()]


class StyleDummy(Dummy):
    pass


class PairedDummy(Dummy):
    task = PairedTask


class UnpairedDummy(Dummy):
    task = UnpairedTask


class Brightening(ImageToImage):
    """Makes images brighter the later the domain is to which they go."""

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        (domain,) = (control for control in self.controls if control.name == "domain")
        assert isinstance(domain, Choice)
        return super().render(images, guides, **controls) + 0.1 * domain.options.index(controls["domain"])


class MultiDomainDummy(Dummy):
    task = MultiDomainTask

    def __init__(self) -> None:
        super().__init__()
        self.model = Brightening(self.model.generator)

    def prepare(self, task: Task) -> None:
        """Have the model take the domain to go to, as results of this task are asked for."""
        target = Choice("domain", task.roles, task.roles[-1], "the domain to go to")
        self.model.controls = (*self.model.controls, target)


class AdaptationDummy(Dummy):
    task = AdaptationTask


TARGETS = {
    method.task.name: f"{__name__}.{method.__name__}"
    for method in (StyleDummy, PairedDummy, UnpairedDummy, MultiDomainDummy, AdaptationDummy)
}


class Duel(UnpairedDummy):
    """Two players: the discriminator moves in every batch, the generator in every second."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {"generator": ("model",), "discriminator": ("discriminator",)}

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = nn.Conv2d(3, 1, 1)
        self.build_optimizers = dict.fromkeys(self.players, partial(torch.optim.SGD, lr=0.01))

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        fake = self.model(batch.a)
        with self.moving("discriminator"):
            terms = {"gan": (self.discriminator(batch.b) - self.discriminator(fake.detach())).mean()}
            self.update(self.log_and_sum(terms, {"gan": 1.0}))
        if (self.batches_done + 1) % 2 == 0:
            with self.moving("generator"):
                self.update(self.log_and_sum({"gan": self.discriminator(fake).mean()}, {"gan": 1.0}))


DUEL = f"{__name__}.{Duel.__name__}"
