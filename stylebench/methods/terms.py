"""Loss terms: weighted, summed, kept by name and phase for the loggers, and watched for what is not finite."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from stylebench.methods.clock import BatchClock

OptimizerBuilder = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

Terms = Mapping[str, Tensor | Mapping[str, Tensor]]


class NonFiniteLossError(FloatingPointError):
    """A loss term became NaN or infinite."""


class LossTerms(BatchClock):
    """A module that keeps its newest loss terms on the device, until a logger or a checkpoint asks for them.

    A step of several players has phases: in each some of them move, by a loss of their own. The name of a phase begins
    with that of the player whose loss it is (`generator`, `generator_latent`). A method without players has one phase
    without a name.

    Attributes:
        players: attribute names of the networks of each player, by player, in the order of their optimizers.
        build_optimizers: build an optimizer each, by the names that the config gives them.
        latest: the newest values by column, of `train` and of `val`.
    """

    players: ClassVar[Mapping[str, Sequence[str]]] = {}
    build_optimizers: Mapping[str, OptimizerBuilder] = MappingProxyType({})

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}}
        self.phase: str | None = None
        self.stage: str | None = "train"
        self._columns: dict[tuple[str, str | None], list[str]] = {}
        self._totals: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}}
        self._first_bad: dict[tuple[str | None, tuple[str, ...]], Tensor] = {}

    @contextlib.contextmanager
    def logging_for(self, stage: str | None) -> Iterator[None]:
        """Keep terms for another stage in a `with` block: `train`, `val`, or None to keep nothing."""
        before, self.stage = self.stage, stage
        try:
            yield
        finally:
            self.stage = before

    def log_and_sum(
        self, terms: Terms, weights: Mapping[str, float], *, stage: str | None = None, phase: str | None = None
    ) -> Tensor:
        """Return the weighted sum of loss terms, and keep each of them for the loggers, without a host sync.

        Logged per term: `<stage>/loss/<term>` (unweighted, comparable over a weight sweep) and
        `<stage>/weighted/<term>`; a term given per layer is summed, and each layer is logged as `<term>_<layer>`.
        Terms of a phase are logged as `<phase>_<term>`, beside what the other phases logged; the total of a method is
        the sum of its first player's phases.

        Args:
            terms: scalar batch means by name, or, for a term of several layers, scalars by layer.
            weights: the factor of each term.
            stage: `train` or `val`; None for the one that is running.
            phase: name of the phase; None for the one that `moving` began.

        Returns:
            The weighted total, a scalar with gradient.

        Raises:
            ValueError: if a term has no weight.
        """
        missing = sorted(set(terms) - set(weights))
        if missing:
            raise ValueError(f"no weight for the loss terms {missing}; weights are given for {sorted(weights)}")
        sums = {
            name: torch.stack(list(term.values())).sum() if isinstance(term, Mapping) else term
            for name, term in terms.items()
        }
        weighted = {name: weights[name] * term for name, term in sums.items()}
        total = torch.stack(list(weighted.values())).sum()
        stage = self.stage if stage is None else stage
        phase = self.phase if phase is None else phase
        if stage is None:
            return total
        prefix = "" if phase is None else f"{phase}_"
        columns: dict[str, Tensor] = {}
        for name, term in terms.items():
            for layer, value in term.items() if isinstance(term, Mapping) else ():
                columns[f"{stage}/loss/{prefix}{name}_{layer}"] = value.detach()
                columns[f"{stage}/weighted/{prefix}{name}_{layer}"] = weights[name] * value.detach()
            columns[f"{stage}/loss/{prefix}{name}"] = sums[name].detach()
            columns[f"{stage}/weighted/{prefix}{name}"] = weighted[name].detach()
        columns[f"{stage}/loss/{prefix}total"] = total.detach()
        self._keep(stage, phase, columns)
        if stage == "train":
            self._watch(phase, {prefix + name: term for name, term in sums.items()})
        return total

    def log_health(self, values: Mapping[str, Tensor]) -> None:
        """Keep scalars that say how training goes, for the loggers: `train/health/<name>`; no host sync."""
        if self.stage == "train":
            self.latest["train"] |= {f"train/health/{name}": value.detach() for name, value in values.items()}

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
        named = [(phase, name) for phase, group in self._first_bad for name in group]
        bad: dict[str, int] = {}
        movers: set[str | None] = set()
        for (phase, name), batch in zip(named, first.tolist(), strict=True):  # a term may stand in several groups
            if batch < never:
                bad[name] = min(batch, bad.get(name, never))
                movers.add(self._player(phase))
        if bad:
            listed = ", ".join(f"'{name}' at batch {batch}" for name, batch in bad.items())
            raise NonFiniteLossError(
                f"the loss is not finite: {listed}. No checkpoint was written since. Lower {self._rate_keys(movers)} "
                "or the weight of that term, use trainer.precision=32-true, or look for unusual images in the data"
            )

    def check_weights_finite(self) -> None:
        """Look at every trained weight; a finite loss can have an infinite gradient, which shows only afterwards.

        Raises:
            NonFiniteLossError: naming the first weights that are not finite.
        """
        bad = [name for name, weight in self.named_parameters() if not bool(torch.isfinite(weight).all())]
        if bad:
            movers = {
                player
                for player, networks in self.players.items()
                if any(name.startswith(f"{network}.") for network in networks for name in bad)
            }
            raise NonFiniteLossError(
                f"weights are not finite after batch {self.batches_done}: {', '.join(bad[:3])}"
                f"{', ...' if len(bad) > 3 else ''}. A gradient was infinite while the loss was not; no checkpoint of "
                f"this was written. Lower {self._rate_keys(movers)}, or use trainer.precision=32-true"
            )

    def _keep(self, stage: str, phase: str | None, columns: dict[str, Tensor]) -> None:
        """Put a phase's newest terms in place of its earlier ones: of these none may stay that is not given now."""
        latest = self.latest[stage]
        for name in self._columns.get((stage, phase), []):
            latest.pop(name, None)
        latest |= columns
        self._columns[stage, phase] = list(columns)
        player = self._player(phase)
        if phase is not None and player is not None and player == next(iter(self.players)):
            totals = self._totals[stage]
            totals[phase] = columns[f"{stage}/loss/{phase}_total"]
            latest[f"{stage}/loss/total"] = functools.reduce(torch.add, totals.values())

    def _watch(self, phase: str | None, sums: Mapping[str, Tensor]) -> None:
        """Remember, on the device, the first batch at which each term was not finite."""
        values = torch.stack([term.detach().float() for term in sums.values()])
        group = phase, tuple(sums)
        first = self._first_bad.get(group)
        if first is None:
            first = torch.full((len(sums),), -1, dtype=torch.int64, device=values.device)
        fresh = ~torch.isfinite(values) & (first < 0)
        self._first_bad[group] = torch.where(fresh, self.batches_done + 1, first)

    def _player(self, phase: str | None) -> str | None:
        """Return the player whose loss a phase is: the longest that its name begins with."""
        named = [player for player in self.players if f"{phase}_".startswith(f"{player}_")]
        return max(named, key=len, default=None)

    def _rate_keys(self, movers: Collection[str | None]) -> str:
        """Return the config keys of players' learning rates, of all optimizers if none of them is named."""
        names = [player for player in self.players if player in movers] or list(self.players)
        keys = [f"model.optimizers.{name}.lr" for name in names or self.build_optimizers]
        return " or ".join(keys) or "the learning rate"
