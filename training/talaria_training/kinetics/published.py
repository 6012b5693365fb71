"""The six released checkpoints of Gait2Hip-60, read without running anything they might contain.

Source: Zhang et al. 2026, arXiv 2605.30374, repository ygsiete7/Gait2Hip-60 (MIT). A checkpoint is a pickle; it
is read with torch's own unpickler, which builds tensors and plain values and, allowed here, plain numpy arrays.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talaria_bridge.errors import RecordingError
from talaria_training.kinetics.cycle_nets import PUBLISHED, CycleNet
from talaria_training.kinetics.gait2hip import INPUTS, POINTS

UNITS = ("N/kg", "Nm/kg")
_RENAMED = {"pos_encoder.pos_embed.weight": "positions.weight"}
_NUMBERS = (np.float32, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One released model as it is written down.

    Attributes
    ----------
    name : str
        The file's, without its ending.
    architecture : str
        ``lstm``, ``transformer`` or ``mamba``.
    settings : mapping
        Of the architecture, by the published names.
    mean_deg, spread_deg : ndarray, shape (inputs,)
        Of the angles it was trained on.
    inputs, outputs : tuple of str
    unit : str
        Of every output: per kilogram of the person's mass.
    tensors : mapping of str to Tensor
        Every one in the file, by its own name.
    test_people : tuple of str
        Whom it was not trained on.
    reported : mapping of str to float
        Its error on them, by its authors, averaged over people: RMSE, MAE and the pooled R2.
    """

    name: str
    architecture: str
    settings: Mapping[str, float]
    mean_deg: NDArray[np.float32]
    spread_deg: NDArray[np.float32]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    unit: str
    tensors: Mapping[str, Tensor]
    test_people: tuple[str, ...]
    reported: Mapping[str, float]


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """Read a checkpoint (.pt), or all of a .zip or folder.

    Raises
    ------
    RecordingError
        If there is none, or one is not such a checkpoint or would run code.
    """
    files = _files(path)
    if not files:
        raise RecordingError(
            f"{path} holds no checkpoint (.pt): give one of Gait2Hip-60's, their folder, or a zip of it."
        )
    return [read_checkpoint(name, content) for name, content in sorted(files.items())]


def _files(path: Path) -> dict[str, bytes]:
    try:
        if path.is_dir():
            return {str(file): file.read_bytes() for file in path.rglob("*.pt")}
        if path.suffix != ".zip":
            return {str(path): path.read_bytes()}
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".pt")]
            return {f"{path}/{name}": archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path} cannot be read ({error}): check the path.") from None


def read_checkpoint(name: str, content: bytes) -> Checkpoint:
    """Read one checkpoint's bytes; `name` is what errors call it.

    Raises
    ------
    RecordingError
        If it is none of Gait2Hip-60's, or would run code.
    """
    said = _unpickled(name, content)
    try:
        return _checkpoint(name, said)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(
            f"{name} is no checkpoint of Gait2Hip-60 ({type(error).__name__}: {error}): give a file of its "
            "trained_models folders."
        ) from None


def _unpickled(name: str, content: bytes) -> Any:
    # What it takes to write down an array of numbers, and under the name older versions of numpy gave it.
    rebuild = np.empty(0).__reduce__()[0]
    allowed: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(n)) for n in _NUMBERS)]
    allowed += [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")]
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):  # torch's older format is a bare pickle
            raise EOFError
        with torch.serialization.safe_globals(allowed):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as error:
        unsafe = "Unsupported" in str(error) or "GLOBAL" in str(error)
        why = "it holds more than tensors and plain values, and to read that is to run it"
        raise RecordingError(
            f"{name} is not read as a checkpoint ({why if unsafe else 'it is damaged or of another kind'}): "
            "get the released file again from github.com/ygsiete7/Gait2Hip-60."
        ) from None


def _checkpoint(name: str, said: Mapping[str, Any]) -> Checkpoint:
    architecture, hyper = str(said["model_type"]), said["hparams"]
    inputs, outputs = tuple(map(str, said["in_cols"])), tuple(map(str, said["out_cols"]))
    if inputs != INPUTS or hyper["T"] != POINTS:
        raise ValueError(f"its inputs are {hyper['T']} points of {', '.join(inputs)}")
    if said["target_unit"] not in UNITS:
        raise ValueError(f"its outputs are in {said['target_unit']}")
    return Checkpoint(
        name=Path(name).stem,
        architecture=architecture,
        settings={key: hyper[key] for key in PUBLISHED[architecture]},
        mean_deg=np.asarray(said["mu_x"], np.float32).reshape(len(inputs)),
        spread_deg=np.asarray(said["sd_x"], np.float32).reshape(len(inputs)),
        inputs=inputs,
        outputs=outputs,
        unit=said["target_unit"],
        tensors=dict(said["state_dict"]),
        test_people=tuple(map(str, said["test_subjects"])),
        reported={k: float(v) for k, v in said["test_metrics_subject_mean"].items()},
    )


def network(checkpoint: Checkpoint) -> CycleNet:
    """Build the network of a checkpoint and fill it, every tensor of both accounted for.

    Raises
    ------
    RecordingError
        If the checkpoint lacks a tensor of the network, has one more, or one of another shape.
    """
    net = CycleNet(
        checkpoint.architecture,
        checkpoint.settings,
        checkpoint.mean_deg,
        checkpoint.spread_deg,
        len(checkpoint.outputs),
    )
    given = {_RENAMED.get(key, key): tensor for key, tensor in checkpoint.tensors.items()}
    wanted = net.core.state_dict()
    odd = [f"no {key}" for key in wanted if key not in given]
    odd += [f"an unknown {key}" for key in given if key not in wanted]
    odd += [
        f"{key} of shape {tuple(given[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    if odd:
        raise RecordingError(
            f"{checkpoint.name} does not fit a {checkpoint.architecture} of its own settings (it has "
            f"{'; '.join(odd)}): get the released file again."
        )
    net.core.load_state_dict(given)
    return net.eval()
