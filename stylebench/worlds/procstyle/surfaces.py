"""The geometry of scenes on a pixel grid: distances to outlines, which object is seen, surface normals and light.

All of it is a function of the scene alone; styles come on top. Planes of distances have a border of one pixel all
around, so that slopes can be taken at the picture's rim.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.worlds.procstyle.scenes import OBJECTS, Scenes
from stylebench.worlds.procstyle.shapes import UNIT_SHAPES, length
from stylebench.worlds.procstyle.texture import round_wave

_LAYERS = OBJECTS[1] + 1  # the background is layer 0
_FAR = 4.0  # distance of an object that isn't there, in picture sides
_GROUND = -1.0  # distance inside the background, which has no outline
_ROUNDED = 0.5  # widest rounded rim of an object, in radii
_BULGE, _DOME = 0.8, 0.3  # horizontal part of the normal at the rim, and at one radius from the center
_STEEPEST = 0.92  # largest horizontal part of a normal
# Backgrounds, by id: horizontal parts of the normal at (x, y): slope in x, waves in x, slope in y, floor below mid.
_BACKDROPS = ((0.9, 0.0, 0.9, 0.0), (0.25, 0.0, 0.3, -0.7), (0.0, 0.34, 0.35, 0.0), (-0.75, 0.0, -0.75, 0.0))
_WAVES, _HORIZON, _SWEEP = 3.0, 0.5, 0.22  # folds in a picture's width; where the floor begins; its rounded edge
_CEL_BORDERS, _CEL_RAMP, _CEL_LEVELS = (0.5, 0.8), 0.03, (0.3, 0.65, 1.0)

Points = tuple[Tensor, Tensor]


class Surface(NamedTuple):
    """What is seen at a list of pixels; every plane is (B, M).

    Attributes:
        layer: int64, 0 = background, n = the scene's n-th object.
        distance: signed distance to the outline of that layer, in picture sides; -1 on the background.
        x: place of the pixel's center, in picture sides.
        y: the same, downwards.
        normal_x: unit normal, its part to the right.
        normal_y: down.
        normal_z: toward the viewer.
        light: n.l, clamped at 0.
    """

    layer: Tensor
    distance: Tensor
    x: Tensor
    y: Tensor
    normal_x: Tensor
    normal_y: Tensor
    normal_z: Tensor
    light: Tensor


def pixel_grid(size_px: int, device: torch.device) -> Points:
    """Return x (1, 1, W) and y (1, H, 1) of the pixels' centers in picture sides, with the border of one pixel."""
    places = (torch.arange(-1, size_px + 1, device=device, dtype=torch.float32) + 0.5) * (1 / size_px)
    return places[None, None], places[None, :, None]


def outline_distances(scenes: Scenes, points: Points) -> Tensor:
    """Measure signed distances from points to every object's outline.

    Args:
        scenes: B scenes.
        points: x and y in picture sides, broadcastable to (B, H, W).

    Returns:
        (B, 7, H, W): layer 0 is the background at -1 everywhere, absent objects lie 4 sides away.
    """
    height, width = points[1].shape[-2], points[0].shape[-1]
    planes = torch.full((len(scenes) * OBJECTS[1], height, width), _FAR, device=scenes.device)
    shapes = scenes.shape.flatten()
    per_size = 1 / scenes.size.flatten()
    centers, turns = scenes.center.flatten(0, 1), scenes.turn.flatten(0, 1)
    for number, shape in enumerate(UNIT_SHAPES.values()):
        rows = (shapes == number).nonzero().flatten()
        if not len(rows):
            continue
        picture = rows.div(OBJECTS[1], rounding_mode="floor")
        x, y = (place if len(place) == 1 else place[picture] for place in points)
        scale, center = per_size[rows, None, None], centers[rows, :, None, None]
        cosine, sine = (turns[rows, part, None, None] * scale for part in (0, 1))
        x, y = x - center[:, 0], y - center[:, 1]
        distance = shape.distance(x * cosine + y * sine, y * cosine - x * sine)  # (K, H, W)
        planes[rows] = distance * scenes.size.flatten()[rows, None, None]
    planes = planes.view(len(scenes), OBJECTS[1], height, width)
    ground = planes.new_full((len(scenes), 1, height, width), _GROUND)
    return torch.cat([ground, planes], 1)


