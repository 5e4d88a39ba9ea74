"""What is known about a scene's picture without looking at it: masks, classes, depth, edges, normals, light."""

from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.worlds.procstyle.scenes import MATERIALS, OBJECTS, SHAPES, Scenes
from stylebench.worlds.procstyle.surfaces import look, outline_distances, pixel_grid, top_layer


class SceneLabels(NamedTuple):
    """Labels of B pictures; a pixel belongs to the front object whose outline encloses its center.

    Attributes:
        instances: (B, H, W) int64, 0 = background, n = the scene's n-th object.
        semantic: (B, H, W) int64, 0 = background, else position in `SHAPES` + 1.
        materials: (B, H, W) int64, 0..5 = objects' materials, 6..9 = backgrounds.
        classes: (B, 8) bool, which shapes occur.
        main_class: (B,) int64 position in `SHAPES` of the object with the largest visible area.
        depth: (B, H, W) distance from the viewer in (0, 1]: 1 on the background, a step of 1/6 nearer for each object.
        edges: (B, H, W) bool, pixels with a neighbor (above, below, left, right) of another instance.
        normals: (B, 3, H, W) unit surface normals: right, down, toward the viewer.
        light: (B, H, W) n.l in [0, 1], as the lambert term uses it.
        contour: (B, H, W) signed distance in pixels to the nearest contour among the object that is seen and those in
            front of it; negative inside an object; on the background the nearest object's.
    """

    instances: Tensor
    semantic: Tensor
    materials: Tensor
    classes: Tensor
    main_class: Tensor
    depth: Tensor
    edges: Tensor
    normals: Tensor
    light: Tensor
    contour: Tensor


def scene_labels(scenes: Scenes, size_px: int) -> SceneLabels:
    """Compute all labels.

    Args:
        scenes: B scenes.
        size_px: height and width of the pictures.

    Returns:
        The labels, on the scenes' device.
    """
    count, device = len(scenes), scenes.device
    distances = outline_distances(scenes, pixel_grid(size_px, device))
    flat = distances[:, :, 1:-1, 1:-1].flatten(2)  # (B, 7, P)
    layer = top_layer(flat, 0.0)
    grid = torch.arange((size_px + 2) ** 2, device=device).view(size_px + 2, -1)
    surface = look(scenes, distances, layer, grid[1:-1, 1:-1].flatten()[None])
    plane = (count, size_px, size_px)
    instances = layer.view(plane)
    shapes = torch.nn.functional.pad(scenes.shape + 1, (1, 0)).gather(1, layer)
    materials = torch.cat([scenes.background[:, None] + MATERIALS, scenes.material], 1).gather(1, layer)
    numbers = torch.arange(1, OBJECTS[1] + 1, device=device)
    areas = (layer[:, None] == numbers[:, None]).sum(2)  # (B, 6)
    classes = torch.zeros(count, len(SHAPES) + 1, dtype=torch.bool, device=device)
    classes.scatter_(1, scenes.shape + 1, True)
    main = scenes.shape.gather(1, areas.argmax(1, keepdim=True))[:, 0]
    return SceneLabels(
        instances=instances,
        semantic=shapes.view(plane),
        materials=materials.view(plane),
        classes=classes[:, 1:],
        main_class=main,
        depth=1 - instances / OBJECTS[1] * (1 - 1e-3),
        edges=_borders(instances),
        normals=torch.stack([surface.normal_x, surface.normal_y, surface.normal_z], 1).view(count, 3, size_px, size_px),
        light=surface.light.view(plane),
        contour=(_nearest_contour(flat, layer) * size_px).view(plane),
    )


def _borders(instances: Tensor) -> Tensor:
    """Mark both sides of every border between instances."""
    edges = torch.zeros_like(instances, dtype=torch.bool)
    across, down = instances[:, :, 1:] != instances[:, :, :-1], instances[:, 1:] != instances[:, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges


def _nearest_contour(distances: Tensor, layer: Tensor) -> Tensor:
    """Return the distance of least size among the seen object's (B, P) and those in front."""
    numbers = torch.arange(distances.shape[1], device=layer.device)[:, None]
    outer = torch.where(numbers > layer[:, None], distances, torch.inf).amin(1)
    own = distances.gather(1, layer[:, None])[:, 0]
    return torch.where(layer == 0, outer, torch.maximum(own, -outer))
