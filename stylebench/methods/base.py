"""What every method shares: the batch clock, logged terms, the non-finite guard and the update of one player.

Thin on purpose: a method file reads top to bottom like its paper, and nothing derives from a method.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn

from stylebench.data.tasks import StyleTask, Task
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.translators import Translator

Terms = Mapping[str, Tensor | Mapping[str, Tensor]]


class NonFiniteLossError(FloatingPointError):
    """A loss term became NaN or infinite."""


class Method(pl.LightningModule):
    """A training algorithm for one task.

    A method sets `translator` in its constructor: the networks that are used after training, as a plain module.
    It defines `training_step`, `validation_step` and `configure_optimizers`; `prepare` looks at the data before
    anything is spent on them. No method may hold an encoder that only judges, at any depth: ValueError.

    Attributes:
        task: the task whose batches the method trains on.
        draws: the roles of the task that a batch must hold, None = all; a role that is not drawn is None in the batch.
        ema_networks: attribute names of the networks that a moving average follows.
        compiled_networks: attribute names of the networks that `compile=true` compiles.
    """

    task: ClassVar[type[Task]] = StyleTask
    draws: ClassVar[tuple[str, ...] | None] = None
    ema_networks: ClassVar[tuple[str, ...]] = ("translator",)
    compiled_networks: ClassVar[tuple[str, ...]] = ()
    translator: Translator

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}}
        self.mid_update = False
        self._batches_before = 0
        self._clip_norm: float | None = None
        self._guarded: tuple[str, ...] = ()
        self._first_bad: Tensor | None = None

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
        """Keep frozen networks and cached statistics out of DDP's buffer broadcast: every process has the same.

        Raises:
            ValueError: if a part of the method was given an encoder that only judges.
        """
        refuse_judges(self)
        kept = set(self.state_dict())
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers() if name not in kept]

    def translate(self, batch: Any, **controls: Any) -> Tensor:
        """Return the translated images of a batch.

        Args:
            batch: a batch of the method's task.
            **controls: the translator's declared controls.

        Returns:
            (B, 3, H, W) images in [0, 1].
        """
        return self.translate_with(self.translator, batch, **controls)

    @classmethod
    def translate_with(cls, translator: Translator, batch: Any, **controls: Any) -> Tensor:
        """Do what `translate` does with a translator that was loaded alone, without the method's losses and encoder."""
        roles = cls.task.evaluated
        style = getattr(batch, roles["style"]) if translator.takes_style else None
        return translator.translate(getattr(batch, roles.get("content", "content")), style=style, **controls)

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

    def log_and_sum(self, terms: Terms, weights: Mapping[str, float], stage: str = "train") -> Tensor:
        """Return the weighted sum of loss terms, and keep each of them for the loggers, without a host sync.

        Logged per term: `<stage>/loss/<term>` (unweighted, comparable over a weight sweep) and
        `<stage>/weighted/<term>`; a term given per layer is summed, and each layer is logged as `<term>_<layer>`.

        Args:
            terms: scalar batch means by name, or, for a term of several layers, scalars by layer.
            weights: the factor of each term.
            stage: `train` or `val`.

        Returns:
            The weighted total, a scalar with gradient.

        Raises:
            ValueError: if a term has no weight.
        """
        missing = sorted(set(terms) - set(weights))
        if missing:
            raise ValueError(f"no weight for the loss terms {missing}; weights are given for {sorted(weights)}")
        logged = self.latest[stage] = {}
        sums: dict[str, Tensor] = {}
        for name, term in terms.items():
            if isinstance(term, Mapping):
                for layer, value in term.items():
                    logged[f"{stage}/loss/{name}_{layer}"] = value.detach()
                    logged[f"{stage}/weighted/{name}_{layer}"] = weights[name] * value.detach()
                term = torch.stack(list(term.values())).sum()
            sums[name] = term
            logged[f"{stage}/loss/{name}"] = term.detach()
            logged[f"{stage}/weighted/{name}"] = weights[name] * term.detach()
        total = torch.stack([weights[name] * term for name, term in sums.items()]).sum()
        logged[f"{stage}/loss/total"] = total.detach()
        if stage == "train":
            self._watch(sums)
        return total

    def _watch(self, sums: Mapping[str, Tensor]) -> None:
        """Remember, on the device, the first batch at which each term was not finite."""
        values = torch.stack([term.detach().float() for term in sums.values()])
        if self._first_bad is None:
            self._guarded = tuple(sums)
            self._first_bad = torch.full((len(sums),), -1, dtype=torch.int64, device=values.device)
        fresh = ~torch.isfinite(values) & (self._first_bad < 0)
        self._first_bad = torch.where(fresh, self.batches_done + 1, self._first_bad)

    def check_finite(self) -> None:
        """Read the flags that `log_and_sum` gathered; call it at every log and before every checkpoint.

        With several processes all must call it: a term that is bad on one stops all of them.

        Raises:
            NonFiniteLossError: naming each non-finite term and the batch at which it first was so.
        """
        if self._first_bad is None:
            return
        never = torch.iinfo(torch.int64).max
        first = torch.where(self._first_bad < 0, never, self._first_bad)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(first, op=torch.distributed.ReduceOp.MIN)
        bad = {name: batch for name, batch in zip(self._guarded, first.tolist(), strict=True) if batch < never}
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

    def update(
        self,
        optimizer: Any,
        loss: Tensor,
        parameters: Iterable[nn.Parameter],
        clip_norm: float | None = None,
    ) -> None:
        """Take one optimizer step for one player of a method with several (manual optimisation).

        Zero, backward, gradient sync, clip, step. Gradients that the loss left in other players' parameters are
        the caller's to avoid: freeze those players while this one moves.

        Args:
            optimizer: what `self.optimizers()` gave for this player.
            loss: the scalar to minimise.
            parameters: the player's parameters.
            clip_norm: largest gradient norm over the player, None = no limit.
        """
        players = [parameter for parameter in parameters if parameter.requires_grad]
        optimizer.zero_grad(set_to_none=True)
        strategy = self.trainer.strategy
        # DDP's own reduction expects every parameter to have a gradient; this player's are averaged alone, below.
        with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else contextlib.nullcontext():
            self.manual_backward(loss)
        self.sync_gradients(players)
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
        ValueError: if one is no finite number of at least 0.
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(f"model.weight_{name} must be a finite number of at least 0, got {weight!r}")
