"""Scenes: drawn from their keys alone, within their ranges, nothing hidden."""

import json
import math

import torch

from stylebench.worlds.procstyle import SHAPES, Scenes, draw_scenes, scene_labels, visible_shares
from stylebench.worlds.procstyle.scenes import OBJECTS

KEYS = [f"train-0-{number:05d}" for number in range(60)]


def equal(a: Scenes, b: Scenes) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in Scenes.__dataclass_fields__)


def test_a_scene_is_a_function_of_its_key() -> None:
    scenes = draw_scenes(KEYS)
    shuffled = draw_scenes(KEYS[::-1])
    assert equal(scenes, shuffled.select(range(len(KEYS) - 1, -1, -1)))
    assert equal(scenes.select([7]), draw_scenes([KEYS[7]]))
    assert not equal(scenes.select([7]), draw_scenes(["train-1-00007"]))


def test_numbers_lie_in_their_ranges() -> None:
    scenes = draw_scenes(KEYS)
    present = scenes.shape >= 0
    assert torch.equal(present.sum(1), scenes.count)
    assert int(scenes.count.min()) == OBJECTS[0]
    assert int(scenes.count.max()) == OBJECTS[1]
    for values, low, high in (
        (scenes.center[present], 0.15, 0.85),
        (scenes.size[present], 0.07, 0.22),
        (scenes.material[present], 0, 5),
        (scenes.background, 0, 3),
        (scenes.shape[present], 0, 7),
    ):
        assert low <= float(values.min()) < low + 0.2 * (high - low) + 1e-6
        assert high - 0.2 * (high - low) - 1e-6 < float(values.max()) <= high
    torch.testing.assert_close(scenes.light.norm(dim=1), torch.ones(len(scenes)))
    torch.testing.assert_close(scenes.turn.norm(dim=2), torch.ones(len(scenes), OBJECTS[1]))
    assert float(scenes.light[:, 1].max()) < 0  # from above: y points down


def test_every_object_keeps_a_quarter_of_its_area() -> None:
    scenes = draw_scenes([f"visible-{number}" for number in range(80)])
    assert float(visible_shares(scenes, 128).min()) >= 0.25
    # Counted otherwise: pixels of the mask against pixels of the object drawn alone.
    for index in range(0, 80, 8):
        scene = scenes.select([index])
        seen = scene_labels(scene, 128).instances
        for number in range(int(scene.count[0])):
            alone = Scenes(
                torch.tensor([1]),
                torch.where(torch.arange(6) == number, scene.shape, -1),
                *(getattr(scene, name) for name in ("center", "size", "turn", "material", "background", "light")),
            )
            whole = (scene_labels(alone, 128).instances > 0).sum()
            assert int((seen == number + 1).sum()) >= 0.25 * int(whole)


def test_hidden_objects_are_noticed() -> None:
    scene = draw_scenes(["any"]).select([0, 0])
    shape = torch.tensor([[1, 0, -1, -1, -1, -1], [0, 1, -1, -1, -1, -1]])  # square and disc
    center = torch.full_like(scene.center, 0.5)
    size = torch.full_like(scene.size, 0.2)
    size[:, 0] = torch.tensor([0.1, 0.2])  # the first object: a small square behind a large disc
    size[:, 1] = torch.tensor([0.2, 0.05])
    scenes = Scenes(
        torch.tensor([2, 2]), shape, center, size, scene.turn, scene.material, scene.background, scene.light
    )
    shares = visible_shares(scenes, 128)
    assert float(shares[0, 0]) == 0
    assert float(shares[0, 1]) == 1
    # A square of half width 0.82 * 0.05 covers (2 * 0.041)^2 less its corners of a disc of radius 0.92 * 0.2.
    hidden = (0.082**2 - (4 - math.pi) * 0.004**2) / (math.pi * 0.184**2)
    assert abs(float(shares[1, 0]) - (1 - hidden)) < 5e-3


def test_scene_json_tells_all() -> None:
    scenes = draw_scenes(KEYS[:5])
    told = json.loads(json.dumps(scenes.scene_json(3)))
    assert len(told["objects"]) == int(scenes.count[3])
    for number, thing in enumerate(told["objects"]):
        assert SHAPES.index(thing["shape"]) == int(scenes.shape[3, number])
        turn = torch.tensor([math.cos(thing["angle"]), math.sin(thing["angle"])])
        torch.testing.assert_close(turn, scenes.turn[3, number])
        assert thing["x"] == float(scenes.center[3, number, 0])
    assert told["background"] == int(scenes.background[3])


def test_select_and_move() -> None:
    scenes = draw_scenes(KEYS[:4])
    assert len(scenes.select(slice(1, 3))) == 2
    assert equal(scenes.select(torch.tensor([2, 0])).select([1]), scenes.select([0]))
    assert scenes.to("meta").device.type == "meta"
