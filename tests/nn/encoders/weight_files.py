"""Files of weights as the package ships them, of random networks."""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from stylebench.nn.encoders import Encoder


def state_of(encoder: Encoder) -> dict[str, Tensor]:
    """Name the encoder's tensors as files of weights do."""
    convs = {key: conv for stage in encoder.stages.values() for key, conv in stage.convs().items()}
    return {f"{key}.{part}": getattr(conv, part) for key, conv in convs.items() for part in ("weight", "bias")}


def write_weights(
    state: dict[str, Tensor], path: Path, claims: dict[str, str] | None = None, dtype: torch.dtype = torch.float16
) -> Path:
    """Write a safetensors file that claims what it is told to."""
    safetensors.torch.save_file({key: tensor.to(dtype) for key, tensor in state.items()}, path, claims)
    return path
