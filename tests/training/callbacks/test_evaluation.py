"""Evaluation and health in training, on a real run of two evaluations, and on two processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.build import build, measured_plans, open_data
from stylebench.cli.config import compose
from stylebench.commands.evaluate import evaluate
from stylebench.commands.train import train
from stylebench.data.opened import Opened
from stylebench.data.plan import Piece, Plan
from stylebench.data.tasks import StyleTask
from stylebench.files import read_pickle
from stylebench.functional.pixels import quantize
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.extractors import RandomMultiScale
from stylebench.metrics.feature_pairs import GramDistance
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.measuring import fair_to_untouched, measure_method, untouched
from stylebench.metrics.pairs import PSNR
from stylebench.metrics.readouts import Masks
from stylebench.metrics.records import to_record
from stylebench.metrics.sets import FrechetDistance, KernelDistance, Manifold
from stylebench.run_folder import IMAGE_COLUMNS, RunFolder
from stylebench.training.callbacks.health import Health
from tests.helpers.processes import both_ended, forked

Make = Callable[..., dict[str, Any]]
WORLD = [
    "dataset=procstyle", "dataset.store.size_px=32", "dataset.size_px=32", "dataset.style=flat", "dataset.batch_size=2",
]  # fmt: skip


def inputs(split: str = "val", count: int = 6, scenes: int = 4, *overrides: str) -> Plan:
    settings = compose("train", [*WORLD, *overrides])["dataset"]
    opened = Opened.of(build(settings["store"]), settings, StyleTask, seed=0, draws=("content",))
    (plan,) = opened.plans(split)
    return plan.limited(count, scenes=scenes, draws=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four batches with two evaluations."""
    from tests.helpers.tiny import TINY

    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        chosen = ["metrics=track", "metrics.num_images=4", "dataset.store.count=90", "dataset.size_px=48"]
        config = compose("train", [*TINY, *chosen, "budget.batches=4", "budget.evaluate_every=2"])
        train(config, folder, [])
    return folder


def test_values_stand_in_record_and_log(trained: Path) -> None:
    record = json.loads((trained / "record.json").read_text())
    header = (trained / "metrics.csv").read_text().splitlines()[0].split(",")
    shown = {
        f"val/{entry['alias']}": entry
        for entry in RunFolder(trained).values("val-ema").values()
        if entry["value"] is not None
    }
    assert "val/style_compact_judge" in header
    assert shown["val/style_compact_judge"]["weights"] == "ema"
    assert shown["val/style_compact_judge"]["batches"] == 4
    assert shown["val/style_compact_judge"]["n_gen"] == 4
    assert record["final"]["val/style_compact_judge"] == shown["val/style_compact_judge"]["value"]
    assert record["evaluation_seconds"] > 0
    assert {"grey_output", "mode_collapse"} <= set(record["health"])


def test_the_record_holds_what_the_untouched_contents_score(trained: Path) -> None:
    run = RunFolder(trained)
    found = run.record["untouched"]
    entries = {f"val/{entry['alias']}": entry for entry in run.values("val-ema").values()}
    assert list(found) == ["val/style_compact_judge"]  # contents have no distance to themselves
    assert found["val/style_compact_judge"]["larger_is_better"] is False
    assert found["val/style_compact_judge"]["value"] != entries["val/style_compact_judge"]["value"]


def test_untouched_contents_are_measured_as_results_are(tmp_path: Path) -> None:
    plan, cpu = inputs("val", 6, 4), torch.device("cpu")
    evaluator = fair_to_untouched(Evaluator({}, {"psnr": PSNR(), "near": PSNR("content"), "masks": Masks()}))
    assert list(evaluator.metrics) == ["psnr"]
    (value,) = measure_method(evaluator, plan, untouched, cache=ReferenceCache(tmp_path), size=4, device=cpu)
    (piece, _) = plan.pieces(4, 0, 1, cpu)
    errors = (quantize(piece.images)[:, None].double() - piece.known["target"].double()).square().mean((2, 3, 4))
    nearest = 10 * torch.log10(255**2 / errors.amin(1))  # dB, of each content to the nearest of its right answers
    assert value.value == pytest.approx(float(nearest.mean()), rel=1e-6)


def test_untouched_contents_are_enlarged_to_their_answers() -> None:
    small, large = torch.full((2, 3, 4, 6), 0.25), torch.zeros(2, 1, 3, 8, 12, dtype=torch.uint8)
    assert untouched(Piece(small, {}, {}, {})) is small
    enlarged = untouched(Piece(small, {}, {}, {"target": large}))
    assert enlarged.shape == (2, 3, 8, 12)
    torch.testing.assert_close(enlarged, torch.full_like(enlarged, 0.25))


