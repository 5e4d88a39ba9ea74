"""No adaptation: the network is trained on the source, and tested as it is."""

from stylebench.adaptation.base import Strategy


class NoAdaptation(Strategy):
    """Leave the network alone; its row in tables is called source only."""
