import copy
import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import kurtosis
from torch import nn

from experiments.compact.network import TAPS, Trainee, blank
from experiments.compact.objectives import DESIGNS, contrast, dense_contrast, losses
from experiments.compact.pictures import PLANS, SCENES, STYLES, TRAITS, VERSION, Pictures, Plan, pictures, scaled
from experiments.compact.styles import (
    LEAST_DISTANCE,
    POOLS,
    _filter_vector,
    _proc_vector,
    _proc_vectors,
    chosen,
    filterstyle_distances,
    nearest_held_out,
    procstyle_distances,
)
from experiments.compact.textures import FAMILIES, textures
from experiments.compact.train import Run, export, train
from experiments.compact.views import crops, degrade, recolor
from stylebench.data.world import HIDDEN_STYLES
from stylebench.files import read_pickle
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.nn.encoders.normalization import BUILT_IN, measure_means
from stylebench.worlds import filterstyle, procstyle
from stylebench.worlds.procstyle.styles import Style, style_digest

ENCODERS = list(POOLS)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return pictures(Plan("compact", blocks=3, leaves=3, textures=6, filters=6), tmp_path_factory.mktemp("pictures"))


# -- which styles may be seen


@functools.cache
def held_out(world: str) -> list[Any]:
    """List anew what may not be seen: the named styles and the first 128 hidden ones."""
    module = procstyle if world == "procstyle" else filterstyle
    return [*module.NAMED_STYLES.values(), *(module.prior_style(number, "hidden") for number in range(128))]


def numbers_of(style: Any) -> list[float]:
    """List a style's parameters."""
    return list(_proc_vector(style) if isinstance(style, Style) else _filter_vector(style))


def kind(style: Any) -> tuple[str, int]:
    """Tell styles apart that have no distance: other filters, other numbers of parameters."""
    return "" if isinstance(style, Style) else style.filter, len(numbers_of(style))


@functools.cache
def spreads(world: str) -> dict[tuple[str, int], np.ndarray]:
    """Measure each parameter's standard deviation over the prior."""
    module, count = (procstyle, 512) if world == "procstyle" else (filterstyle, 4096)
    sample: dict[tuple[str, int], list[list[float]]] = {}
    for number in range(count):
        style = module.prior_style(number, "prior")
        sample.setdefault(kind(style), []).append(numbers_of(style))
    found = {key: np.array(rows).std(0) for key, rows in sample.items()}
    return {key: np.where(spread < 1e-6, 1.0, spread) for key, spread in found.items()}


@pytest.mark.parametrize("world", list(LEAST_DISTANCE))
@pytest.mark.parametrize("encoder", ENCODERS)
def test_styles_that_are_trained_on_keep_their_distance_from_named_and_hidden_ones(encoder: str, world: str) -> None:
    plan, module = PLANS[encoder], procstyle if world == "procstyle" else filterstyle
    wanted = plan.blocks * STYLES if world == "procstyle" else plan.filters  # all that the recipe draws
    numbers, scale = chosen(encoder, world, wanted), spreads(world)
    assert len(set(numbers)) == wanted
    seen: dict[tuple[str, int], list[list[float]]] = {}
    for number in numbers:
        style = module.prior_style(number, POOLS[encoder])
        seen.setdefault(kind(style), []).append(numbers_of(style))
    compared = 0
    for style in held_out(world):
        rows = np.array(seen.get(kind(style), [])).reshape(-1, kind(style)[1])
        distances = np.sqrt((((rows - numbers_of(style)) / scale.get(kind(style), 1.0)) ** 2).mean(1))
        assert distances.min(initial=np.inf) >= LEAST_DISTANCE[world] - 1e-6
        compared += len(rows) > 0
    assert compared > 100


@pytest.mark.parametrize("world", list(LEAST_DISTANCE))
def test_every_named_and_hidden_style_is_among_those_that_are_kept_away_from(world: str) -> None:
    distances = procstyle_distances if world == "procstyle" else filterstyle_distances
    held = held_out(world)
    assert len(held) == 8 + HIDDEN_STYLES
    assert distances(held).max() < 1e-6


def test_distance_of_other_styles_is_not_zero() -> None:
    assert nearest_held_out("prior", "procstyle", range(64)).min() > 0.2
    flat = procstyle.NAMED_STYLES["flat"]
    changed = replace(flat, stroke=replace(flat.stroke, amount=1.0))
    assert 0 < procstyle_distances([changed])[0] < LEAST_DISTANCE["procstyle"]


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
    from stylebench.worlds.procstyle.world import ProcStyle

    ids = ProcStyle(64, 8, 4, 4, False, None).contents(None).ids  # type: ignore[arg-type]
    assert not any(id_.startswith(("compact", "probe")) for id_ in ids)


