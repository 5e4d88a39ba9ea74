"""What an author gets from the base: the least method is one class, and no method trains with the judge."""

from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stylebench.data.tasks import PairedBatch, StyleBatch
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.methods.base import Method
from stylebench.methods.checks import refuse_judges
from stylebench.methods.terms import NonFiniteLossError
from stylebench.nn.encoders import CompactEncoder, JudgeEncoder


class Least(Method):
    """A step, and nothing else."""

    def training_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        assert batch.content is not None
        return self.log_and_sum({"gray": (self.model(batch.content) - 0.5).square().mean()}, {"gray": 3.0})


def least() -> Method:
    network = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.eye_(network.weight[..., 0, 0].data)
    return Least(
        inference=ImageToImage(network), optimizers={"generator": lambda weights: torch.optim.SGD(weights, 0.5)}
    )


def test_the_least_method_validates_by_the_terms_of_its_step() -> None:
    method, batch = least(), StyleBatch(torch.full((2, 3, 4, 4), 0.9), None)
    with torch.no_grad():
        method.validation_step(batch, 0)
    found = {name: float(value) for name, value in method.latest["val"].items()}
    assert found == {
        "val/loss/gray": pytest.approx(0.16), "val/weighted/gray": pytest.approx(0.48),
        "val/loss/total": pytest.approx(0.48),
    }  # fmt: skip
    assert method.latest["train"] == {}


def log_infinite(method: Method) -> None:
    method.log_and_sum({"gray": torch.tensor(float("inf"))}, {"gray": 1.0})
    method.check_finite()


def test_the_least_method_learns_by_its_one_optimizer() -> None:
    method = least()
    optimizer = method.configure_optimizers()
    assert optimizer.param_groups[0]["params"] == list(method.model.parameters())
    assert method.automatic_optimization
    with pytest.raises(NonFiniteLossError, match=r"Lower model\.optimizers\.generator\.lr or"):
        log_infinite(method)
    with pytest.raises(TypeError, match=r"Least has no players and 0 optimizers; .*super\(\).__init__\(optimizers="):
        Least().configure_optimizers()


def test_default_rows_are_what_is_shown_and_what_is_made() -> None:
    content, style = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    for batch, shown in (
        (StyleBatch(content, style), [content, style]),
        (StyleBatch(content, None), [content]),
        (PairedBatch(content, style), [content]),
    ):
        rows = least().sample_rows(batch)
        assert len(rows) == len(shown) + 1
        assert all(map(torch.equal, rows, [*shown, content]))  # the network hands its input through


@pytest.fixture(scope="module")
def judge() -> JudgeEncoder:
    pictures = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    return JudgeEncoder("random", ["mix5"], ["stem"], "mix5", calibration=pictures)


REFUSAL = r"compact_judge only scores what others trained.*such as encoder=compact$"


@pytest.mark.parametrize(
    "wrap",
    [lambda judge: judge, lambda judge: nn.ModuleList([judge]), lambda judge: nn.Sequential(nn.Sequential(judge))],
)
def test_method_refuses_the_judge_at_any_depth(wrap: Any, judge: JudgeEncoder) -> None:
    method = Method()
    method.encoder = wrap(judge)
    with pytest.raises(ValueError, match=REFUSAL):
        method.setup("fit")


def test_method_refuses_the_judge_that_came_in_later(judge: JudgeEncoder) -> None:
    method = Method()
    method.losses = nn.ModuleList()
    method.losses.append(judge)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    method.training_step = lambda *_: None  # type: ignore[method-assign]
    method.configure_optimizers = lambda: torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # type: ignore[method-assign]
    loader = DataLoader(TensorDataset(torch.zeros(1, 2)))
    with pytest.raises(ValueError, match=REFUSAL):
        trainer.fit(method, loader, loader)


def test_refusing_judges_looks_at_classes_and_leaves_all_else() -> None:
    with pytest.raises(ValueError, match=REFUSAL):
        refuse_judges(JudgeEncoder)
    for other in (CompactEncoder, nn.Linear, nn.Linear(1, 1), print, Method()):
        refuse_judges(other)


@pytest.mark.parametrize(
    ("processes", "device", "flag", "refused"),
    [(2, "cpu", False, True), (1, "cpu", False, False), (2, "cuda", False, False), (2, "cpu", True, True)],
)
def test_synced_batch_norm_on_processes_of_the_cpu_is_refused_before_training(
    processes: int, device: str, flag: bool, refused: bool
) -> None:
    method = Method()
    method.network = nn.Sequential(nn.BatchNorm2d(3) if flag else nn.SyncBatchNorm(3))
    strategy = SimpleNamespace(root_device=torch.device(device), _layer_sync=object() if flag else None)
    method._trainer = SimpleNamespace(world_size=processes, strategy=strategy)  # type: ignore[assignment]
    if not refused:
        method.setup("fit")
        return
    with pytest.raises(ValueError, match=r"SyncBatchNorm \((network\.0|trainer.*)\).*2 processes.*sync_moments=true"):
        method.setup("fit")
