"""Measure where well-known programs give other numbers than stylebench, and write them into the page about it.

    python experiments/metrics/differences.py --environment /tmp/differences              # prints the table
    python experiments/metrics/differences.py --environment /tmp/differences --write      # and puts it into the page

The environment is made there on the first call: the pinned packages (about 1.4 GB) beside those of this Python. SciPy
1.18 needs Python 3.12; `--python312` names one, and without it that line says that it was not tried. Every picture and
every feature is drawn from a seed, in float64 where a program takes it.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics/differences.md"
START, END = "<!-- measured: experiments/metrics/differences.py -->", "<!-- end -->"
PACKAGES = (
    "pyiqa==0.1.16", "piq==0.8.0", "pytorch-msssim==1.0.0", "sewar==0.4.10", "torchmetrics==1.9.0",
    "torch-fidelity==0.4.0", "clean-fid==0.1.35", "pytorch-fid==0.3.0", "monai==1.6.1", "art-fid==0.0.2",
)  # fmt: skip
SCIPY = "scipy==1.18.0"
ROOTS = {  # where a package calls scipy.linalg.sqrtm
    "clean-fid 0.1.35": "cleanfid/fid.py",
    "pytorch-fid 0.3.0": "pytorch_fid/fid_score.py",
    "monai 1.6.1": "monai/metrics/fid.py",
    "art-fid 0.0.2": "art_fid/art_fid.py",
}
REMOVED = "from scipy.linalg import sqrtm; import numpy; sqrtm(numpy.eye(2), disp=False)"
Row = dict[str, str]


class Pair(NamedTuple):
    """A picture and a damaged one, (1, 3, S, S) uint8."""

    first: Any
    second: Any


def pair(size_px: int, seed: int = 0, levels: float = 12.0) -> Pair:
    """Return a dead leaves picture, and itself under Gaussian noise of so many levels."""
    import torch

    from stylebench.functional.dead_leaves import dead_leaves

    first = dead_leaves(1, size_px, seed)
    first = first if first.dtype == torch.uint8 else (first * 255).round().to(torch.uint8)
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed)) * levels
    return Pair(first, (first + noise).round().clamp(0, 255).to(torch.uint8))


# -- what is measured: each returns what the program gives, and what stylebench gives


def psnr_of_luma() -> Row:
    """Full-range luma against video luma: 20 log10(255 / 219) = 1.32 dB."""
    from stylebench.metrics.pairs import PSNRY

    shown = pair(128)
    ours = float(PSNRY(scale_px=1).compare(shown.first, shown.second))
    return {"theirs": f"{pyiqa_value('psnry', shown):.2f} dB", "ours": f"{ours:.2f} dB (`psnr_y`)"}


def ssim_of_luma() -> Row:
    """A `ssim` of luma beside one of RGB."""
    from stylebench.metrics.pairs import SSIM

    shown = pair(128)
    ours, luma = (float(SSIM(luma=luma).compare(shown.first, shown.second)) for luma in (False, True))
    return {"theirs": f"{pyiqa_value('ssim', shown):.4f}", "ours": f"{ours:.4f} (`ssim`); {luma:.4f} (`ssim_y`)"}


def pyiqa_value(name: str, shown: Pair) -> float:
    """Return a metric of pyiqa as its users make it."""
    import pyiqa

    return float(pyiqa.create_metric(name, device="cpu")(shown.second.double() / 255, shown.first.double() / 255))


def halved_ssim() -> Row:
    """Pictures from 384 px on are averaged down before SSIM."""
    import piq

    from stylebench.metrics.pairs import SSIM

    shown = pair(384, levels=30.0)
    first, second = shown.first.double() / 255, shown.second.double() / 255
    theirs, whole = (float(piq.ssim(first, second, downsample=halve)) for halve in (True, False))
    ours = float(SSIM().compare(shown.first, shown.second))
    return {"theirs": f"{theirs:.2f}; {whole:.2f} with `downsample=False`", "ours": f"{ours:.2f}"}


def frechet() -> Row:
    """The distance of two sets of 2,000 normal features of 512 dimensions whose standard deviations fall like 1/i."""
    import piq
    import torch

    from stylebench.functional.frechet import frechet_distance_of_features

    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, 513, dtype=torch.float64).reciprocal()
    first, second = (torch.randn(2000, 512, dtype=torch.float64, generator=generator) * scale for _ in range(2))
    theirs, ours = float(piq.FID().compute_metric(first, second)), frechet_distance_of_features(first, second)
    return {"theirs": f"{theirs:.3g}, {abs(theirs) / ours:.0f} times ours", "ours": f"{ours:.3g}"}


def assumed_range() -> Row:
    """Pictures in [0, 1] under a data range of 255."""
    from pytorch_msssim import ssim

    from stylebench.metrics.pairs import SSIM

    shown = pair(128)
    first, second = shown.first.double() / 255, shown.second.double() / 255
    theirs, told = float(ssim(first, second)), float(ssim(first, second, data_range=1.0))
    ours = float(SSIM().compare(shown.first, shown.second))
    return {"theirs": f"{theirs:.4f}; {told:.4f} with `data_range=1`", "ours": f"{ours:.4f}"}


def uniform_window() -> Row:
    """A uniform window in place of Gauss' one."""
    from sewar.full_ref import ssim

    from stylebench.metrics.pairs import SSIM

    shown = pair(128)
    theirs, _ = ssim(*(x[0].permute(1, 2, 0).numpy() for x in shown))
    ours = float(SSIM().compare(shown.first, shown.second))
    return {"theirs": f"{theirs:.4f}", "ours": f"{ours:.4f}"}


