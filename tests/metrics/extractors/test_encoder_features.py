"""Encoders as extractors: names, origins, moments, gradients and sizes."""

import pytest
import torch

from stylebench.metrics.extractors import EncoderFeatures
from stylebench.metrics.extractors.pooling import mean_and_spread
from stylebench.nn.encoders import CompactEncoder, JudgeEncoder, SqueezeNetEncoder
from tests.metrics.extractors.contract import check_features, check_gradients, pictures


def _judge() -> JudgeEncoder:
    return JudgeEncoder("shipped", ["mix2"], ["stem", "mix1", "mix3"], "mix5")


def _squeezenet(padding: str = "same") -> SqueezeNetEncoder:
    return SqueezeNetEncoder("random-1", False, ["fire4"], ["conv1", "fire3"], "fire4", padding)


def test_features_of_the_judge() -> None:
    extractor = EncoderFeatures(_judge())
    assert extractor.taps == ("stem", "mix1", "mix2", "mix3")  # shallow to deep, the content layer too
    assert extractor.width == 2 * sum(extractor.encoder.channels[tap] for tap in extractor.taps)
    check_features(extractor, pictures(3))
    check_gradients(extractor, pictures())


def test_features_are_logarithms_of_the_moments_of_the_encoders_maps() -> None:
    encoder = _judge()
    maps = encoder(pictures().float() / 255, ["stem", "mix3"])
    plain = EncoderFeatures(encoder, ["mix3", "stem"], pool="mean_std")(pictures())
    torch.testing.assert_close(plain, mean_and_spread(maps, ["stem", "mix3"]))
    torch.testing.assert_close(EncoderFeatures(encoder, ["stem", "mix3"])(pictures()), plain.log1p())


def test_names_end_with_the_digest_and_tell_settings_apart() -> None:
    judge, other = _judge(), _squeezenet()
    assert EncoderFeatures(judge).name == "compact_judge-fe4de1a2"
    assert EncoderFeatures(judge, ["stem"]).name == "compact_judge-stem-fe4de1a2"
    assert EncoderFeatures(judge, pool="mean_std").name == "compact_judge-mean_std-fe4de1a2"
    assert EncoderFeatures(other).name == f"squeezenet1_0_same-{other.digest[:8]}"
    other.calibration = "dead_leaves"  # as if it had been normalized
    assert EncoderFeatures(other).name == f"squeezenet1_0_same-normalized-{other.digest[:8]}"
    assert EncoderFeatures(judge).alias == "compact_judge"
    assert EncoderFeatures(other, alias="squeezenet").alias == "squeezenet"


def test_origin_is_where_the_weights_come_from() -> None:
    compact = CompactEncoder("shipped", ["relu2_2"], ["relu1_1"], "relu4_1")
    origins = [EncoderFeatures(encoder).origin for encoder in (compact, _judge(), _squeezenet())]
    assert origins == ["procedural", "procedural", "random"]


def test_description_holds_the_encoders_own() -> None:
    told = EncoderFeatures(_judge()).describe()
    assert told["encoder"]["style_layers"] == ["stem", "mix1", "mix3"]
    assert told["pool"] == "log_mean_std"
    assert told["taps"] == ["stem", "mix1", "mix2", "mix3"]


def test_real_squeezenet_is_of_natural_origin(squeezenet_weights: object) -> None:
    encoder = SqueezeNetEncoder(str(squeezenet_weights), False, ["fire4"], ["conv1", "fire3"], "fire4")
    assert EncoderFeatures(encoder).origin == "natural"


def test_bad_options_and_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got relu9; choose from stem, mix1"):
        EncoderFeatures(_judge(), ["relu9"])
    with pytest.raises(ValueError, match="got none; choose from"):
        EncoderFeatures(_judge(), [])
    with pytest.raises(ValueError, match="log_mean_std, mean_std, got 'max'"):
        EncoderFeatures(_judge(), pool="max")
    extractor = EncoderFeatures(_squeezenet("valid"))
    least = extractor.encoder.minimum_px("fire4")
    assert least > 1
    extractor(pictures(size=least))
    with pytest.raises(ValueError, match=rf"at least {least} px a side for fire[34], got {least - 1} x {least - 1}"):
        extractor(pictures(size=least - 1))
    with pytest.raises(TypeError, match="uint8 images, or float32"):
        extractor(pictures().double())
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        extractor(pictures()[0])
