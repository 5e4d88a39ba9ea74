"""The measures of the shipped encoders, and the weights that they are taken on."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from experiments.compact.distances import content_distances, style_distances
from experiments.compact.facts import health
from experiments.compact.measure import _earlier, check_data, named, nearest_neighbor
from experiments.compact.network import blank
from experiments.compact.optimize import paired
from experiments.compact.styles import POOLS
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds import procstyle

ENCODERS = list(POOLS)


# -- the weights in the package


def _shown() -> torch.Tensor:
    """Render scenes in `photo` and the named styles, and dead leaves, at 128 px."""
    scenes = procstyle.draw_scenes([f"health-{i}" for i in range(9)])
    styles = [procstyle.PHOTO, *procstyle.NAMED_STYLES.values()]
    return torch.cat([procstyle.render(scenes, styles, range(9), 128), dead_leaves(6, 128, seed=9)])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_channel_of_a_style_layer_outshines_the_others(encoder: str) -> None:
    net, images = named(encoder, "shipped"), _shown()
    for tap in net.style_layers:
        dead, share, peak = health(net, tap, images)
        assert len(dead) <= 0.05 * net.channels[tap], tap
        # Measured: 0.31 at relu1_1 (24 channels), at most 0.22 at all others.
        assert share < (0.4 if tap == "relu1_1" else 0.3), tap
        assert peak < 60, tap  # measured: at most 36; 142 at mix7, which therefore is in no style layer


def test_health_finds_what_is_dead_and_what_outshines() -> None:
    # Maps 0, a, b with Gram matrix diag(0, mean a^2, mean b^2) where a and b are never active together.
    maps = torch.zeros(1, 3, 2, 2)
    maps[0, 1, 0, 0], maps[0, 2, 1, 1] = 3.0, 1.0

    class Net:
        def __call__(self, image: torch.Tensor, taps: object) -> dict[str, torch.Tensor]:
            return {"tap": maps}

    dead, share, peak = health(Net(), "tap", torch.zeros(1, 3, 2, 2, dtype=torch.uint8))  # type: ignore[arg-type]
    assert dead == [0]
    assert share == pytest.approx(81 / 82)  # 9^2 / (9^2 + 1^2)
    assert peak == pytest.approx(4)  # (9 / 4) / (3 / 4)^2


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


def test_rows_measured_otherwise_are_not_mixed(tmp_path: Path) -> None:
    settings = {"encoder": "compact", "digest": "1", "pooling": "max"}
    path = tmp_path / "rows.json"
    assert _earlier(path, settings) == {}
    path.write_text(json.dumps({"settings": settings, "rows": {"trained": {"style": 1.0}}}))
    assert _earlier(path, settings) == {"trained": {"style": 1.0}}
    with pytest.raises(ValueError, match=r"measured otherwise \(pooling: max, now avg\); choose another --output"):
        _earlier(path, {**settings, "pooling": "avg"})


def test_missing_pictures_and_weights_are_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data expects a folder with textures"):
        check_data(tmp_path, "none.pth")
    with pytest.raises(FileNotFoundError, match="--content expects a folder"):
        paired(tmp_path / "none", tmp_path, 1)
    for place in range(2):
        (tmp_path / f"{place}.jpg").touch()
    assert len(paired(tmp_path, tmp_path, 2)) == 2
    with pytest.raises(ValueError, match="must hold at least 3 pictures for --pairs, found 2"):
        paired(tmp_path, tmp_path, 3)
    with pytest.raises(ValueError, match="--pairs must be at least 1"):
        paired(tmp_path, tmp_path, 0)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_layers_that_are_measured_are_those_of_the_config(encoder: str) -> None:
    config = yaml.safe_load((Path(__file__).parents[1] / "conf" / "encoder" / f"{encoder}.yaml").read_text())
    net = named(encoder, "shipped")
    found = [list(net.content_layers), list(net.style_layers), net.exchange_layer]
    assert found == [config["content_layers"], config["style_layers"], config["exchange_layer"]]


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
