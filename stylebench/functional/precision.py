"""Float32 islands: the few places where half precision would overflow or lose the result."""

import contextlib

import torch
from torch import Tensor


def float32_island(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context without autocast on the tensor's device; operands are lifted with `at_least_float32` inside."""
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Lift half types to float32; float32 and float64 (gradcheck, exactness tests) pass without a copy."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
