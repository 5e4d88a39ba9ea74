import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import kurtosis
from torch import nn

from experiments.compact.distances import content_distances, style_distances
from experiments.compact.measure import nearest_neighbor
from experiments.compact.network import TAPS, Trainee, blank
from experiments.compact.objectives import DESIGNS, contrast, dense_contrast, losses
from experiments.compact.pictures import PLANS, SCENES, STYLES, TRAITS, Pictures, Plan, pictures
from experiments.compact.styles import HIDDEN, LEAST_DISTANCE, POOLS, chosen, nearest_held_out
from experiments.compact.textures import FAMILIES, textures
from experiments.compact.train import export, train
from experiments.compact.views import crops, degrade, recolor
from stylebench.data import filterstyle, procstyle
from stylebench.data.procstyle.styles import Style, style_digest

ENCODERS = list(POOLS)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return pictures(Plan("compact", blocks=3, leaves=3, textures=6, filters=6), tmp_path_factory.mktemp("pictures"))


# -- which styles may be seen


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("world", list(LEAST_DISTANCE))
def test_styles_that_are_trained_on_keep_their_distance_from_named_and_hidden_ones(encoder: str, world: str) -> None:
    plan = PLANS[encoder]
    wanted = plan.blocks * STYLES if world == "procstyle" else plan.filters  # all that the recipe draws
    numbers = chosen(encoder, world, wanted)
    assert len(set(numbers)) == wanted
    assert nearest_held_out(POOLS[encoder], world, numbers).min() >= LEAST_DISTANCE[world]


def test_distance_finds_a_held_out_style_among_those_that_are_drawn() -> None:
    # What would be a leak is at distance 0: the hidden pool against itself.
    assert nearest_held_out("hidden", "procstyle", range(HIDDEN)).max() < 1e-6
    assert nearest_held_out("hidden", "filterstyle", range(HIDDEN)).max() < 1e-6
    assert nearest_held_out("prior", "procstyle", range(64)).min() > 0.2


def test_styles_of_both_encoders_and_of_the_tests_are_all_different() -> None:
    pools = {encoder: chosen(encoder, "procstyle", 400) for encoder in ENCODERS}
    digests = [style_digest(procstyle.prior_style(n, POOLS[encoder])) for encoder, ns in pools.items() for n in ns]
    held = [*procstyle.NAMED_STYLES.values(), *(procstyle.prior_style(n, "hidden") for n in range(400))]
    assert len({*digests, *map(style_digest, held)}) == len(digests) + len(held)


def test_pictures_show_only_styles_that_may_be_seen(drawn: Pictures) -> None:
    numbers = drawn.styles[drawn.styles >= 0].tolist()
    assert set(numbers) <= set(chosen("compact", "procstyle", 3 * STYLES))
    assert (drawn.styles < 0).sum() == 2  # `photo`, in every second block


def test_scenes_are_not_those_of_data_sets_or_of_probes() -> None:
    from stylebench.data.procstyle.world import ProcStyle

    ids = ProcStyle(64, 8, 4, 4, False, None).contents(None).ids  # type: ignore[arg-type]
    assert not any(id_.startswith(("compact", "probe")) for id_ in ids)


# -- pictures


def test_pictures_carry_what_their_scenes_and_styles_are(drawn: Pictures) -> None:
    keys = [f"compact-1-{place}" for place in range(SCENES)]
    scenes = procstyle.draw_scenes(keys)
    labels = procstyle.scene_labels(scenes, 64)
    assert torch.equal(drawn.semantic[1], labels.semantic.to(torch.uint8))
    assert torch.equal(drawn.main[1], labels.main_class)
    style = procstyle.prior_style(int(drawn.styles[1, 2]), "compact")
    again = procstyle.render(scenes, style, range(6 * SCENES, 7 * SCENES), 64)
    assert torch.equal(drawn.scenes[1, 2], again)
    assert bool(drawn.traits[1, 2, TRAITS.index("stroke.amount")]) == (style.stroke.amount > 0)
    assert bool(drawn.traits[1, 2, TRAITS.index("hatch")]) == (style.texture.hatch.amplitude > 0)
    surface = drawn.surfaces[drawn.unfiltered[0]]
    number = chosen("compact", "filterstyle", 1)[0]
    style_ = filterstyle.prior_style(number, "compact")
    assert torch.equal(drawn.filtered[0], filterstyle.apply_style(surface, style_, range(number * 4, number * 4 + 4)))


