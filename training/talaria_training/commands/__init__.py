"""The `talaria-train` command: recordings to models, offline."""

from __future__ import annotations

import sys
import warnings

import torch

from talaria_bridge.errors import TalariaError
from talaria_training.commands import (
    ablation,
    classify,
    cores,
    evaluation,
    explain,
    fleet,
    generate,
    kinetics,
    kinetics_forces,
    kinetics_moments,
    kinetics_published,
    models,
    personal,
    pretrain,
    sensors,
    sessions,
    strides,
    studies,
)
from talaria_training.commands.app import app
from talaria_training.commands.common import err

__all__ = [
    "ablation",
    "app",
    "classify",
    "cores",
    "evaluation",
    "explain",
    "fleet",
    "generate",
    "kinetics",
    "kinetics_forces",
    "kinetics_moments",
    "kinetics_published",
    "main",
    "models",
    "personal",
    "pretrain",
    "sensors",
    "sessions",
    "strides",
    "studies",
]


def main() -> None:
    """Run the command; anything wrong ends in one sentence and exit code 2."""
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    torch.set_num_threads(
        1
    )  # a recurrent step is too small to share: more threads only burn more power
    try:
        app()
    except TalariaError as error:
        err.print(
            f"talaria-train: {error}", highlight=False, markup=False, style="red", soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("talaria-train: stopped.")
        sys.exit(130)
