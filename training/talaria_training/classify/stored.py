"""Classifiers in files: weights as .safetensors, and beside them a .json that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from talaria_bridge.errors import RecordingError
from talaria_training.classify.learning import Standard
from talaria_training.classify.models import (
    LINEAR,
    Classifier,
    LinearClassifier,
    NetClassifier,
    build,
)
from talaria_training.classify.nets import Shape

_WEIGHTS, _ABOUT = "classifier.safetensors", "classifier.json"


def save(classifier: Classifier, folder: Path, about: Mapping[str, Any]) -> None:
    """Write a classifier as weights (.safetensors) and description (.json) that `load` reads back.

    Parameters
    ----------
    classifier : Classifier
    folder : Path
        Made if need be.
    about : mapping
        Kept beside it: the channels' names, what it was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _weights(classifier) | {
        "mean": torch.tensor(classifier.mean),
        "scale": torch.tensor(classifier.scale),
    }
    save_file(state, folder / _WEIGHTS)
    said = {
        "model": classifier.name,
        "classes": classifier.classes,
        "hyper": dict(classifier.hyper),
    }
    text = json.dumps(said | {"about": dict(about)}, indent=1, ensure_ascii=False)
    (folder / _ABOUT).write_text(text + "\n", encoding="utf-8")


def _weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    if isinstance(classifier, LinearClassifier):
        return {"weight": torch.tensor(classifier.weight), "bias": torch.tensor(classifier.bias)}
    return {f"net.{key}": value.clone() for key, value in classifier.net.state_dict().items()}


def load(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read what `save` wrote: the classifier, and what was said about it.

    Raises
    ------
    RecordingError
        If a file is missing, or they do not belong together.
    """
    try:
        said = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        state = load_file(folder / _WEIGHTS)
        return _restored(said, state), said["about"]
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise RecordingError(
            f"{folder} holds no classifier that can be read ({type(error).__name__}: {error}): write it "
            "again with talaria-train classify --out."
        ) from None


def _restored(said: Mapping[str, Any], state: dict[str, torch.Tensor]) -> Classifier:
    name, classes = said["model"], tuple(said["classes"])
    by = Standard(state.pop("mean").numpy(), state.pop("scale").numpy())
    if name in LINEAR:
        weight, bias = state["weight"].numpy(), state["bias"].numpy()
        return LinearClassifier(name, classes, by, weight, bias, said["hyper"])
    settings = {key: value for key, value in said["hyper"].items() if key != "epochs"}
    net = build(name, Shape(len(by.mean), by.mean.shape[1], len(classes)), settings)
    net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
    return NetClassifier(name, classes, by, net.eval().requires_grad_(False), said["hyper"])
