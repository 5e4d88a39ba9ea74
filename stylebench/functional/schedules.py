"""Learning-rate schedules as pure functions of the number of finished batches: nothing to save, nothing to step."""

from dataclasses import dataclass

from stylebench.checks import check_number, check_whole


@dataclass(frozen=True)
class EpochDecay:
    """Constant for some epochs, then falling in equal steps, one an epoch, almost to zero.

    An epoch is a given share of the run, so that a run of any length goes through the whole schedule.

    Attributes:
        batches: length of the run.
        constant_epochs: epochs at the full rate.
        decay_epochs: epochs in which it falls; 0 for a constant rate.

    Source: junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py (`lr_policy=linear`): the factor in epoch e, from
        0, is 1 - max(0, e + 1 - constant_epochs) / (decay_epochs + 1).
    """

    batches: int
    constant_epochs: int
    decay_epochs: int

    def __post_init__(self) -> None:
        check_whole("batches", self.batches)
        check_whole("constant_epochs", self.constant_epochs, 0)
        check_whole("decay_epochs", self.decay_epochs, 0)
        if self.constant_epochs + self.decay_epochs == 0:
            raise ValueError(
                "constant_epochs and decay_epochs are both 0, so there are no epochs; set one of them above 0"
            )

    def factor(self, batches_done: int) -> float:
        """Return the factor of the learning rate of the next batch."""
        epochs = self.constant_epochs + self.decay_epochs
        epoch = batches_done * epochs // self.batches
        return max(0.0, 1.0 - max(0, epoch + 1 - self.constant_epochs) / (self.decay_epochs + 1))


@dataclass(frozen=True)
class LinearDecay:
    """Constant, then falling linearly to zero at the end of the run.

    Attributes:
        batches: length of the run.
        constant_share: share of the run at the full rate, in [0, 1].
    """

    batches: int
    constant_share: float

    def __post_init__(self) -> None:
        check_whole("batches", self.batches)
        check_number("constant_share", self.constant_share, 0, 1)

    def factor(self, batches_done: int) -> float:
        """Return the factor of the learning rate of the next batch."""
        falling = self.batches - self.constant_share * self.batches
        left = self.batches - batches_done
        if left >= falling or not falling:  # a profile goes on behind the end
            return 1.0
        return max(0.0, left / falling)


@dataclass(frozen=True)
class SubtractiveDecay:
    """Constant, then a fixed amount less every so many batches.

    Attributes:
        start: batches at the full rate.
        every: batches between two subtractions, the first after `start + every`.
        amount: what is subtracted, as a share of the full rate.

    Source: yunjey/stargan, solver.py: every 1000 of the last 100,000 batches 1/100,000 of the rate is subtracted, so
        that it ends at 0.999 of what it was; the paper means a decay to zero.
    """

    start: int
    every: int
    amount: float

    def __post_init__(self) -> None:
        check_whole("start", self.start, 0)
        check_whole("every", self.every)
        check_number("amount", self.amount, 0, 1)

    def factor(self, batches_done: int) -> float:
        """Return the factor of the learning rate of the next batch."""
        return max(0.0, 1.0 - max(0, (batches_done - self.start) // self.every) * self.amount)


@dataclass(frozen=True)
class InverseDecay:
    """Falling as 1 / (1 + d t) after t batches.

    Attributes:
        decay: d, >= 0.
    """

    decay: float

    def __post_init__(self) -> None:
        check_number("decay", self.decay)

    def factor(self, batches_done: int) -> float:
        """Return the factor of the learning rate of the next batch."""
        return 1.0 / (1.0 + self.decay * batches_done)


@dataclass(frozen=True)
class InversePower:
    """Falling as (1 + s p)^-e with the share p of the run that is done.

    Attributes:
        batches: length of the run.
        speed: s, >= 0.
        power: e, >= 0.

    Source: Ganin et al. 2016, section 5.2.2: 0.01 / (1 + 10 p)^0.75.
    """

    batches: int
    speed: float
    power: float

    def __post_init__(self) -> None:
        check_whole("batches", self.batches)
        check_number("speed", self.speed)
        check_number("power", self.power)

    def factor(self, batches_done: int) -> float:
        """Return the factor of the learning rate of the next batch."""
        return float((1.0 + self.speed * min(1.0, batches_done / self.batches)) ** -self.power)


@dataclass(frozen=True)
class Constant:
    """The full rate throughout."""

    def factor(self, batches_done: int) -> float:
        """Return 1."""
        return 1.0


Schedule = EpochDecay | LinearDecay | SubtractiveDecay | InverseDecay | InversePower | Constant
