"""Scenes: what a picture shows, apart from how.

Source: experiments/worlds/README.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from stylebench.worlds.procstyle.shapes import UNIT_SHAPES

# Version of scenes, styles and renderer together: raise it when a picture changes.
VERSION = 1
SHAPES: tuple[str, ...] = tuple(UNIT_SHAPES)
OBJECTS = (2, 6)  # fewest and most objects in a scene
MATERIALS = 6  # of objects; the backgrounds follow in number
BACKGROUNDS = 4


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes of up to six objects; later objects lie in front of earlier ones.

    Coordinates are parts of the picture's side, x to the right, y down.

    Attributes:
        count: (B,) int64, objects in a scene.
        shape: (B, 6) int64 position in `SHAPES`, -1 where there is no object.
        center: (B, 6, 2) x and y, in [0.15, 0.85].
        size: (B, 6) radius, in [0.07, 0.22].
        turn: (B, 6, 2) cosine and sine of the angle by which an object is turned, from +x toward +y.
        material: (B, 6) int64 in 0..5.
        background: (B,) int64 in 0..3.
        light: (B, 3) unit vector toward the light, z toward the viewer.
    """

    count: Tensor
    shape: Tensor
    center: Tensor
    size: Tensor
    turn: Tensor
    material: Tensor
    background: Tensor
    light: Tensor

    def __len__(self) -> int:
        return len(self.count)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.count.device

    def to(self, device: str | torch.device) -> "Scenes":
        """Return the scenes on a device."""
        return Scenes(*(getattr(self, item.name).to(device) for item in fields(self)))

    def select(self, indices: Sequence[int] | slice | Tensor) -> "Scenes":
        """Return the scenes at `indices`, in that order."""
        chosen = indices if isinstance(indices, slice | Tensor) else list(indices)
        return Scenes(*(getattr(self, item.name)[chosen] for item in fields(self)))

    def scene_json(self, index: int) -> dict[str, Any]:
        """Return one scene as plain values: its objects from back to front, background and light."""
        objects = [
            {
                "shape": SHAPES[int(self.shape[index, n])],
                "x": float(self.center[index, n, 0]),
                "y": float(self.center[index, n, 1]),
                "size": float(self.size[index, n]),
                "angle": math.atan2(float(self.turn[index, n, 1]), float(self.turn[index, n, 0])),
                "material": int(self.material[index, n]),
            }
            for n in range(int(self.count[index]))
        ]
        return {
            "objects": objects,
            "background": int(self.background[index]),
            "light": [float(part) for part in self.light[index]],
        }
