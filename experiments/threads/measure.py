"""Measure how the way OpenMP's threads wait weighs on training, alone and on a busy machine.

    python experiments/threads/measure.py network --output rows.jsonl      # a small network under each setting
    python experiments/threads/measure.py train --output rows.jsonl        # `stylebench train` under each setting
    python experiments/threads/measure.py compare before=<checkout> now=<checkout> --output rows.jsonl
    python experiments/threads/measure.py table rows.jsonl                 # medians, and the choice

Three situations (one training alone, one beside two busy loops, three at once), all settings in turn in each round, in
another order each time. A sample waits for a quiet second, and a row says how much of the machine other programs used
meanwhile; by default it counts when that was less than a tenth, and is taken again otherwise. Rows are appended and a
later call goes on where the file ends, so that rounds can be collected in quiet hours. A checkout has its environment
in `.venv`, as `make` sets it up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SPIN_COUNTS = (1_000, 3_000, 10_000, 20_000, 40_000, 80_000, 160_000)  # 300,000 by default, 0 when passive
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    **{f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in SPIN_COUNTS},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
DEFAULT_SPINS = {"GOMP_SPINCOUNT": "300000"}  # libgomp's default in words: the command then sets nothing itself
SITUATIONS = {"alone": (1, 0), "two busy loops": (1, 2), "three at once": (3, 0)}  # trainings, busy loops
QUIET = 0.1  # other programs' share of the machine up to which a sample counts
IDLE_FLOOR = 0.92  # of the default's speed alone, which a setting must keep to be chosen
TRAINING = [
    *["metrics=none", "samples=2", "budget.validation_images=2", "seed=0"],
    *["dataset=procstyle", "dataset.store.size_px=64", "dataset.batch_size=1", "dataset.style=oil_noise/train-1-00003"],
    *["encoder=vgg16", "encoder.weights=random", "encoder.normalize=false", "model.style_size_px=null"],
    *["model.content_layers=[relu2_1]", "model.style_layers=[relu1_1,relu2_1,relu3_1]"],
]
Row = dict[str, Any]
Sampler = Callable[[str, int], list[float]]  # variant and number of trainings to the steps a second of each


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process' environment with two threads and the settings, and no other setting of OpenMP."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}
    return {**bare, "OMP_NUM_THREADS": "2", **settings}


# -- the machine meanwhile


def busy_seconds() -> float:
    """Return the processor seconds that all programs have used since the machine started."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the processor seconds of this process and of everything it has started, ended or not."""
    own, parents = {os.getpid()}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
            parents.append((int(folder.name), int(fields[1]), fields))
    total = 0
    for process, parent, fields in sorted(parents, key=lambda entry: entry[0]):  # parents come first
        if process in own or parent in own:
            own.add(process)
            ended = fields[13:15] if process == os.getpid() else []
            total += sum(map(int, [*fields[11:13], *ended]))
    return total / os.sysconf("SC_CLK_TCK")


def others_share(busy: float, own: float, seconds: float, cores: int) -> float:
    """Return the share of the machine that other programs used, in [0, 1]: 0 if counters disagree."""
    return min(1.0, max(0.0, (busy - own) / (seconds * cores)))


def is_quiet(others: float, patience: float) -> bool:
    """Wait for a second in which the machine is used less than that share, at most so many seconds for it."""
    end = time.monotonic() + patience
    while True:
        busy = busy_seconds()
        time.sleep(1)
        if others_share(busy_seconds() - busy, 0, 1, os.cpu_count() or 1) <= others:
            return True
        if time.monotonic() > end:
            return False


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


# -- what is measured


