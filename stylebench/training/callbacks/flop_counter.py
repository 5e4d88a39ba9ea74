"""Counting of floating-point operations, second derivatives included."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Add up the operations of matrix products, convolutions and attention in a `with` block, by torch's formulas.

    torch's own `FlopCounterMode` also says which module they belong to, by hooks that fail where gradients are taken
    of gradients (penalties).

    Attributes:
        total: operations so far; a multiplication with its addition counts as two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=result))
        return result
