"""What an encoder is trained for: batches drawn from the pictures, and the losses of the tasks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.compact.network import Trainee
from experiments.compact.pictures import SCENES, STYLES, Pictures
from experiments.compact.views import crops, degrade, recolor
from stylebench.worlds.procstyle import SHAPES

_TEMPERATURE = 0.15
_SCENES_SHOWN, _STYLES_SHOWN = 4, 2  # of a block, in a batch
_PER_FILTER = 2
_VIEW_PX = 48
_GROUND = 0.2  # weight of cells without an object, beside those with one
_DENSE = 16  # positions of an image that are compared


@dataclass(frozen=True)
class Design:
    """How much of each kind is in a batch, and which tasks count.

    Attributes:
        blocks: blocks of scenes, 4 scenes x 2 styles each; 0 leaves out objects, masks, traits and drawn styles.
        filters: filter styles, 2 pictures each, beside their unfiltered ones.
        views: leaves and textures, two views each; 0 leaves out views and families.
        pooling: of a compact encoder while it is trained.
        weights: of the losses, by name; one that is missing counts 1.
    """

    blocks: int
    filters: int
    views: int
    pooling: str = "max"
    weights: tuple[tuple[str, float], ...] = ()


# The contrasts pull hard from the first batch on and would drown the recognition of objects, which is slow to start.
_BALANCED = (
    ("main", 2.0), ("masks", 2.0), ("style", 0.3), ("content", 0.3), ("filter_style", 0.3), ("filter_content", 0.3),
    ("views", 0.5), ("family", 0.5),
)  # fmt: skip
# Of about equal cost a batch.
DESIGNS = {
    "labels": Design(blocks=6, filters=4, views=0, weights=_BALANCED),
    "views": Design(blocks=0, filters=8, views=30),
    "all": Design(blocks=5, filters=3, views=12, weights=_BALANCED),
    "all_avg": Design(blocks=5, filters=3, views=12, pooling="avg", weights=_BALANCED),
}


def losses(trainee: Trainee, pictures: Pictures, design: Design, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw a batch and compute every loss of a design.

    Args:
        trainee: the network.
        pictures: to draw from.
        design: what counts.
        generator: of all random choices.

    Returns:
        Scalar losses by name.
    """
    scenes = _Scenes(pictures, design.blocks, generator) if design.blocks else None
    filters = _Filters(pictures, design.filters, generator)
    batch = [filters.images] if scenes is None else [scenes.images, filters.images]
    maps = trainee(torch.cat(batch))
    start = 0 if scenes is None else len(scenes.images)
    described = trainee.describe(maps)
    content = F.normalize(trainee.content(maps[trainee.taps.content]), dim=1)
    embedded = F.normalize(trainee.style(described), dim=1)
    found = {
        "filter_style": contrast(embedded[start:][filters.count :], filters.styles),
        "filter_content": dense_contrast(content[start:], filters.pairs, generator),
    }
    if scenes is not None:
        own = {tap: features[:start] for tap, features in maps.items()}
        found |= {
            "style": contrast(embedded[:start], scenes.styles),
            "content": dense_contrast(content[:start], scenes.pairs, generator),
            "traits": F.binary_cross_entropy_with_logits(trainee.traits(described[:start]), scenes.traits),
            **_scene_losses(trainee, own, scenes),
        }
    if design.views:
        found |= _view_losses(trainee, pictures, design.views, generator)
    weights = dict(design.weights)
    return {name: loss * weights.get(name, 1.0) for name, loss in found.items()}


def _scene_losses(trainee: Trainee, maps: dict[str, Tensor], scenes: "_Scenes") -> dict[str, Tensor]:
    deep = maps[trainee.taps.objects]
    pooled = torch.cat([deep.mean((2, 3)), deep.amax((2, 3))], 1)
    masks = []
    for tap, head in zip(trainee.taps.masks, trainee.masks, strict=True):
        logits = head(maps[tap])
        shares = F.adaptive_avg_pool2d(scenes.semantic, logits.shape[2:])  # of each class in a cell
        weight = 1 - (1 - _GROUND) * shares[:, 0]
        masks.append(-(weight * (shares * logits.log_softmax(1)).sum(1)).sum() / weight.sum())
    return {
        "main": F.cross_entropy(trainee.main(pooled), scenes.main),
        "shapes": F.binary_cross_entropy_with_logits(trainee.shapes(pooled), scenes.shapes),
        "masks": torch.stack(masks).sum(),
    }