def small_network() -> Callable[[], None]:
    """Return a training step of a small convolutional network: 4 pictures of 64 px."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.InstanceNorm2d(32, affine=True), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(32, 3, 3, padding=1))
    optimizer = torch.optim.Adam(network.parameters())
    images = torch.rand(4, 3, 64, 64)

    def step() -> None:
        optimizer.zero_grad()
        (network(images) - images).square().mean().backward()
        optimizer.step()

    return step


def work() -> None:
    """Be a training: for each number of seconds on the standard input, take steps so long and answer steps a second."""
    step = small_network()
    for _ in range(3):
        step()
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < float(line):
            step()
            steps += 1
        print(steps / (time.perf_counter() - start), flush=True)  # noqa: T201


class Networks:
    """Trainings of the small network: processes that are started once and sleep while others are measured.

    Args:
        variants: the settings by name.
        count: how many there can be at once.
        seconds: length of a sample.
        stack: ends the processes.
    """

    def __init__(self, variants: dict[str, dict[str, str]], count: int, seconds: float, stack: ExitStack) -> None:
        self.seconds = seconds
        self.processes: dict[str, list[subprocess.Popen[str]]] = {}
        for name, settings in variants.items():
            self.processes[name] = [
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, __file__, "work"],
                        env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    )
                )
                for _ in range(count)
            ]  # fmt: skip
            for process in self.processes[name]:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", f"{name}: the training did not start"

    def __call__(self, variant: str, trainings: int) -> list[float]:
        """Let so many trainings of a setting run at once; return the steps a second of each."""
        chosen = self.processes[variant][:trainings]
        for process in chosen:
            assert process.stdin is not None
            process.stdin.write(f"{self.seconds}\n")
            process.stdin.flush()
        return [float(process.stdout.readline()) for process in chosen if process.stdout is not None]


def run_trainings(checkout: Path, settings: dict[str, str], trainings: int, batches: int) -> list[float]:
    """Let so many `stylebench train` of a checkout run at once; return the steps a second of each, from its record."""
    length = [f"budget.batches={batches}", f"budget.evaluate_every={batches}"]
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(number) for number in range(trainings)]
        processes = [
            subprocess.Popen(
                [checkout / ".venv/bin/python", "-m", "stylebench", "train", *TRAINING, *length, f"run={folder}"],
                cwd=checkout, env=environment(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for folder in folders
        ]  # fmt: skip
        ends = [process.wait() for process in processes]
        if any(ends):
            raise RuntimeError(f"stylebench train in {checkout} ended with {ends}; try it there by hand")
        records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    return [record["images_per_second"] for record in records]  # one image per batch: steps a second


# -- rounds


def sample(sampler: Sampler, variant: str, situation: str) -> Row:
    """Take one sample."""
    trainings, loops = SITUATIONS[situation]
    with busy_loops(loops):
        start, busy, own = time.perf_counter(), busy_seconds(), own_seconds()
        each = sampler(variant, trainings)
        seconds = time.perf_counter() - start
        share = others_share(busy_seconds() - busy, own_seconds() - own, seconds, os.cpu_count() or 1)
    return {
        "situation": situation,
        "variant": variant,
        "steps_per_second": round(sum(each), 3),
        "each": [round(rate, 3) for rate in each],
        "others": round(share, 3),
        "seconds": round(seconds, 1),
    }


def collect(options: argparse.Namespace, variants: Sequence[str], sampler: Sampler) -> None:
    """Take what is missing of the rounds, and append each sample to the file."""
    earlier = [row for row in read(options.output) if row["kind"] == options.command and counts(row, options.others)]
    done = {(row["round"], row["situation"], row["variant"]) for row in earlier}
    for number in range(options.rounds):
        turn = number % len(variants)
        for situation in options.situations:
            for variant in [*variants[turn:], *variants[:turn]]:
                for _ in range(options.tries if (number, situation, variant) not in done else 0):
                    if not is_quiet(options.others, options.patience):
                        break
                    row = {"kind": options.command, "round": number, **sample(sampler, variant, situation)}
                    with options.output.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    if counts(row, options.others):
                        break


def counts(row: Row, others: float) -> bool:
    """Return whether other programs left the machine alone enough for the sample to count."""
    return bool(row["others"] <= others)


def read(path: Path) -> list[Row]:
    """Return the rows of a file, none if there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def medians(rows: Sequence[Row], others: float) -> dict[tuple[str, str, str], float]:
    """Return the median steps a second by kind, situation and variant, over the samples that count."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if counts(row, others):
            groups.setdefault((row["kind"], row["situation"], row["variant"]), []).append(row["steps_per_second"])
    return {key: statistics.median(values) for key, values in groups.items()}


def choose(speeds: dict[str, dict[str, float]]) -> str:
    """Return the setting with the best throughput on a busy machine among those that are fast enough alone.

    Args:
        speeds: steps a second by situation and setting. Throughput on a busy machine is the geometric mean of the two
            busy situations, each over the default's.
    """
    alone, loops, three = (speeds[situation] for situation in SITUATIONS)
    fit = [name for name in alone if alone[name] >= IDLE_FLOOR * alone["default"]]
    return max(fit, key=lambda name: loops[name] * three[name])


def table(rows: Sequence[Row], others: float) -> str:
    """Return the medians as Markdown, and what follows from them."""
    found = medians(rows, others)
    lines = []
    for kind in dict.fromkeys(kind for kind, _, _ in found):
        speeds = {
            situation: {variant: value for (k, s, variant), value in found.items() if (k, s) == (kind, situation)}
            for situation in SITUATIONS
        }
        names = list(dict.fromkeys(name for part in speeds.values() for name in part))
        lines += ["", f"| {kind} | {' | '.join(SITUATIONS)} |", "|---" * (len(SITUATIONS) + 1) + "|"]
        for name in names:
            cells = [f"{speeds[situation][name]:.2f}" if name in speeds[situation] else "-" for situation in SITUATIONS]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        complete = all(set(part) == set(names) for part in speeds.values())
        if complete and "default" in names:
            lines.append(f"\nchosen: {choose(speeds)}")
        elif complete and len(names) == 2:
            first, second = names
            ratios = ", ".join(f"{part[second] / part[first]:.2f} {situation}" for situation, part in speeds.items())
            lines.append(f"\n{second} over {first}: {ratios}")
    return "\n".join(lines).strip()


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["network", "train", "compare", "table", "work"])
    parser.add_argument("arguments", nargs="*", help="compare: <name>=<checkout>, two; table: the file")
    parser.add_argument("--output", type=Path, default=Path("threads.jsonl"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3, help="length of a sample of the small network")
    parser.add_argument("--batches", type=int, default=40, help="length of a run of stylebench train")
    parser.add_argument("--tries", type=int, default=3, help="how often a sample is taken before it is left missing")
    parser.add_argument("--patience", type=float, default=60, help="how many seconds a sample waits for a quiet one")
    parser.add_argument("--others", type=float, default=QUIET, help="share of other programs up to which samples count")
    parser.add_argument("--situations", nargs="+", choices=list(SITUATIONS), default=list(SITUATIONS))
    options = parser.parse_intermixed_args()
    if options.command == "work":
        work()
    elif options.command == "table":
        print(table(read(Path(options.arguments[0])), options.others))  # noqa: T201
    elif options.command == "network":
        most = max(SITUATIONS[situation][0] for situation in options.situations)
        if not is_quiet(options.others, options.patience):
            raise SystemExit("other programs are at work; try again later, or with a larger --patience or --others")
        with ExitStack() as stack:
            collect(options, list(SETTINGS), Networks(SETTINGS, most, options.seconds, stack))
    elif options.command == "train":
        settings = {**SETTINGS, "default": DEFAULT_SPINS}
        collect(options, list(settings), lambda name, n: run_trainings(ROOT, settings[name], n, options.batches))
    else:
        checkouts = {name: Path(path) for name, _, path in (argument.partition("=") for argument in options.arguments)}
        collect(options, list(checkouts), lambda name, n: run_trainings(checkouts[name], {}, n, options.batches))


if __name__ == "__main__":
    main()