def test_pictures_are_read_back_as_they_were_rendered(tmp_path: object, drawn: Pictures) -> None:
    plan = Plan("compact_judge", blocks=2, leaves=1, textures=2, filters=2)
    first, second = (pictures(plan, tmp_path) for _ in range(2))  # type: ignore[arg-type]
    assert torch.equal(first.scenes, second.scenes)
    assert torch.equal(first.filtered, second.filtered)
    assert not torch.equal(first.scenes[0, 0, 0], drawn.scenes[0, 0, 0])


def test_textures_depend_on_their_place_alone_and_have_edges_as_photographs_do() -> None:
    images, families = textures(40, 64, 7)
    later, _ = textures(2, 64, 7, first=3)
    assert torch.equal(images[3:5], later)
    assert images.dtype == torch.uint8
    assert images.shape == (40, 3, 64, 64)
    assert len(families.unique()) >= len(FAMILIES) - 1
    assert (images.float().flatten(1).std(1) > 1).float().mean() > 0.9  # hardly any is blank
    steps = images.float().mean(1).diff(dim=2).flatten(1).numpy()
    assert np.median(kurtosis(steps, axis=1)) > 1  # heavier tails than noise has


def test_views_keep_shape_and_range_and_are_drawn_from_their_generator() -> None:
    images = torch.rand(6, 3, 64, 64)
    for view in (
        lambda g: crops(images, 32, (0.4, 0.8), True, g),
        lambda g: recolor(images, 1.0, g),
        lambda g: degrade(images, 0.5, g),
    ):
        first, second = (view(torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(first, second)
        assert first.min() >= 0
        assert first.max() <= 1
    assert crops(images, 32, (0.4, 0.8), True, torch.Generator()).shape == (6, 3, 32, 32)


def test_whole_crop_is_the_picture_at_another_size() -> None:
    image = torch.linspace(0, 1, 64).expand(2, 3, 64, 64).contiguous()
    crop = crops(image, 32, (1.0, 1.0), False, torch.Generator().manual_seed(0))
    shrunk = nn.functional.avg_pool2d(image, 2)
    either = torch.minimum((crop - shrunk).abs().amax((1, 2, 3)), (crop.flip(3) - shrunk).abs().amax((1, 2, 3)))
    assert either.max() < 0.01


def test_recoloring_nothing_changes_nothing_and_gray_stays_gray() -> None:
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(recolor(images, 0.0, torch.Generator()), images)
    gray = images[:, :1].expand(-1, 3, -1, -1)
    changed = recolor(gray, 1.0, torch.Generator().manual_seed(1))
    assert (changed - changed[:, :1]).abs().max() < 1e-5


# -- objectives


def test_contrast_is_the_mean_log_chance_of_the_same_group() -> None:
    embedded = torch.eye(4)[[0, 0, 1, 1]]
    found = contrast(embedded, torch.tensor([5, 5, 9, 9])).item()
    high = 1 / 0.15
    assert found == pytest.approx(math.log(math.exp(high) + 2) - high, abs=1e-5)


def test_dense_contrast_is_least_where_positions_agree() -> None:
    torch.manual_seed(0)
    content = nn.functional.normalize(torch.randn(2, 32, 8, 8), dim=1)
    pairs = torch.tensor([[0, 1]])
    same = dense_contrast(content[:1].repeat(2, 1, 1, 1), pairs, torch.Generator().manual_seed(0))
    other = dense_contrast(content, pairs, torch.Generator().manual_seed(0))
    assert same < 1 < other


@pytest.mark.parametrize("design", list(DESIGNS))
def test_every_design_reaches_every_layer(design: str, drawn: Pictures) -> None:
    torch.manual_seed(0)
    trainee = Trainee(blank("compact"), TAPS["compact"])
    found = losses(trainee, drawn, DESIGNS[design], torch.Generator().manual_seed(0))
    assert all(loss.isfinite() for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trainee.body.parameters())


# -- networks


@pytest.mark.parametrize("encoder", ENCODERS)
def test_folding_batch_norm_changes_nothing(encoder: str) -> None:
    torch.manual_seed(0)
    frozen = blank(encoder)
    trainee = Trainee(frozen, TAPS[encoder])
    with torch.no_grad():
        for norm in (part for part in trainee.body.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    nn.Module.train(trainee.body, False)
    images = torch.rand(2, 3, 33, 40)
    trainee.into(frozen)
    for tap, maps in trainee(images).items():
        torch.testing.assert_close(frozen(images, [tap])[tap], maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_stops_and_goes_on_as_if_it_had_not_stopped(
    encoder: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.compact import train as recipe

    monkeypatch.setitem(recipe.PLANS, encoder, Plan(encoder, blocks=2, leaves=2, textures=4, filters=2))
    monkeypatch.setitem(recipe.DESIGNS, "small", recipe.DESIGNS["all"].__class__(blocks=1, filters=2, views=2))
    monkeypatch.setattr(recipe, "_EVERY", 2)
    folders = [tmp_path / name for name in ("whole", "parts")]  # type: ignore[operator]
    for folder in folders:
        folder.mkdir()
    train(encoder, "small", 4, 3e-3, 0, folders[0])
    real = recipe.losses
    calls = []

    def broken(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recipe, "losses", broken)
    with pytest.raises(KeyboardInterrupt):
        train(encoder, "small", 4, 3e-3, 0, folders[1])
    monkeypatch.setattr(recipe, "losses", real)
    train(encoder, "small", 4, 3e-3, 0, folders[1])
    states = [load_file(folder / f"{encoder}.safetensors") for folder in folders]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with pytest.raises(ValueError, match="of another run"):
        train(encoder, "small", 6, 3e-3, 0, folders[1])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_exported_weights_load_as_normalized_ones(encoder: str, tmp_path: object) -> None:
    path = tmp_path / "weights.safetensors"  # type: ignore[operator]
    torch.manual_seed(0)
    frozen = blank(encoder)
    trainee = Trainee(frozen, TAPS[encoder])
    for norm in (part for part in trainee.body.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.momentum = 1.0  # take over the statistics of one batch
    trainee(torch.rand(8, 3, 48, 48))
    trainee.into(frozen)
    images = torch.rand(2, 3, 48, 48)
    export(frozen, encoder, path)
    loaded = blank(encoder, str(path))
    tap = frozen.style_layers[-1]
    whole, half = (net(images, [tap])[tap] for net in (frozen, loaded))
    assert (whole - half).norm() < 0.01 * whole.norm()


# -- measures


def test_distances_are_0_to_oneself_and_1_between_disjoint_features() -> None:
    encoder = blank("compact")
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    for distances in (style_distances(encoder, images), content_distances(encoder, images)):
        assert distances.diagonal().max() < 1e-5
        assert (distances - distances.T).abs().max() < 1e-6
        assert distances.max() <= 1
    # |G - G'|^2 / (|G|^2 + |G'|^2), from the whole matrices
    from stylebench.functional.gram import gram_matrix

    expected = torch.zeros(())
    for maps in encoder(images.float() / 255, encoder.style_layers).values():
        first, second = gram_matrix(maps)[:2]
        expected = expected + (first - second).square().sum() / (first.square().sum() + second.square().sum())
    assert style_distances(encoder, images)[0, 1].item() == pytest.approx(expected.item() / 5, rel=1e-4)


def test_nearest_neighbor_looks_past_pictures_of_the_same_owner() -> None:
    places = torch.tensor([0.0, 0.1, 1.0, 1.2])
    distances = (places[:, None] - places).abs()
    labels = torch.tensor([0, 1, 1, 1])
    assert nearest_neighbor(distances, labels, torch.tensor([0, 1, 2, 3])) == 0.5
    assert nearest_neighbor(distances, labels, torch.tensor([0, 0, 1, 2])) == 0.75


def test_probe_tells_apart_what_a_line_can() -> None:
    from experiments.compact.probes import _probe

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(60)
    centers = 3 * torch.eye(4)
    fit, test = (centers[labels] + torch.randn(240, 4, generator=generator) for _ in range(2))
    assert _probe(fit, labels, test, labels) > 0.85
    shuffled = labels[torch.randperm(240, generator=generator)]
    assert _probe(fit, shuffled, test, labels) < 0.5


def test_style_parameters_without_meaning_do_not_count_in_distances() -> None:
    from dataclasses import replace

    from experiments.compact.styles import _proc_vectors

    style = procstyle.NAMED_STYLES["flat"]
    bare = replace(style, stroke=replace(style.stroke, amount=0.0, glow=0.0))
    wide = replace(bare, stroke=replace(bare.stroke, width=0.05))
    drawn = replace(bare, stroke=replace(bare.stroke, amount=1.0))
    vectors = _proc_vectors([bare, wide, drawn])
    assert isinstance(bare, Style)
    assert np.abs(vectors[0] - vectors[1]).max() == 0
    assert np.abs(vectors[0] - vectors[2]).max() > 0
