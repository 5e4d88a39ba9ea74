"""Print the figures that the page tells beside its table.

    python -m experiments.compact.facts --data data/ [--runs outputs/compact]

Per tap: dead channels, and the largest share of the Gram energy that one channel holds, over paintings. Then how near
the probe's scenes are to a tie, how far apart styles are, and, where the states of the runs `final` and `judge` are
kept below --runs, what half precision costs.
"""

import argparse
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

from experiments.compact.distances import style_distances
from experiments.compact.measure import central_square, images_in, named
from experiments.compact.network import TAPS, Trainee, blank
from experiments.compact.styles import parameter_distances
from experiments.compact.train import normalize
from stylebench.files import read_pickle
from stylebench.functional.gram import gram_matrix
from stylebench.nn.encoders.base import Encoder
from stylebench.worlds import procstyle

_RUNS = {"compact": "final", "compact_judge": "judge"}
_PAINTINGS, _PX = 24, 256
_STYLES = 256  # of the prior, all pairs of them
_TEST_SCENES, _SIDE = 1000, 64  # those of the object probe


def main() -> None:
    """Print all of them."""
    parser = argparse.ArgumentParser(description="Print the figures that the page tells beside its table.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds style/ and painters/")
    parser.add_argument("--runs", type=Path, default=Path("outputs/compact"), help="folder of the runs' states")
    options = parser.parse_args()
    found = [path for name in ("style", "painters") for path in images_in(options.data / name)]
    if len(found) < _PAINTINGS:
        parser.error(f"--data must hold at least {_PAINTINGS} pictures below style/ and painters/, found {len(found)}")
    chosen = found[:: len(found) // _PAINTINGS][:_PAINTINGS]
    paintings = torch.stack([central_square(path, _PX) for path in chosen])
    lines = [*tap_lines(paintings), *scene_lines(), *style_lines()]
    for encoder, run in _RUNS.items():
        state = options.runs / run / "state.pt"
        lines += half_lines(encoder, state, paintings) if state.is_file() else [f"{encoder}: no {state}, left out"]
    print("\n".join(lines))  # noqa: T201


@torch.no_grad()
def tap_lines(images: Tensor) -> list[str]:
    """Tell dead channels and the largest Gram share of each rectified tap, over (N, 3, H, W) uint8 pictures."""
    lines = []
    for name in _RUNS:
        encoder = named(name, "shipped")
        for tap in [group.tap for group in encoder.groups()]:
            dead, share, peak = health(encoder, tap, images)
            used = ", style layer" if tap in encoder.style_layers else ""
            lines.append(
                f"{name} {tap}: {len(dead)} of {encoder.channels[tap]} channels dead"
                f"{f' ({dead})' if 0 < len(dead) < 5 else ''}, largest Gram share {share:.2f}, "
                f"largest mean square over squared mean {peak:.0f}{used}"
            )
    return lines


@torch.no_grad()
def health(encoder: Encoder, tap: str, images: Tensor) -> tuple[list[int], float, float]:
    """Look for channels that are dead, and for one that outshines all others.

    Args:
        encoder: frozen.
        tap: where to look.
        images: (N, 3, H, W) uint8.

    Returns:
        Channels that are 0 everywhere; the largest share in [0, 1] of the energy of the mean Gram matrix that lies in
        one channel's row and column; the largest ratio of a channel's mean square to its squared mean.
    """
    maps = torch.cat([encoder(image[None].float() / 255, [tap])[tap] for image in images])
    means = maps.mean((0, 2, 3))
    energy = gram_matrix(maps).mean(0).square()
    shares = (2 * energy.sum(1) - energy.diagonal()) / energy.sum()
    peaks = maps.square().mean((0, 2, 3)) / means.square().clamp(min=1e-12)
    return torch.nonzero(means == 0)[:, 0].tolist(), shares.max().item(), peaks.max().item()


def scene_lines() -> list[str]:
    """Tell how near the object probe's scenes for testing are to a tie."""
    scenes = procstyle.draw_scenes([f"probe-object-test-{i}" for i in range(_TEST_SCENES)])
    labels = procstyle.scene_labels(scenes, _SIDE)
    objects = torch.stack([(labels.instances == number).sum((1, 2)) for number in range(1, 7)], 1)
    largest = objects.topk(2).values
    near = (largest[:, 1] > 0.9 * largest[:, 0]).double().mean().item()
    classes = torch.stack([(labels.semantic == n).sum((1, 2)) for n in range(1, len(procstyle.SHAPES) + 1)], 1)
    agree = (classes.argmax(1) == labels.main_class).double().mean().item()
    return [
        f"scenes whose second object is within a tenth of the main one's area: {near:.3f}",
        f"scenes whose main object is of the class with the largest area: {agree:.3f}",
    ]


def style_lines() -> list[str]:
    """Tell how far apart two random styles of ProcStyle are, in the unit that held-out styles are kept away in."""
    styles = [procstyle.prior_style(number, "prior") for number in range(_STYLES)]
    row, column = torch.triu_indices(_STYLES, _STYLES, 1)
    distances = torch.from_numpy(parameter_distances(styles, styles))[row, column]
    return [f"distance of two random styles: median {distances.median():.2f}, least {distances.min():.2f}"]


def half_lines(name: str, state: Path, images: Tensor) -> list[str]:
    """Tell what half precision changes, beside the same weights in float32.

    Args:
        name: key of `network.TAPS`.
        state: of the run that made the weights in the package.
        images: (N, 3, H, W) uint8.

    Returns:
        One line.
    """
    half, whole = named(name, "shipped"), blank(name)
    trainee = Trainee(whole, TAPS[name])
    trainee.load_state_dict(read_pickle(state)["trainee"])
    trainee.into(whole)
    normalize(whole)
    whole.style_layers = half.style_layers
    differences = [_difference(whole, half, tap, images[:4]) for tap in half.style_layers]
    first, second = style_distances(whole, images), style_distances(half, images)
    row, column = torch.triu_indices(len(images), len(images), 1)
    rank = spearmanr(first[row, column].numpy(), second[row, column].numpy()).statistic
    return [
        f"{name} in half precision: features differ by at most {max(differences):.5f} of their norm, style distances "
        f"by at most {(first - second).abs().max():.5f}, their Spearman correlation is {rank:.7f}"
    ]


@torch.no_grad()
def _difference(first: Encoder, second: Encoder, tap: str, images: Tensor) -> float:
    shown = images.float() / 255
    one, other = first(shown, [tap])[tap], second(shown, [tap])[tap]
    return float((one - other).norm() / one.norm())


if __name__ == "__main__":
    main()