def test_style_parameters_without_meaning_do_not_count_in_distances() -> None:
    style = procstyle.NAMED_STYLES["flat"]
    bare = replace(style, stroke=replace(style.stroke, amount=0.0, glow=0.0))
    wide = replace(bare, stroke=replace(bare.stroke, width=0.05))
    drawn = replace(bare, stroke=replace(bare.stroke, amount=1.0))
    vectors = _proc_vectors([bare, wide, drawn])
    assert isinstance(bare, Style)
    assert np.abs(vectors[0] - vectors[1]).max() == 0
    assert np.abs(vectors[0] - vectors[2]).max() > 0


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


@pytest.mark.parametrize(
    ("design", "encoder"),
    [(name, key) for name, plan in DESIGNS.items() for key in ENCODERS if key == "compact" or plan.pooling == "max"],
)
def test_every_design_reaches_every_layer(design: str, encoder: str, drawn: Pictures) -> None:
    torch.manual_seed(0)
    trainee = Trainee(blank(encoder, pooling=DESIGNS[design].pooling), TAPS[encoder])
    found = losses(trainee, drawn, DESIGNS[design], torch.Generator().manual_seed(0))
    assert all(loss.isfinite() for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trainee.body.parameters())


def test_average_pooling_is_refused_for_the_judge(tmp_path: Path) -> None:
    for refused in (
        lambda: blank("compact_judge", pooling="avg"),
        lambda: train(Run("compact_judge", "all_avg", 2, 3e-3, 0), tmp_path),
    ):
        with pytest.raises(ValueError, match="compact_judge has pooling of its own"):
            refused()


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
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.compact import train as recipe

    monkeypatch.setitem(recipe.PLANS, encoder, Plan(encoder, blocks=2, leaves=2, textures=4, filters=2))
    monkeypatch.setitem(recipe.DESIGNS, "small", recipe.DESIGNS["all"].__class__(blocks=1, filters=2, views=2))
    monkeypatch.setattr(recipe, "_EVERY", 2)
    monkeypatch.setitem(BUILT_IN, "count", 2)
    folders = [tmp_path / name for name in ("whole", "parts")]
    run = Run(encoder, "small", 4, 3e-3, 0)
    train(run, folders[0])
    real = recipe.losses
    calls = []

    def broken(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recipe, "losses", broken)
    with pytest.raises(KeyboardInterrupt):
        train(run, folders[1])
    state = read_pickle(folders[1] / "state.pt")
    assert (state["batch"], state["settings"]["plan"]["blocks"], state["settings"]["version"]) == (2, 2, VERSION)
    monkeypatch.setattr(recipe, "losses", real)
    train(run, folders[1])
    states = [load_file(folder / f"{encoder}.safetensors") for folder in folders]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    spent = [float(line.split(",")[1]) for line in (folders[1] / "metrics.csv").read_text().splitlines()[1:]]
    assert spent[0] == round(state["cpu_s"], 1) <= spent[1]  # what the first part took is not forgotten
    with pytest.raises(ValueError, match="of another run"):
        train(replace(run, batches=6), folders[1])
    monkeypatch.setitem(recipe.PLANS, encoder, Plan(encoder, blocks=3, leaves=2, textures=4, filters=2))
    with pytest.raises(ValueError, match="of another run"):  # other pictures
        train(run, folders[1])


def test_share_of_pictures_scales_every_kind() -> None:
    small = scaled(PLANS["compact"], 0.1)
    assert (small.blocks, small.leaves, small.textures, small.filters) == (75, 250, 500, 80)
    assert scaled(PLANS["compact"], 1.0) == PLANS["compact"]
    assert scaled(PLANS["compact"], 1e-6).blocks == 2
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="--pictures must be a share"):
            scaled(PLANS["compact"], share)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_exported_weights_are_normalized_and_their_quiet_channels_silent(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILT_IN, "count", 4)  # pictures to measure means on
    torch.manual_seed(0)
    frozen = blank(encoder)
    trainee = Trainee(frozen, TAPS[encoder])
    norms = [part for part in trainee.body.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # take over the statistics of one batch
    trainee(dead_leaves(8, 64, seed=3).float() / 255)
    with torch.no_grad():
        norms[0].weight[5], norms[0].bias[5] = 0.0, 1e-3  # far below a twentieth of the median, about 0.4
    trainee.into(frozen)
    before, taps = copy.deepcopy(frozen), [group.tap for group in frozen.groups()]
    means = measure_means(before, taps, None)
    lively = {tap: mean >= 0.05 * mean.median() for tap, mean in means.items()}
    assert torch.nonzero(~lively[taps[0]]).tolist() == [[5]]
    assert all(live.float().mean() > 0.95 for live in lively.values())
    export(frozen, encoder, tmp_path / "weights.safetensors")
    loaded = blank(encoder, str(tmp_path / "weights.safetensors"))
    images = torch.rand(2, 3, 48, 48)
    for tap, mean in measure_means(loaded, taps, None).items():
        live = lively[tap]
        assert (mean[live] - 1).abs().max() < 0.01, tap
        assert (mean[~live] == 0).all(), tap
        expected = before(images, [tap])[tap] / means[tap].float()[:, None, None]
        difference = (loaded(images, [tap])[tap] - expected)[:, live]
        assert difference.norm() < 0.01 * expected[:, live].norm(), tap
