"""Frozen feature networks with named taps."""

from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.squeezenet import SqueezeNetEncoder
from stylebench.nn.encoders.vgg import VGGEncoder

__all__ = ["Encoder", "SqueezeNetEncoder", "VGGEncoder"]