def _view_losses(trainee: Trainee, pictures: Pictures, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    places = torch.randint(len(pictures.surfaces), (count,), generator=generator)
    surfaces = (pictures.surfaces[places].float() / 255).repeat(2, 1, 1, 1)
    views = crops(surfaces, _VIEW_PX, (0.4, 0.85), True, generator)
    maps = trainee(degrade(recolor(views, 0.8, generator), 0.4, generator))
    described = trainee.describe(maps)
    embedded = F.normalize(trainee.views(described), dim=1)
    families = pictures.families[places].repeat(2)
    return {
        "views": contrast(embedded, torch.arange(count).repeat(2)),
        "family": F.cross_entropy(trainee.family(described), families),
    }


def contrast(embedded: Tensor, groups: Tensor) -> Tensor:
    """Pull pictures of one group together and push all others away.

    Args:
        embedded: (B, D) unit vectors.
        groups: (B,) group numbers, at least two pictures in each.

    Returns:
        The scalar loss.

    Source: Khosla et al. 2020, "Supervised contrastive learning", eq. 2.
    """
    own = torch.eye(len(groups), dtype=torch.bool)
    logits = (embedded @ embedded.T / _TEMPERATURE).masked_fill(own, float("-inf"))
    same = (groups[:, None] == groups) & ~own
    chance = logits.log_softmax(1).masked_fill(~same, 0)
    return -(chance.sum(1) / same.sum(1)).mean()


def dense_contrast(content: Tensor, pairs: Tensor, generator: torch.Generator) -> Tensor:
    """Find each position of a picture again in another picture of the same content, among positions of all.

    Args:
        content: (B, D, H, W) unit vectors over D.
        pairs: (P, 2) places in the batch of two pictures of one content.
        generator: of the positions compared.

    Returns:
        The scalar loss.
    """
    flat = content.flatten(2).transpose(1, 2)  # (B, H * W, D)
    positions = torch.randint(flat.shape[1], (len(pairs), _DENSE), generator=generator)
    first = flat[pairs[:, :1], positions].flatten(0, 1)
    second = flat[pairs[:, 1:], positions].flatten(0, 1)
    logits = first @ second.T / _TEMPERATURE
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class _Scenes:
    """Blocks of scenes and styles, every scene in every style of its block."""

    def __init__(self, pictures: Pictures, blocks: int, generator: torch.Generator) -> None:
        block = torch.randint(len(pictures.styles), (blocks,), generator=generator)
        scene = _choices(blocks, SCENES, _SCENES_SHOWN, generator)
        style = _choices(blocks, STYLES, _STYLES_SHOWN, generator)
        count = blocks * _SCENES_SHOWN
        chosen = pictures.scenes[block[:, None, None], style[:, None, :], scene[:, :, None]]
        images = chosen.flatten(0, 2).float() / 255  # block by block, scene by scene, style by style
        mirror = (torch.rand(count, generator=generator) < 0.5).repeat_interleave(_STYLES_SHOWN)
        images = torch.where(mirror.view(-1, 1, 1, 1), images.flip(3), images)
        self.images = degrade(recolor(images, 0.3, generator), 0.2, generator)
        place = block[:, None], scene
        semantic = pictures.semantic[place].flatten(0, 1).repeat_interleave(_STYLES_SHOWN, 0).long()
        semantic = torch.where(mirror.view(-1, 1, 1), semantic.flip(2), semantic)
        self.semantic = F.one_hot(semantic, len(SHAPES) + 1).permute(0, 3, 1, 2).float()
        self.main = pictures.main[place].flatten().repeat_interleave(_STYLES_SHOWN)
        self.shapes = pictures.shapes[place].flatten(0, 1).repeat_interleave(_STYLES_SHOWN, 0).float()
        numbers = pictures.styles[block[:, None], style]  # (blocks, styles)
        groups = torch.where(numbers < 0, -1, block[:, None] * STYLES + style)
        self.styles = groups[:, None].expand(-1, _SCENES_SHOWN, -1).flatten()
        self.traits = pictures.traits[block[:, None], style][:, None].expand(-1, _SCENES_SHOWN, -1, -1)
        self.traits = self.traits.flatten(0, 2).float()
        self.pairs = torch.arange(count * _STYLES_SHOWN).view(-1, _STYLES_SHOWN)


class _Filters:
    """Surfaces as they are, then the same ones filtered."""

    def __init__(self, pictures: Pictures, filters: int, generator: torch.Generator) -> None:
        style = torch.randint(len(pictures.filtered), (filters,), generator=generator)
        place = _choices(filters, pictures.filtered.shape[1], _PER_FILTER, generator)
        filtered = pictures.filtered[style[:, None], place].flatten(0, 1)
        plain = pictures.surfaces[pictures.unfiltered[style[:, None], place]].flatten(0, 1)
        both = torch.cat([plain, filtered], 1).float() / 255  # (N, 6, H, W), so that both are cut alike
        half = both.shape[2] // 2
        whole = torch.rand(len(both), generator=generator) < 0.5  # all of it at half the size, or a quarter as it is
        top, left = torch.randint(half + 1, (2,), generator=generator).tolist()
        cut = torch.where(
            whole.view(-1, 1, 1, 1), F.avg_pool2d(both, 2), both[:, :, top : top + half, left : left + half]
        )
        plain, filtered = cut[:, :3], cut[:, 3:]
        self.count = len(plain)
        plain = degrade(recolor(plain, 0.5, generator), 0.3, generator)
        self.images = torch.cat([plain, degrade(recolor(filtered, 0.15, generator), 0.1, generator)])
        self.styles = torch.arange(filters).repeat_interleave(_PER_FILTER)
        self.pairs = torch.stack([torch.arange(self.count), torch.arange(self.count) + self.count], 1)


def _choices(rows: int, count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Draw `wanted` different numbers below `count` in each row, (rows, wanted)."""
    return torch.rand(rows, count, generator=generator).argsort(1)[:, :wanted]
