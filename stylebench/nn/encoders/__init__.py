"""Frozen feature networks with named taps."""

from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.compact import CompactEncoder
from stylebench.nn.encoders.judge import JudgeEncoder
from stylebench.nn.encoders.squeezenet import SqueezeNetEncoder
from stylebench.nn.encoders.vgg import VGGEncoder

__all__ = ["CompactEncoder", "Encoder", "JudgeEncoder", "SqueezeNetEncoder", "VGGEncoder"]
