"""What an author of a method writes: a task, a model, `training_step`, and what differs from the defaults here.

Thin on purpose: a method file reads top to bottom like its paper, and nothing derives from a method. What the base
brings with it stands beside it: `clock.py` (batches done, seeded draws), `terms.py` (`log_and_sum`), `players.py`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from stylebench.data.tasks import StyleTask, Task
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.base import Translator, translate_as_asked
from stylebench.methods.checks import refuse_judges, refuse_synced_norms, with_float_betas
from stylebench.methods.image_pool import ImagePool
from stylebench.methods.players import Players
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.domain_norms import SOURCE


class Method(Players):
    """A training algorithm for one task.

    The least method defines `training_step`, which returns the total of `log_and_sum`. One with several players (a
    generator against a discriminator) names them in `players` and moves them inside its step: see `methods/players.py`.
    `prepare` looks at the data before anything is spent on them. No method may hold an encoder that only judges, at any
    depth.

    Attributes:
        task: the task whose batches the method trains on.
        draws: the roles of the task that a batch must hold, None = all; a role that is not drawn is None in the batch.
            Of the multi_domain task: the pictures of a sample.
        ema_networks: attribute names of the networks that a moving average follows.
        compiled_networks: attribute names of the networks that `compile=true` compiles.
        completes: whether `completed` fills in what the data alone know.
        model: what is used after training, as a plain module.

    Args:
        inference: becomes `model`.
        optimizers: build each player's optimizer from its weights, by player; of a method without players the one of
            the model's weights, by the name of the network that learns.
        schedule: of the learning rates, None = constant.
    """

    task: ClassVar[type[Task]] = StyleTask
    draws: ClassVar[tuple[str, ...] | None] = None
    ema_networks: ClassVar[tuple[str, ...]] = ("model",)
    compiled_networks: ClassVar[tuple[str, ...]] = ()
    completes: ClassVar[bool] = False
    model: Translator

    def __init__(
        self,
        *,
        inference: Translator | None = None,
        optimizers: Mapping[str, OptimizerBuilder] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = not self.players
        if inference is not None:
            self.model = inference
        self.build_optimizers = with_float_betas(optimizers or {})
        if schedule is not None:
            self.schedule = schedule

    @classmethod
    def completed(cls, node: Mapping[str, Any], task: Task) -> dict[str, Any]:
        """Return the `model` node of a config with what the data alone know, before anything is built from it.

        Args:
            node: as the command line gave it, resolved.
            task: over the opened data.

        Raises:
            ValueError: if the node contradicts the data.
        """
        return dict(node)

    @property
    def name(self) -> str:
        """The name that records have; here that of the method's file, which is also that of its config."""
        return type(self).__module__.rpartition(".")[2]

    def prepare(self, task: Task) -> None:
        """Check that the task's domains suit the method, and cache what is constant over the run.

        Args:
            task: the task that training will draw from.

        Raises:
            ValueError: if the domains cannot serve this method; the message says how to choose others.
        """

    def setup(self, stage: str) -> None:
        """Keep out of DDP's buffer broadcast what every process has alike (frozen networks) or for itself (pools).

        Raises:
            ValueError: if a part of the method was given an encoder that only judges, or a SyncBatchNorm that is to
                work on processes of the CPU.
        """
        refuse_judges(self)
        refuse_synced_norms(self)
        kept = set(self.state_dict())
        own = {name for name, part in self.named_modules() if isinstance(part, ImagePool)}
        self._ddp_params_and_buffers_to_ignore = [
            name for name, _ in self.named_buffers() if name not in kept or name.rpartition(".")[0] in own
        ]

    def translate(self, batch: Any, **controls: Any) -> Tensor:
        """Return the translated images of a batch.

        Args:
            batch: a batch of the method's task.
            **controls: the model's declared controls.

        Returns:
            (B, 3, H, W) images in [0, 1].
        """
        images, pictures = batch.shown
        return self.translated(images, pictures, controls)

    def translated(self, images: Tensor, pictures: Mapping[str, Tensor], request: Mapping[str, Any]) -> Tensor:
        """Return what the model makes of images; see `translate_as_asked`."""
        return translate_as_asked(self.model, images, pictures, request)

    def use(self, batch: Any, domain: str = SOURCE) -> None:
        """Run the model on a batch as it is used after training, for who watches its layers meanwhile.

        Args:
            batch: a batch of the method's task.
            domain: whose images are shown, where a batch has those of several.
        """
        self.translate(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the terms of a held-out batch, computed as in `training_step`, of which nothing moves here."""
        with self.logging_for("val"):
            self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        """Return one optimizer a player, in their order; without players the one of the model's weights.

        Raises:
            TypeError: if the method has no players, and was not given one optimizer.
        """
        if self.players:
            return [self.build_optimizers[player](self.player_parameters(player)) for player in self.players]
        if len(self.build_optimizers) != 1:
            raise TypeError(
                f"{type(self).__name__} has no players and {len(self.build_optimizers)} optimizers; hand one to "
                "super().__init__(optimizers={'generator': ...}), or define configure_optimizers"
            )
        (build,) = self.build_optimizers.values()
        return build(self.model.parameters())

    def sample_rows(self, batch: Any) -> list[Tensor]:
        """Return the rows of a sample grid, (B, 3, H, W) images in [0, 1] each: what a model is shown, and results."""
        images, pictures = batch.shown
        return [images, *pictures.values(), self.translate(batch)]