def test_a_finished_run_is_evaluated_from_its_folder(trained: Path) -> None:
    before = RunFolder(trained).values("val-ema")
    record = (trained / "record.json").read_bytes()
    chosen = [f"run={trained}", "split=val", "metrics=track", "metrics.num_images=4", "device=cpu", "save_images=true"]
    found = evaluate(compose("evaluate", chosen)).record
    assert found.keys() == before.keys()
    for key, entry in found.items():
        if entry["value"] is not None:
            assert entry["value"] == pytest.approx(before[key]["value"], rel=1e-3), key  # batches of another size
    pictures = trained / "evaluation" / "val-ema"
    manifest = json.loads((pictures / "manifest.json").read_text())
    assert sorted(manifest["images"]) == sorted(path.name for path in pictures.glob("*.png"))
    assert len(manifest["images"]) == 4
    raw = evaluate(compose("evaluate", [*chosen, "weights=raw"]))
    run = RunFolder(trained)
    assert run.sets() == ["val-ema", "val-raw"]  # neither overwrites the other
    assert run.values("val-raw") == raw.record
    assert run.values("val-ema") == found
    assert run.final() == {**run.record["final"], **{f"val/{key}": value for key, value in raw.means.items()}}
    assert (trained / "record.json").read_bytes() == record, "only training writes it"


def test_the_table_has_a_row_an_image_whose_means_are_the_values(trained: Path) -> None:
    run = RunFolder(trained)
    rows, values = run.rows("val-ema"), run.values("val-ema")
    assert [row["index"] for row in rows] == ["0", "1", "2", "3"]
    assert len({row["content_id"] for row in rows}) == 4
    assert all(row["style_id"] for row in rows)
    assert {row["seed"] for row in rows} == {str(run.config["seed"])}
    metrics = [name for name in rows[0] if name not in IMAGE_COLUMNS]
    assert metrics == [key for key, entry in values.items() if "design" in entry]  # every pair metric
    for key in metrics:
        assert sum(row[key] for row in rows) / 4 == pytest.approx(values[key]["value"], rel=1e-12), key


def test_no_metric_is_in_a_checkpoint(trained: Path) -> None:
    (newest,) = sorted(trained.glob("checkpoints/*.ckpt"))[-1:]
    checkpoint = read_pickle(newest)
    keys = [*checkpoint["state_dict"], *checkpoint["stylebench"]["ema"]["networks"]]
    assert keys
    assert all(key.startswith("model") for key in keys)
    assert not [name for name in checkpoint.get("callbacks", {}) if "Evaluation" in name or "Health" in name]


def test_inputs_know_the_exact_answers_of_the_first_scenes() -> None:
    known = inputs()
    pieces = list(known.pieces(3, 0, 1, torch.device("cpu")))
    assert [len(piece.known["index"]) for piece in pieces] == [3, 1, 2]  # exact answers for all of a piece, or none
    assert [piece.known.get("world") is not None for piece in pieces] == [True, True, False]
    assert pieces[0].known["target"].shape == (3, 2, 3, 32, 32)
    assert pieces[0].known["style_id"] == ["flat"] * 3
    assert known.roles() == {"content", "world", "target", "reference"}


def test_processes_share_images_without_padding() -> None:
    known = inputs(count=7)
    whole = [i for piece in known.pieces(3, 0, 1, torch.device("cpu")) for i in piece.known["index"].tolist()]
    shares = [
        [i for piece in known.pieces(3, rank, 3, torch.device("cpu")) for i in piece.known["index"].tolist()]
        for rank in range(3)
    ]
    assert whole == list(range(7))
    assert sorted(i for share in shares for i in share) == whole
    assert [len(share) for share in shares] == [2, 2, 3]


def test_the_exact_answer_is_found_to_be_one(tmp_path: Path) -> None:
    known = inputs(count=4, scenes=4)
    evaluator = Evaluator({}, {"psnr": PSNR()})
    answers = iter(known.pieces(4, 0, 1, torch.device("cpu")))

    def translate(piece: Piece) -> Tensor:
        return next(answers).known["target"][:, 0].float() / 255

    (value,) = measure_method(
        evaluator, known, translate, cache=ReferenceCache(tmp_path), size=4, device=torch.device("cpu")
    )
    assert value.value == 100
    assert value.key == "psnr/nearest2/n4"


def test_a_single_style_picture_of_a_world_has_its_style_as_reference() -> None:
    known = inputs("val", 6, 4, "dataset.style=flat/train-1-00003")
    assert known.reference_count() == 6
    assert known.roles() == {"content", "style", "world", "target", "reference"}
    piece = next(known.pieces(4, 0, 1, torch.device("cpu")))
    assert piece.known["style"].shape == (1, 3, 32, 32)
    assert piece.known["style_id"] == ["flat"] * 4