def top_layer(distances: Tensor, reach: Tensor | float, below: Tensor | None = None) -> Tensor:
    """Find the front layer at each place.

    Args:
        distances: (B, 7, ...) of `outline_distances`.
        reach: how far outside its outline a layer still counts, in picture sides; broadcastable to a plane.
        below: only layers behind this one count, (B, ...) int64; None = all.

    Returns:
        (B, ...) int64.
    """
    front = torch.zeros_like(distances[:, 0], dtype=torch.int64)
    for layer in range(1, distances.shape[1]):
        hit = distances[:, layer] < reach
        if below is not None:
            hit = hit & (below > layer)
        front = torch.where(hit, layer, front)
    return front


def look(scenes: Scenes, distances: Tensor, layer: Tensor, pixel: Tensor) -> Surface:
    """Describe the surface of given layers at given pixels.

    Args:
        scenes: B scenes.
        distances: (B, 7, S + 2, S + 2) over `pixel_grid`.
        layer: (B, M) int64, the layer that is seen.
        pixel: (B, M) or (1, M) int64, flat positions in the bordered grid, none of them in the border.

    Returns:
        The surface; its slopes are central differences over two pixels.
    """
    side = distances.shape[-1]
    size_px = side - 2
    flat = distances.flatten(1)
    place = layer * (side * side) + pixel
    distance = flat.gather(1, place)
    slope_x, slope_y = (
        (flat.gather(1, place + step) - flat.gather(1, place - step)) * (size_px / 2) for step in (1, side)
    )
    row = pixel.div(side, rounding_mode="floor")
    x, y = (((part - 1).to(torch.float32) + 0.5) * (1 / size_px) for part in (pixel - row * side, row))
    normal_x, normal_y = _normals(scenes, layer, distance, (slope_x, slope_y), (x, y))
    steep = length(normal_x, normal_y)
    flatter = (_STEEPEST / steep.clamp(min=1e-6)).clamp(max=1)
    normal_x, normal_y = normal_x * flatter, normal_y * flatter
    normal_z = (1 - normal_x * normal_x - normal_y * normal_y).sqrt()
    toward = scenes.light[:, :, None]
    light = (normal_x * toward[:, 0] + normal_y * toward[:, 1] + normal_z * toward[:, 2]).clamp(min=0)
    x, y = (part.expand_as(layer) for part in (x, y))
    return Surface(layer, distance, x, y, normal_x, normal_y, normal_z, light)


def _normals(scenes: Scenes, layer: Tensor, distance: Tensor, slopes: Points, places: Points) -> Points:
    """Return the horizontal parts of the normals, objects with a rounded rim and a dome, backdrops with their form."""
    inner = torch.tensor([min(_ROUNDED, shape.inner_radius) for shape in UNIT_SHAPES.values()], device=scenes.device)
    rim = _per_layer(1 / (inner[scenes.shape.clamp(min=0)] * scenes.size), layer)
    dome = _per_layer(_DOME / scenes.size, layer)
    bulge = (1 + distance * rim).clamp(0, 1) * _BULGE
    form = torch.tensor(_BACKDROPS, device=scenes.device)[scenes.background][:, :, None]  # (B, 4, 1)
    x, y = places
    floor = ((y - _HORIZON) * (1 / _SWEEP)).clamp(0, 1)
    floor = floor * floor * (3 - 2 * floor)
    ground_x = (x - 0.5) * form[:, 0] + round_wave(x * _WAVES) * form[:, 1]
    ground_y = (y - 0.5) * form[:, 2] + floor * form[:, 3]
    on_ground = layer == 0
    normals = []
    for part, ground in enumerate((ground_x, ground_y)):
        center = _per_layer(scenes.center[:, :, part], layer)
        normals.append(torch.where(on_ground, ground, slopes[part] * bulge + (places[part] - center) * dome))
    return normals[0], normals[1]


def _per_layer(values: Tensor, layer: Tensor) -> Tensor:
    """Spread values of objects, (B, 6), over the pixels of their layers, (B, M); 0 on the background."""
    return torch.nn.functional.pad(values, (1, 0)).gather(1, layer)


def cel_steps(light: Tensor) -> Tensor:
    """Return the stepped form of n.l that cel shading uses: dark, middle and lit.

    Args:
        light: n.l in [0, 1], any shape.

    Returns:
        Values in [0.3, 1], the same shape: 0.3, 0.65 and 1 with short ramps at n.l = 0.5 and 0.8.
    """
    steps = torch.full_like(light, _CEL_LEVELS[0])
    for border, low, high in zip(_CEL_BORDERS, _CEL_LEVELS[:-1], _CEL_LEVELS[1:], strict=True):
        steps = steps + ((light - border) * (1 / _CEL_RAMP) + 0.5).clamp(0, 1) * (high - low)
    return steps
