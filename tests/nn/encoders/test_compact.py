"""The two encoders of our own: their shape, their files, and what the files in the package must be."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from stylebench.files import DamagedFileError, file_digest
from stylebench.methods.base import Method
from stylebench.nn.encoders import CompactEncoder, Encoder, JudgeEncoder, SqueezeNetEncoder
from stylebench.nn.encoders.normalization import calibration_name, measure_means
from stylebench.nn.encoders.weights import load_metadata
from tests.nn.encoders.weight_files import state_of, write_weights

# Blocks of 2, 2, 2, 2, 1 convolutions and a pool: convolutions, channels and stride; the pool has twice the stride.
BLOCKS = ((2, 24, 1), (2, 48, 2), (2, 96, 4), (2, 144, 8), (1, 176, 16))
JUDGE = {  # channels and stride by tap
    "stem": (32, 2), "mix1": (64, 2), "pool1": (64, 4), "mix2": (128, 4), "mix3": (128, 4), "pool2": (128, 8),
    "mix4": (176, 8), "mix5": (176, 8), "pool3": (176, 16), "mix6": (256, 16), "mix7": (256, 16),
}  # fmt: skip
NAMES = ("compact", "compact_judge")
CONFIGS = Path(__file__).parents[3] / "conf" / "encoder"
LIMIT_BYTES = {"compact": 1_500_000, "compact_judge": 1_000_000}
# Channels of the shipped files that are 0 on the built-in pictures.
DEAD = {"compact": {"relu1_1": 1, "relu5_1": 2}, "compact_judge": {"mix5": 1, "mix7": 60}}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Make = Callable[..., Encoder]


def layers_of(name: str) -> dict[str, Any]:
    """Read the layers of an encoder's config."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return {key: config[key] for key in ("content_layers", "style_layers", "exchange_layer")}


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"stylebench.nn.encoders.{name.removeprefix('compact_')}")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(name: str) -> Make:
    """Return a function that builds the encoder with the layers of its config."""

    def build(weights: str = "random", **options: Any) -> Encoder:
        made = CompactEncoder if name == "compact" else JudgeEncoder
        return made(weights, **layers_of(name), **options)

    return build


