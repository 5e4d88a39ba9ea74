"""What every method shares: the batch clock, logged terms, the non-finite guard, and players that move in turn.

Thin on purpose: a method file reads top to bottom like its paper, and nothing derives from a method.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn

from stylebench.data.tasks import StyleTask, Task
from stylebench.functional.hash_noise import hash_uniform
from stylebench.functional.schedules import Constant, Schedule
from stylebench.methods.checks import refuse_judges
from stylebench.nn.image_pool import ImagePool
from stylebench.nn.translators import Translator, translate_as_asked

Terms = Mapping[str, Tensor | Mapping[str, Tensor]]
OptimizerBuilder = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class NonFiniteLossError(FloatingPointError):
    """A loss term became NaN or infinite."""


class Method(pl.LightningModule):
    """A training algorithm for one task.

    A method sets `translator` in its constructor: the networks that are used after training, as a plain module.
    It defines `training_step`, `validation_step` and `configure_optimizers`; `prepare` looks at the data before
    anything is spent on them. No method may hold an encoder that only judges, at any depth: ValueError.

    A method with several players (a generator against a discriminator) names them in `players`, switches
    `automatic_optimization` off, and moves each inside `with self.moving(player):` by `self.update(player, loss)`.

    Attributes:
        task: the task whose batches the method trains on.
        draws: the roles of the task that a batch must hold, None = all; a role that is not drawn is None in the batch.
            Of the multi_domain task: the pictures of a sample.
        ema_networks: attribute names of the networks that a moving average follows.
        compiled_networks: attribute names of the networks that `compile=true` compiles.
        players: attribute names of the networks that each player moves, by player, in the order of their optimizers.
        seed: the run's seed, for draws inside a step.
        schedule: the factor of every learning rate, by the number of finished batches.
        turn_batches: batches after which the kinds of step repeat, where not every batch moves every player.
    """

    task: ClassVar[type[Task]] = StyleTask
    draws: ClassVar[tuple[str, ...] | None] = None
    ema_networks: ClassVar[tuple[str, ...]] = ("translator",)
    compiled_networks: ClassVar[tuple[str, ...]] = ()
    players: ClassVar[Mapping[str, Sequence[str]]] = {}
    translator: Translator
    seed: int = 0
    schedule: Schedule = Constant()
    turn_batches: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}}
        self.mid_update = False
        self._batches_before = 0
        self._clip_norm: float | None = None
        self._first_bad: dict[tuple[str, ...], Tensor] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module | list | tuple | set | dict):
            refuse_judges(value)
        super().__setattr__(name, value)

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
            ValueError: if a part of the method was given an encoder that only judges.
        """
        refuse_judges(self)
        kept = set(self.state_dict())
        own = {name for name, part in self.named_modules() if isinstance(part, ImagePool)}
        self._ddp_params_and_buffers_to_ignore = [
            name for name, _ in self.named_buffers() if name not in kept or name.rpartition(".")[0] in own
        ]

    def translate(self, batch: Any, **controls: Any) -> Tensor:
        """Return the translated images of a batch.

        Args:
            batch: a batch of the method's task.
            **controls: the translator's declared controls.

        Returns:
            (B, 3, H, W) images in [0, 1].
        """
        images, pictures = batch.shown
        return translate_as_asked(self.translator, images, pictures, controls)

    def sample_rows(self, batch: Any) -> list[Tensor]:
        """Return the rows of a sample grid: (B, 3, H, W) images in [0, 1] each, inputs first."""
        return [batch.content, self.translate(batch)]

    @property
    def batches_done(self) -> int:
        """Number of finished batches of the whole run: the only clock for schedules, logging and checkpoints."""
        if self._trainer is None:
            return self._batches_before
        return self._batches_before + int(self.trainer.fit_loop.epoch_loop.batch_progress.total.processed)  # type: ignore[attr-defined]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the batch counter; Lightning's own loop positions are left out, since they would contradict it."""
        checkpoint.pop("loops", None)
        checkpoint.setdefault("stylebench", {})["batches"] = self.batches_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the batch counter where the checkpoint stood."""
        self._batches_before = int(checkpoint["stylebench"]["batches"])

    def log_and_sum(
        self, terms: Terms, weights: Mapping[str, float], stage: str = "train", player: str | None = None
    ) -> Tensor:
        """Return the weighted sum of loss terms, and keep each of them for the loggers, without a host sync.

        Logged per term: `<stage>/loss/<term>` (unweighted, comparable over a weight sweep) and
        `<stage>/weighted/<term>`; a term given per layer is summed, and each layer is logged as `<term>_<layer>`.
        Terms of a player are logged as `<player>_<term>`, beside what the other players logged; the total of a method
        is that of its first player.

        Args:
            terms: scalar batch means by name, or, for a term of several layers, scalars by layer.
            weights: the factor of each term.
            stage: `train` or `val`.
            player: whose loss it is, where a method has several players.

        Returns:
            The weighted total, a scalar with gradient.

        Raises:
            ValueError: if a term has no weight.
        """
        missing = sorted(set(terms) - set(weights))
        if missing:
            raise ValueError(f"no weight for the loss terms {missing}; weights are given for {sorted(weights)}")
        whose = "" if player is None else f"{player}_"
        kinds = (f"{stage}/loss/{whose}", f"{stage}/weighted/{whose}")
        logged = self.latest[stage] = {
            name: value
            for name, value in self.latest[stage].items()
            if player is not None and not name.startswith(kinds)  # of this player no term may stay that is not given
        }
        sums: dict[str, Tensor] = {}
        for name, term in terms.items():
            if isinstance(term, Mapping):
                for layer, value in term.items():
                    logged[f"{stage}/loss/{whose}{name}_{layer}"] = value.detach()
                    logged[f"{stage}/weighted/{whose}{name}_{layer}"] = weights[name] * value.detach()
                term = torch.stack(list(term.values())).sum()
            sums[whose + name] = term
            logged[f"{stage}/loss/{whose}{name}"] = term.detach()
            logged[f"{stage}/weighted/{whose}{name}"] = weights[name] * term.detach()
        total = torch.stack([weights[name.removeprefix(whose)] * term for name, term in sums.items()]).sum()
        logged[f"{stage}/loss/{whose}total"] = total.detach()
        if player is not None and player == next(iter(self.players), None):
            logged[f"{stage}/loss/total"] = total.detach()
        if stage == "train":
            self._watch(sums)
        return total

    def log_health(self, values: Mapping[str, Tensor]) -> None:
        """Keep scalars that say how training goes, for the loggers: `train/health/<name>`; no host sync."""
        self.latest["train"] |= {f"train/health/{name}": value.detach() for name, value in values.items()}

    def uniform(self, count: int, stream: int = 0) -> Tensor:
        """Draw numbers that depend on the run's seed, the batch and the place in the global batch alone.

        Args:
            count: numbers of this process, one for each of its images.
            stream: which of several independent draws of a batch, >= 0.

        Returns:
            (count,) float32 in [0, 1) on the method's device: the same on one device or many, and after a resume.
        """
        return hash_uniform(self.draw_seeds(count), 1, 1, stream).flatten()

    def draw_seeds(self, count: int) -> Tensor:
        """Return (count,) int64 seeds of this process's images: of the run's seed, the batch and the place in it."""
        first = 0 if self._trainer is None else self.trainer.global_rank * count
        world = 1 if self._trainer is None else self.trainer.world_size
        place = self.batches_done * count * world + first
        upper = ((self.seed & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000  # 32 bits, as a signed number
        return torch.arange(place, place + count, device=self.device) ^ (upper << 32)

    def _watch(self, sums: Mapping[str, Tensor]) -> None:
        """Remember, on the device, the first batch at which each term was not finite."""
        values = torch.stack([term.detach().float() for term in sums.values()])
        names = tuple(sums)
        first = self._first_bad.get(names)
        if first is None:
            first = torch.full((len(sums),), -1, dtype=torch.int64, device=values.device)
        fresh = ~torch.isfinite(values) & (first < 0)
        self._first_bad[names] = torch.where(fresh, self.batches_done + 1, first)

    def check_finite(self) -> None:
        """Read the flags that `log_and_sum` gathered; call it at every log and before every checkpoint.

        With several processes all must call it: a term that is bad on one stops all of them.

        Raises:
            NonFiniteLossError: naming each non-finite term and the batch at which it first was so.
        """
        if not self._first_bad:
            return
        never = torch.iinfo(torch.int64).max
        first = torch.cat(list(self._first_bad.values()))
        first = torch.where(first < 0, never, first)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(first, op=torch.distributed.ReduceOp.MIN)
        names = [name for group in self._first_bad for name in group]
        bad: dict[str, int] = {}
        for name, batch in zip(names, first.tolist(), strict=True):  # a term may stand in several groups of terms
            if batch < never:
                bad[name] = min(batch, bad.get(name, never))
        if bad:
            listed = ", ".join(f"'{name}' at batch {batch}" for name, batch in bad.items())
            raise NonFiniteLossError(
                f"the loss is not finite: {listed}. No checkpoint was written since. Lower model.optimizer.lr or the "
                "weight of that term, use trainer.precision=32-true, or look for unusual images in the data"
            )

    def check_weights_finite(self) -> None:
        """Look at every trained weight; a finite loss can have an infinite gradient, which shows only afterwards.

        Raises:
            NonFiniteLossError: naming the first weights that are not finite.
        """
        bad = [name for name, weight in self.named_parameters() if not bool(torch.isfinite(weight).all())]
        if bad:
            raise NonFiniteLossError(
                f"weights are not finite after batch {self.batches_done}: {', '.join(bad[:3])}"
                f"{', ...' if len(bad) > 3 else ''}. A gradient was infinite while the loss was not; no checkpoint of "
                "this was written. Lower model.optimizer.lr, or use trainer.precision=32-true"
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates by the number of batches done, which goes on where a stopped run was."""
        self.mid_update = bool(self.players)  # noise is drawn, pools and norms change before the first player moves
        factor = self.schedule.factor(self.batches_done)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def player_optimizers(self, builders: Mapping[str, OptimizerBuilder]) -> list[torch.optim.Optimizer]:
        """Return an optimizer for each player, in their order; for `configure_optimizers`."""
        return [builders[player](self.player_parameters(player)) for player in self.players]

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Return the weights that a player moves, each once."""
        networks = [self.get_submodule(name) for name in self.players[player]]
        return list(dict.fromkeys(parameter for network in networks for parameter in network.parameters()))

    @contextlib.contextmanager
    def moving(self, player: str) -> Iterator[None]:
        """Freeze the weights of all other players: gradients flow through their networks, none reach their weights."""
        own = set(self.player_parameters(player))
        others = [p for other in self.players for p in self.player_parameters(other) if p not in own]
        trained = [parameter for parameter in others if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def update(self, player: str, loss: Tensor, clip_norm: float | None = None) -> None:
        """Take one optimizer step for one player: zero, backward, gradient sync, clip, step.

        Call it inside `with self.moving(player):`, so that the loss leaves no gradient in the others.

        Args:
            player: a key of `players`.
            loss: the scalar to minimise.
            clip_norm: largest gradient norm over the player, None = no limit.
        """
        optimizers: Any = self.optimizers()
        optimizer = optimizers[list(self.players).index(player)]
        optimizer.zero_grad(set_to_none=True)
        strategy = self.trainer.strategy
        # DDP's own reduction expects every parameter to have a gradient; this player's are averaged alone, below.
        with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else contextlib.nullcontext():
            self.manual_backward(loss)
        parameters = [parameter for parameter in self.player_parameters(player) if parameter.grad is not None]
        self.sync_gradients(parameters)
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # else gradients are scaled until the step
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            self.log_health({f"gradient_norm_{player}": nn.utils.get_total_norm(gradients)})
        self._clip_norm = clip_norm
        optimizer.step()
        self._clip_norm = None

    def sync_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average one player's gradients over the processes, in one collective call a dtype; replace to do otherwise.

        A parameter without a gradient is left out, so the same parameters must have one on every process.
        """
        if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_dtype.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            torch.distributed.all_reduce(flat)
            flat /= torch.distributed.get_world_size()
            for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Mark that weights are about to change (a checkpoint of this moment would be half a step), and clip.

        Clipping belongs here: in 16-bit training gradients are unscaled only inside `optimizer.step()`.
        """
        self.mid_update = True
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], self._clip_norm)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Mark that weights, averages and counter agree again."""
        self.mid_update = False
