"""Imported by the process that others are forked from, so that none of them does it again."""

import torch.distributed  # noqa: F401

import stylebench.cli.main
import stylebench.commands.train  # noqa: F401
from stylebench.build import open_data
from stylebench.cli.config import compose
from tests.helpers.tiny import TINY

open_data(compose("train", TINY))  # its pictures are drawn once a process