def information_fidelity() -> Row:
    """VIF of the same pictures in [0, 255] and in [0, 1]: its noise variance of 2 is in squared levels."""
    from sewar.full_ref import vifp
    from torchmetrics.functional.image import visual_information_fidelity

    shown = pair(128)
    arrays = [x[0].permute(1, 2, 0).double().numpy() for x in shown]
    levels, unit = float(vifp(*arrays)), float(vifp(*(x / 255 for x in arrays)))
    tensors = [x.double() for x in shown]
    theirs = float(visual_information_fidelity(tensors[1], tensors[0]))
    theirs_unit = float(visual_information_fidelity(tensors[1] / 255, tensors[0] / 255))
    return {
        "theirs": f"sewar {levels:.3f} in [0, 255], {unit:.3f} in [0, 1]; torchmetrics {theirs:.3f}, {theirs_unit:.3f}",
        "ours": "not offered",
    }


def spectral_error() -> Row:
    """RASE against its definition: 100 / mean * root mean square over bands of the window's RMSE."""
    import torch
    from torchmetrics.functional.image import relative_average_spectral_error

    shown = pair(64)
    target, images = (x.double() for x in shown)
    theirs = float(relative_average_spectral_error(images, target, window_size=8))
    means = torch.nn.functional.avg_pool2d(target, 8, 1)
    errors = torch.nn.functional.avg_pool2d((images - target).square(), 8, 1)  # squared RMSE by band and window
    by_definition = float((100 / means.mean(1) * errors.mean(1).sqrt()).mean())
    return {
        "theirs": f"{theirs:.0f}, {theirs / by_definition:.0f} times the definition's {by_definition:.1f}",
        "ours": "not offered",
    }


def spread_of_kernel_distance() -> Row:
    """The standard deviation over subsets that are each the whole set."""
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.kid import KernelInceptionDistance

    from stylebench.functional.kernel_distance import kernel_distance
    from stylebench.statistics.intervals import t_interval

    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(60, 8, generator=generator) for _ in range(2))
    found = kid_features_to_metric(first, second, kid_subsets=10, kid_subset_size=60, verbose=False)
    metric = KernelInceptionDistance(feature=torch.nn.Flatten(), subsets=10, subset_size=60)
    metric.real_features, metric.fake_features = [first], [second]
    spread = float(metric.compute()[1])
    half = t_interval(kernel_distance(first.double(), second.double()).blocks).half_width
    return {
        "theirs": f"{found['kernel_inception_distance_std']:.0e} and {spread:.0e}",
        "ours": f"95 % interval of +- {half:.2g}, from disjoint blocks",
    }


