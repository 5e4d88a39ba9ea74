"""DINOv2 and CLIP: tiny models where the package is installed, and what is said where package or model are not here."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stylebench.files import DamagedFileError
from stylebench.metrics.extractors import CLIP, DINOv2, clip
from stylebench.metrics.resizing import resize_clean
from stylebench.metrics.weights import MissingWeightsError
from stylebench.nn.encoders.base import PROFILES
from tests.metrics.extractors.contract import check_features, check_gradients, pictures

TINY = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
}  # fmt: skip


@pytest.fixture
def package() -> Any:
    return pytest.importorskip("transformers", reason="needs the extra: pip install stylebench[clip]")


@pytest.fixture
def dinov2(package: Any, tmp_path: Path) -> Path:
    package.Dinov2Model(package.Dinov2Config(**TINY)).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def vision(package: Any, tmp_path: Path) -> Path:
    config = package.CLIPVisionConfig(**TINY, intermediate_size=16, projection_dim=8)
    package.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    return tmp_path


def _prepared(size: int, mean: Any, std: Any) -> torch.Tensor:
    levels = resize_clean(pictures().float(), size) / 255
    return (levels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def test_dinov2_is_the_class_token(package: Any, dinov2: Path) -> None:
    extractor = DINOv2(str(dinov2), size_px=42)
    network = package.Dinov2Model.from_pretrained(dinov2).eval()
    with torch.no_grad():
        expected = network(pixel_values=_prepared(42, *PROFILES["torch"])).pooler_output
    torch.testing.assert_close(extractor(pictures()), expected, rtol=1e-4, atol=1e-5)
    assert extractor.name == f"dinov2-16x1-{extractor.digest[:8]}"
    check_features(extractor, pictures())
    check_gradients(extractor, pictures())
    with pytest.raises(ValueError, match="multiple of the model's patch, 14, got 32"):
        DINOv2(str(dinov2), size_px=32)


def test_clip_embeddings_have_unit_length_and_no_published_name(package: Any, vision: Path) -> None:
    extractor = CLIP(str(vision))
    network = package.CLIPVisionModelWithProjection.from_pretrained(vision).eval()
    with torch.no_grad():
        expected = network(pixel_values=_prepared(28, *extractor.profile)).image_embeds
    found = check_features(extractor, pictures())
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-5)
    assert extractor.canonical == ()
    check_gradients(extractor, pictures())


def test_clip_earns_its_name_by_digest_and_config(vision: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "_DIGEST", CLIP(str(vision)).digest)
    assert CLIP(str(vision)).canonical == ()
    monkeypatch.setattr(clip, "_CONFIG", {"image_size": 28, "hidden_act": "quick_gelu"})
    assert (CLIP(str(vision)).canonical, CLIP(str(vision)).name) == (("cmmd",), "clip-l14-336")


def test_a_model_without_its_tensors_is_refused(dinov2: Path, package: Any) -> None:
    state = package.Dinov2Model.from_pretrained(dinov2).state_dict()
    (dinov2 / "model.safetensors").unlink()
    torch.save({key: value for key, value in state.items() if key != "layernorm.weight"}, dinov2 / "pytorch_model.bin")
    with pytest.raises(DamagedFileError, match=r"lacks 1 of its tensors, such as layernorm\.weight"):
        DINOv2(str(dinov2), size_px=28)
    (dinov2 / "pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(DamagedFileError, match="cannot be read as a Dinov2Model"):
        DINOv2(str(dinov2), size_px=28)


def test_a_model_that_is_not_here_is_named(package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingWeightsError, match=r"expected config\.json and model\.safetensors or .*found nothing"):
        CLIP(str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"found neither.*hf download nobody/nothing"):
        CLIP("nobody/nothing")


@pytest.mark.parametrize(("make", "extra"), [(DINOv2, "dinov2"), (CLIP, "clip")])
def test_without_the_package_the_extra_is_named(
    make: type[DINOv2] | type[CLIP], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RuntimeError, match=rf"pip install stylebench\[{extra}\]"):
        make(str(tmp_path))