@pytest.fixture
def encoder(name: str, compact: CompactEncoder, judge: JudgeEncoder) -> Encoder:
    return compact if name == "compact" else judge


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make measuring fail, and leave nothing measured before."""

    def fail(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stylebench.nn.encoders.base.measure_means", fail)


# Shape


def test_compact_taps_channels_and_strides(compact: CompactEncoder) -> None:
    expected = {}
    for block, (convs, channels, stride) in enumerate(BLOCKS, start=1):
        for number in range(1, convs + 1):
            expected |= {f"{kind}{block}_{number}": (channels, stride) for kind in ("conv", "relu")}
        expected[f"pool{block}"] = (channels, 2 * stride)
    assert {tap: (compact.channels[tap], compact.strides[tap]) for tap in compact.taps} == expected


def test_judge_taps_channels_and_strides(judge: JudgeEncoder) -> None:
    assert {tap: (judge.channels[tap], judge.strides[tap]) for tap in judge.taps} == JUDGE


def test_compact_parameter_count(compact: CompactEncoder) -> None:
    assert sum(tensor.numel() for tensor in state_of(compact).values()) == 701_288


def test_judge_parameter_count(judge: JudgeEncoder) -> None:
    assert sum(tensor.numel() for tensor in state_of(judge).values()) == 461_904


@pytest.mark.parametrize("size", [(32, 48), (37, 53), (33, 34)])
def test_sizes_by_tap(size: tuple[int, int], encoder: Encoder) -> None:
    def shrunk(side: int, stride: int) -> int:
        return side // stride if isinstance(encoder, CompactEncoder) else -(-side // stride)

    for tap, maps in encoder(torch.rand(2, 3, *size), encoder.taps).items():
        stride = encoder.strides[tap]
        assert maps.shape == (2, encoder.channels[tap], *(shrunk(side, stride) for side in size)), tap


def test_compact_is_a_plain_chain(compact: CompactEncoder, images: Tensor) -> None:
    state, found, index = state_of(compact), compact(images, compact.taps), 0
    maps = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    for block, (convs, _, _) in enumerate(BLOCKS, start=1):
        for number in range(1, convs + 1):
            maps = F.conv2d(maps, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1)
            torch.testing.assert_close(found[f"conv{block}_{number}"], maps)
            maps, index = maps.relu(), index + 2
        maps, index = F.max_pool2d(maps, 2), index + 1
    torch.testing.assert_close(found["pool5"], maps)


def test_judge_is_the_network_written_out(judge: JudgeEncoder, images: Tensor) -> None:
    state, found = state_of(judge), judge(images, judge.taps)

    def conv(x: Tensor, key: str, **options: int) -> Tensor:
        return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], **options)

    maps = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    maps = conv(maps, "features.0", stride=2, padding=2).relu()
    for tap in judge.taps[1:]:
        if tap.startswith("pool"):
            maps = F.avg_pool2d(maps, 3, 2, 1)
        else:
            squeezed = conv(maps, f"{tap}.squeeze").relu()
            parts = [
                conv(squeezed, f"{tap}.point"),
                conv(squeezed, f"{tap}.near", padding=1),
                conv(squeezed, f"{tap}.far", padding=2, dilation=2),
            ]
            maps = torch.cat(parts, 1).relu()
        torch.testing.assert_close(found[tap], maps)
    assert judge.groups()[-1].tap == "mix7"


def test_compact_geometry_changes_maps_and_name(make: Make, name: str, pictures: Tensor, images: Tensor) -> None:
    if name != "compact":
        with pytest.raises(TypeError):
            make(padding="reflect")
        return
    plain, variant = make(calibration=pictures), make(calibration=pictures, padding="reflect", pooling="avg")
    assert variant.name == f"{plain.name}_reflect_avg"
    assert not torch.allclose(plain(images, ["pool1"])["pool1"], variant(images, ["pool1"])["pool1"])
    with pytest.raises(ValueError, match=r"padding must be one of zeros"):
        make(padding="same")


# Normalization and name


def test_normalization_changes_nothing_but_each_channels_scale(
    make: Make, encoder: Encoder, pictures: Tensor, images: Tensor
) -> None:
    normalized, taps = make(calibration=pictures), [group.tap for group in encoder.groups()]
    means, remeasured = measure_means(encoder, taps, pictures), measure_means(normalized, taps, pictures)
    raw, scaled = encoder(images, taps), normalized(images, taps)
    for tap in taps:
        alive = means[tap] >= 1e-6
        assert alive.sum() > len(alive) / 2, tap
        torch.testing.assert_close(remeasured[tap][alive], torch.ones(int(alive.sum())).double(), rtol=0, atol=1e-3)
        unscaled = scaled[tap] * torch.where(alive, means[tap], 1.0).float()[:, None, None]
        assert (unscaled - raw[tap]).norm() / raw[tap].norm() < 1e-4, tap
    assert normalized.describe()["calibration"] == calibration_name(pictures)
    assert normalized.describe()["normalized"] is True


def test_every_group_is_read_by_the_next_convolution(encoder: Encoder) -> None:
    groups, convs = encoder.groups(), [conv for stage in encoder.stages.values() for conv in stage.convs().values()]
    assert all(sum(conv.weight.shape[0] for conv in group.producers) == encoder.channels[group.tap] for group in groups)
    readers = [conv for group in groups for conv in group.consumers]
    assert all(conv.weight.shape[1] == encoder.channels[group.tap] for group in groups for conv in group.consumers)
    assert [len(group.consumers) for group in groups] == [1] * (len(groups) - 1) + [0]
    assert len(readers) == len(set(readers)) <= len(convs)


def test_name_ends_with_the_digest(make: Make, name: str, pictures: Tensor) -> None:
    encoder = make(calibration=pictures)
    assert encoder.describe()["name"] == f"{name}-{encoder.digest[:8]}"


def test_random_weights_differ_by_seed(make: Make, pictures: Tensor) -> None:
    first, again, other = (make(weights, calibration=pictures) for weights in ("random", "random-0", "random-1"))
    assert (first.digest, first.name) == (again.digest, again.name)
    assert (first.digest == other.digest, first.name == other.name) == (False, False)


# Files


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 0.0), (torch.float16, 0.01), (torch.bfloat16, 0.05)])
@pytest.mark.usefixtures("unmeasured")
def test_file_that_says_it_is_normalized_is_taken_so(
    dtype: torch.dtype, error: float, make: Make, encoder: Encoder, name: str, images: Tensor, tmp_path: Path
) -> None:
    claims = {"encoder": name, "calibration": calibration_name(None)}
    path = write_weights(state_of(encoder), tmp_path / "net.safetensors", claims, dtype)
    again = make(str(path))
    for tap, maps in encoder(images, encoder.taps).items():
        assert (again(images, [tap])[tap] - maps).norm() / maps.norm() <= error, tap
    described = again.describe()
    assert described["calibration"] == calibration_name(None)
    assert described["digest"] == file_digest(path)
    assert described["name"] == f"{name}-{file_digest(path)[:8]}"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"encoder": "vgg19", "calibration": "{calibration}"},
        {"calibration": "{calibration}"},
        {"encoder": "{name}", "calibration": "given-1x8x8-000000000000"},
    ],
)
@pytest.mark.usefixtures("unmeasured")
def test_file_without_the_right_claims_is_measured(
    claims: dict[str, str], make: Make, encoder: Encoder, name: str, tmp_path: Path
) -> None:
    said = {key: text.format(name=name, calibration=calibration_name(None)) for key, text in claims.items()}
    path = write_weights(state_of(encoder), tmp_path / "net.safetensors", said)
    with pytest.raises(AssertionError, match="measured"):
        make(str(path))


def test_file_for_other_pictures_is_measured_on_them(
    make: Make, encoder: Encoder, name: str, pictures: Tensor, tmp_path: Path
) -> None:
    claims = {"encoder": name, "calibration": calibration_name(None)}
    path = write_weights(state_of(encoder), tmp_path / "net.safetensors", claims)
    found = make(str(path), calibration=pictures)
    assert found.calibration == calibration_name(pictures)
    for mean in measure_means(found, [group.tap for group in found.groups()], pictures).values():
        assert (mean - 1).abs().median() < 1e-3


def test_neither_takes_the_weights_of_the_other(
    compact: CompactEncoder, judge: JudgeEncoder, make: Make, name: str, tmp_path: Path
) -> None:
    other = judge if name == "compact" else compact
    claims = {"encoder": name, "calibration": calibration_name(None)}
    path = write_weights(state_of(other), tmp_path / "net.safetensors", claims)
    with pytest.raises(
        ValueError, match=rf"should hold the weights of {name}, but it differs; missing: .*architecture"
    ):
        make(str(path))


def test_squeezenet_reads_safetensors_too(
    squeeze: Callable[..., SqueezeNetEncoder], squeezenet: SqueezeNetEncoder, images: Tensor, tmp_path: Path
) -> None:
    found = squeeze(str(write_weights(state_of(squeezenet), tmp_path / "net.safetensors")))
    expected = squeezenet(images, ["fire9"])["fire9"]
    assert (found(images, ["fire9"])["fire9"] - expected).norm() / expected.norm() < 0.01
    assert found.describe()["normalized"] is False


@pytest.mark.usefixtures("unmeasured")
def test_shipped_weights_must_have_the_recorded_digest(
    make: Make, encoder: Encoder, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path = module_of(name), tmp_path / f"{name}.safetensors"
    monkeypatch.setattr(module, "SHIPPED", path)
    with pytest.raises(FileNotFoundError, match=rf"incomplete: it has no .*{name}\.safetensors; reinstall stylebench"):
        make("shipped")
    write_weights(state_of(encoder), path, {"encoder": name, "calibration": calibration_name(None)})
    for digest in ("", "0" * 64):
        monkeypatch.setattr(module, "_DIGEST", digest)
        with pytest.raises(DamagedFileError, match=r"damaged: .*reinstall stylebench"):
            make("shipped")
    monkeypatch.setattr(module, "_DIGEST", file_digest(path))
    assert make("shipped").describe()["weights"] == "shipped"


def test_weights_that_are_nowhere_name_what_there_is(make: Make) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"weights must be shipped, random or the path .*found no file imagenet"
    ):
        make("imagenet")


# The files in the package


def test_shipped_file_is_small_and_the_one_recorded(name: str) -> None:
    path = module_of(name).SHIPPED
    assert path.stat().st_size <= LIMIT_BYTES[name]
    assert file_digest(path) == module_of(name)._DIGEST


def test_shipped_file_says_whose_it_is_and_how_it_was_normalized(name: str) -> None:
    found = load_metadata(module_of(name).SHIPPED)
    assert (found["encoder"], found["calibration"]) == (name, calibration_name(None))


@pytest.mark.usefixtures("unmeasured")
def test_shipped_encoder_is_ready_without_measuring_and_named_by_its_digest(make: Make, name: str) -> None:
    encoder = make("shipped")
    assert encoder.describe()["name"] == f"{name}-{module_of(name)._DIGEST[:8]}"
    assert encoder.calibration == calibration_name(None)


def test_shipped_encoder_has_mean_activations_of_one_but_for_dead_channels(make: Make, name: str) -> None:
    encoder, dead = make("shipped"), {}
    for tap, mean in measure_means(encoder, [group.tap for group in encoder.groups()], None).items():
        alive = mean >= 1e-6  # a dead channel stays as it is
        assert (mean[alive] - 1).abs().max() <= 0.01, tap  # half precision has 11 bits: 0.05 % a weight
        if not alive.all():
            dead[tap] = int((~alive).sum())
    assert dead == DEAD[name]
    assert all(dead.get(tap, 0) <= 0.05 * encoder.channels[tap] for tap in encoder.style_layers)


# What the judge is kept from


@pytest.mark.parametrize(
    "wrap",
    [
        lambda judge: [judge],
        lambda judge: (1, judge),
        lambda judge: {"critic": judge},
        lambda judge: {"critics": [("first", nn.Sequential(judge))]},
        lambda judge: [JudgeEncoder],
    ],
)
def test_method_refuses_the_judge_in_plain_containers(wrap: Callable[[Encoder], object], judge: JudgeEncoder) -> None:
    refusal = "compact_judge only scores what others trained"
    method = Method()
    method.critics = wrap(judge)
    with pytest.raises(ValueError, match=refusal):
        method.setup("fit")
    part = nn.Linear(1, 1)
    part.critics = wrap(judge)
    method = Method()
    method.part = part
    with pytest.raises(ValueError, match=refusal):
        method.setup("fit")


def test_method_refuses_the_judge_that_came_into_a_container_later(
    compact: CompactEncoder, judge: JudgeEncoder
) -> None:
    method = Method()
    method.critics = {"all": [compact]}
    method.critics["self"] = method.critics  # a loop must not be walked for ever
    method.setup("fit")
    method.critics["all"].append(judge)
    with pytest.raises(ValueError, match="compact_judge only scores what others trained"):
        method.setup("fit")