ROWS: dict[str, tuple[str, str, Callable[[], Row]]] = {
    "pyiqa 0.1.16": ("`psnry`", "luma of full range: 1.32 dB below the super-resolution papers'", psnr_of_luma),
    "pyiqa 0.1.16 ": ("`ssim`", "is computed on luma", ssim_of_luma),
    "piq 0.8.0": ("SSIM of 384 px", "halves pictures from 384 px on first", halved_ssim),
    "piq 0.8.0 ": ("Frechet distance, deviations like 1/i", "its matrix root stops at a residual of 1e-5", frechet),
    "pytorch-msssim 1.0.0": ("SSIM of pictures in [0, 1]", "takes a range of 255 unless told", assumed_range),
    "sewar 0.4.10": ("SSIM", "uniform window", uniform_window),
    "sewar 0.4.10, torchmetrics 1.9.0": ("VIF", "depends on the value range", information_fidelity),
    "torchmetrics 1.9.0": ("RASE, window 8", "too large by the square of the window", spectral_error),
    "torch-fidelity 0.4.0, torchmetrics 1.9.0": (
        "KID's standard deviation", "0 where every subset is the whole set", spread_of_kernel_distance,
    ),
}  # fmt: skip


def measured() -> list[str]:
    """Return a table's line for each difference; runs inside the environment."""
    lines = []
    for name, (what, why, measure) in ROWS.items():
        found = measure()
        lines.append(f"| {name.strip()} | {what} | {why} | {found['theirs']} | {found['ours']} |")
    return lines


# -- the environment


def make_environment(folder: Path) -> Path:
    """Make the environment unless it is there; return its Python."""
    python = folder / "bin/python"
    done = folder / "installed.json"
    if not done.is_file() or json.loads(done.read_text()) != list(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        here, there = sysconfig.get_paths()["purelib"], _purelib(python)
        root = Path(__file__).resolve().parents[2]
        Path(there, "shared.pth").write_text(f"{root}\nimport site; site.addsitedir({here!r})\n")  # torch comes from it
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.write_text(json.dumps(PACKAGES))
    return python


def _purelib(python: Path) -> str:
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def removed_argument(python: Path, folder: Path, python312: Path | None) -> str:
    """Return the line about SciPy 1.18: which packages pass the argument that it has removed."""
    packages = Path(_purelib(python))
    calling = [name for name, file in ROOTS.items() if "disp=False" in (packages / file).read_text()]
    said = "not tried: needs Python 3.12"
    if python312 is not None:
        other = folder / "scipy"
        subprocess.run([python312, "-m", "venv", "--clear", other], check=True)
        subprocess.run([other / "bin/python", "-m", "pip", "install", "--quiet", SCIPY], check=True)
        tried = subprocess.run([other / "bin/python", "-c", REMOVED], capture_output=True, text=True)
        said = tried.stderr.strip().splitlines()[-1] if tried.returncode else "works"
    names, what = f"{', '.join(calling)} with SciPy 1.18.0", "`scipy.linalg.sqrtm(..., disp=False)`"
    return f"| {names} | {what} | the argument was removed | {said} | no matrix root is taken |"


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, help="folder of the environment; made on the first call")
    parser.add_argument("--python312", type=Path, help="a Python of 3.12 or newer, for SciPy 1.18")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--inside", action="store_true", help="measure with the packages of this Python")
    options = parser.parse_args()
    if options.inside:
        sys.stdout.write("\n".join(measured()) + "\n")
        return
    if options.environment is None:
        parser.error("--environment names the folder for the packages")
    python = make_environment(options.environment)
    lines = subprocess.run([python, __file__, "--inside"], check=True, capture_output=True, text=True).stdout
    rows = [line for line in lines.splitlines() if line.startswith("|")]
    head = ["| program | what | why | its value | ours |", "|---|---|---|---|---|"]
    table = "\n".join([*head, *rows, removed_argument(python, options.environment, options.python312)])
    sys.stdout.write(table + "\n")
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
