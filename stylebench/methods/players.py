"""Players: networks that learn in turn, each with an optimizer of its own (a generator against a discriminator)."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn

from stylebench.functional.schedules import Constant, Schedule
from stylebench.methods.terms import LossTerms

Step = Callable[[tuple[str, ...], Tensor, float | None], None]


class Players(LossTerms):
    """A module whose players move in turn: `with self.moving("generator"): self.update(loss)`.

    A player is a network, named in `players` by its attribute (or several that learn as one, such as the generators of
    two directions). One phase may move several players by one loss: `with self.moving("generator", "style_encoder"):`.

    Attributes:
        schedule: the factor of every learning rate, by the number of finished batches.
        mid_update: whether a batch has begun to change weights and has not ended.
    """

    schedule: Schedule = Constant()

    def __init__(self) -> None:
        super().__init__()
        self.mid_update = False
        self._moving: tuple[str, ...] = ()
        self._step: Step | None = None
        self._clip_norm: float | None = None

    def player_parameters(self, *players: str) -> list[nn.Parameter]:
        """Return the weights that players move, each once."""
        networks = [self.get_submodule(name) for player in players for name in self.players[player]]
        return list(dict.fromkeys(parameter for network in networks for parameter in network.parameters()))

    @contextlib.contextmanager
    def moving(self, *players: str, phase: str | None = None) -> Iterator[None]:
        """Begin a phase: freeze the weights of all players but these; gradients flow through the frozen networks.

        Args:
            *players: keys of `players`.
            phase: name under which the phase's terms are logged, beginning with a player's; None for the players'
                names, joined by underscores.

        Raises:
            ValueError: if no player is given, or one is unknown.
        """
        if not players or not set(players) <= set(self.players):
            raise ValueError(
                f"moving takes players of {type(self).__name__}, {', '.join(self.players) or 'which has none'}; got "
                f"{', '.join(players) or 'none'}"
            )
        own = set(self.player_parameters(*players))
        frozen = [p for p in self.player_parameters(*self.players) if p.requires_grad and p not in own]
        before = self._moving, self.phase
        self._moving, self.phase = players, phase or "_".join(players)
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            self._moving, self.phase = before

    def update(self, loss: Tensor, clip_norm: float | None = None) -> None:
        """Take one optimizer step of each moving player: zero, backward, gradient sync, clip, step.

        In validation nothing moves, so that a step can be run for its terms alone.

        Args:
            loss: the scalar to minimize.
            clip_norm: largest gradient norm over a player, None = no limit.

        Raises:
            RuntimeError: if it is called outside of `with self.moving(...):`.
        """
        if not self._moving:
            raise RuntimeError("update moves the players of a phase; call it inside `with self.moving(<player>):`")
        if self.stage != "val":
            (self._step or self._step_in_trainer)(self._moving, loss, clip_norm)

    @contextlib.contextmanager
    def stepping_by(self, step: Step) -> Iterator[None]:
        """Have `update` hand players, loss and clip norm to another function, for the time of a `with` block."""
        before, self._step = self._step, step
        try:
            yield
        finally:
            self._step = before

    def sync_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average the gradients of a phase over the processes, in one collective call a dtype.

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

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates by the number of batches done, which goes on where a stopped run was."""
        self.mid_update = bool(self.players)  # noise is drawn, pools and norms change before the first player moves
        factor = self.schedule.factor(self.batches_done)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

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

    def _step_in_trainer(self, players: tuple[str, ...], loss: Tensor, clip_norm: float | None) -> None:
        found: Any = self.optimizers()
        by_player = dict(zip(self.players, found if isinstance(found, list) else [found], strict=True))
        moved = {player: by_player[player] for player in players}
        for optimizer in moved.values():
            optimizer.zero_grad(set_to_none=True)
        strategy = self.trainer.strategy
        # DDP's own reduction expects every parameter to have a gradient; those of this phase are averaged alone, below.
        with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else contextlib.nullcontext():
            self.manual_backward(loss)
        self.sync_gradients([p for p in self.player_parameters(*players) if p.grad is not None])
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is None:  # else gradients are scaled until the step
            self._log_norms(players)
        scale = None if scaler is None else scaler.get_scale()
        self._clip_norm = clip_norm
        for player, optimizer in moved.items():
            if scaler is not None and (now := scaler.get_scale()) != scale:  # changed by the step of another player
                torch._foreach_mul_(self._gradients(player), now / scale)
            optimizer.step()
        self._clip_norm = None

    def _log_norms(self, players: tuple[str, ...]) -> None:
        norms = {player: nn.utils.get_total_norm(self._gradients(player)) for player in players}
        if len(norms) == 1:
            self.log_health({f"gradient_norm_{self.phase}": norm for norm in norms.values()})
        else:
            self.log_health({f"gradient_norm_{self.phase}_{player}": norm for player, norm in norms.items()})

    def _gradients(self, player: str) -> list[Tensor]:
        return [p.grad for p in self.player_parameters(player) if p.grad is not None]