class Fake:
    """A run record that keeps what is written."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}


@pytest.mark.parametrize(("outputs", "expected"), [("gray", "grey_output"), ("inverted", "color_inversion")])
def test_a_silent_failure_is_named_once(
    outputs: str, expected: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record: Any = Fake()
    health = Health(inputs(), record, from_batch=10)
    made = {"gray": lambda x: torch.full_like(x, 0.5), "inverted": lambda x: 1 - x}[outputs]
    for batches in (5, 10, 15):
        _at(health, made, batches)
        assert (expected in record.record["health_failures"]) == (batches >= 10)
    assert record.record["health_failures"][expected]["batches"] == 10
    assert caplog.text.count(f"{expected} at batch") == 1


def test_a_healthy_method_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    record: Any = Fake()
    _at(Health(inputs(), record, from_batch=0), lambda x: (0.8 * x + 0.1 * x.flip(1)).clamp(0, 1), 5)
    assert record.record["health_failures"] == {}
    assert "at batch" not in caplog.text


def _at(health: Health, made: Callable[[Tensor], Tensor], batches: int) -> None:
    """Run the callback as a trainer would."""
    from types import SimpleNamespace

    method: Any = SimpleNamespace(
        device=torch.device("cpu"), batches_done=batches, translated=lambda images, pictures, request: made(images),
        check_weights_finite=lambda: None,
    )  # fmt: skip
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[])
    health.on_validation_epoch_end(trainer, method)


def _pictures(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 24, 24), generator=generator, dtype=torch.uint8)


def _values(first: int, last: int, again: int) -> dict[str, Any]:
    """Evaluate a share of 101 images, one of them twice over all."""
    images, target, style = _pictures(101, 0), _pictures(101, 1)[:, None], _pictures(101, 2)
    metrics = {
        "fd": FrechetDistance("r"), "kd": KernelDistance("r"), "prdc": Manifold("r"), "psnr": PSNR(),
        "style": GramDistance("r"),
    }  # fmt: skip
    evaluator = Evaluator({"r": RandomMultiScale()}, metrics)
    for place in (*range(first, last), again):  # one by one: a convolution rounds by the size of its batch
        rows = torch.tensor([place])
        evaluator.update(EvaluationBatch(images[rows], rows, target=target[rows], style=style[rows]))
    reference = {"r": FeatureSet.of(RandomMultiScale()(_pictures(90, 3)))}
    return {key: entry["value"] for key, entry in to_record(evaluator.compute(reference)).items()}


def test_a_network_is_described_once(tmp_path: Path) -> None:
    evaluator = Evaluator({"r": RandomMultiScale()}, {"fd": FrechetDistance("r"), "kd": KernelDistance("r")})
    evaluator.update(EvaluationBatch(_pictures(60, 0), torch.arange(60)))
    reference = {"r": FeatureSet.of(RandomMultiScale()(_pictures(60, 3)))}
    found = to_record(evaluator.compute(reference), weights="raw")
    described = RandomMultiScale().describe()
    assert [entry["network"] for entry in found.values() if entry["value"] is not None] == [described] * 2
    run = RunFolder(tmp_path)
    run.write_evaluation("val-raw", found, evaluator.table(), {"weights": "raw"})
    assert run.values("val-raw") == found
    written = json.loads((run.set_folder("val-raw") / "values.json").read_text())
    assert written["networks"] == {described["name"]: described}
    rows = run.rows("val-raw")  # images stand there without a pair metric, too
    assert [(row["index"], row["content_id"]) for row in rows] == [(str(place), "") for place in range(60)]


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    values = _values(0, 64, 70) if rank == 0 else _values(64, 101, 64)  # 70 is seen by both
    Path(folder, f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


def test_two_uneven_processes_give_the_values_of_one(tmp_path: Path) -> None:
    assert both_ended([forked(_process, rank, str(tmp_path)) for rank in (0, 1)]) == [0, 0]
    alone = _values(0, 101, 0)
    for rank in (0, 1):
        together = json.loads((tmp_path / f"{rank}.json").read_text())
        assert together.keys() == alone.keys()
        for key, value in alone.items():
            assert together[key] == pytest.approx(value, rel=1e-10, abs=1e-12), key


@pytest.mark.parametrize("model", ["pix2pix", "super_resolution"])
def test_pairs_of_a_rendered_world_are_measured_beyond_the_scenes_with_exact_answers(model: str) -> None:
    overrides = ["dataset=procstyle", "dataset.store.size_px=32", "dataset.target=flat", "metrics.num_images=6"]
    overrides += ["metrics=smoke", "metrics.scenes=2", "dataset.store.train_images=4", "dataset.store.val_images=8"]
    if model == "super_resolution":
        overrides += ["dataset.input=null"]
    config = compose("train", [f"model={model}", *overrides])
    (plan,) = measured_plans(config["metrics"], open_data(config).plans("val"))
    pieces = list(plan.pieces(4, 0, 1, torch.device("cpu")))
    counts = {len(piece.known["target"][0]) for piece in pieces if "target" in piece.known}
    assert len(counts) == 1  # a set has as many right answers for one image as for another
    assert sum(len(piece.known["index"]) for piece in pieces) == 6
