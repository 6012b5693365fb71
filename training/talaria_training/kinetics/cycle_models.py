"""Cycle models as folders: weights, an ONNX graph that takes degrees, a card and checksums."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from talaria_bridge.errors import ExportError, ModelContractError, RecordingError
from talaria_edge.model import MODEL_FILE, open_session
from talaria_training.artefacts import WEIGHTS_FILE, publish
from talaria_training.kinetics.cycle_nets import CycleNet, answers
from talaria_training.kinetics.gait2hip import INPUTS, POINTS
from talaria_training.kinetics.published import Checkpoint, network

METADATA_KEY = "talaria_cycles"
TOLERANCE = 1e-5
"""Largest difference between torch and onnxruntime, as a share of the largest output."""
_OPSET = 17


@dataclass(frozen=True, slots=True)
class CycleSpec:
    """What a cycle model says about itself.

    Attributes
    ----------
    model_id, architecture : str
    settings : mapping
    points : int
        Of a cycle.
    inputs, outputs : tuple of str
        Inputs in degrees.
    unit : str
        Of every output.
    trained_on : str
    test_people : tuple of str
    reported : mapping of str to float
        RMSE, MAE and pooled R2 on the test people, as published.
    mean_deg, spread_deg : tuple of float
        Of the inputs of the people it was trained on.
    """

    model_id: str
    architecture: str
    settings: Mapping[str, float]
    points: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    unit: str
    trained_on: str
    test_people: tuple[str, ...]
    reported: Mapping[str, float]
    mean_deg: tuple[float, ...]
    spread_deg: tuple[float, ...]


def spec_of(checkpoint: Checkpoint) -> CycleSpec:
    """Describe a published checkpoint."""
    return CycleSpec(
        checkpoint.name,
        checkpoint.architecture,
        checkpoint.settings,
        POINTS,
        checkpoint.inputs,
        checkpoint.outputs,
        checkpoint.unit,
        "Gait2Hip-60, 48 healthy people at 78, 115 and 135 steps a minute (doi 10.5281/zenodo.20175768)",
        checkpoint.test_people,
        checkpoint.reported,
        tuple(checkpoint.mean_deg.tolist()),
        tuple(checkpoint.spread_deg.tolist()),
    )


def release(checkpoint: Checkpoint, folder: Path) -> float:
    """Write a checkpoint as a model folder, once torch and onnxruntime agree on made-up cycles.

    Returns
    -------
    float
        Largest difference, as a share of the largest output.

    Raises
    ------
    RecordingError
        If the checkpoint does not fit its network, or the folder cannot be written.
    ExportError
        If torch and onnxruntime differ by more than `TOLERANCE`.
    """
    net, spec = network(checkpoint), spec_of(checkpoint)
    said = {METADATA_KEY: json.dumps(asdict(spec))}
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch)
        _write_onnx(net, said, draft / MODEL_FILE)
        worst = _parity(net, CycleModel.load(draft), spec)
        weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        save_file(weights, draft / WEIGHTS_FILE, metadata=said)
        (draft / "card.md").write_text(_card(spec, net, worst), encoding="utf-8")
        try:
            publish(draft, ("card.md", MODEL_FILE, WEIGHTS_FILE), folder)
        except OSError as error:
            raise RecordingError(
                f"{folder} cannot be written ({error.strerror}): give another with --out."
            ) from None
    return worst


class CycleModel:
    """A cycle model in onnxruntime; build one with `CycleModel.load`.

    Attributes
    ----------
    spec : CycleSpec
    """

    def __init__(self, session: Any, spec: CycleSpec) -> None:
        self.spec = spec
        self._session = session

    @classmethod
    def load(cls, folder: Path) -> CycleModel:
        """Open a model folder.

        Raises
        ------
        ModelContractError
            If it holds no cycle model, or one of other inputs.
        """
        file = folder / MODEL_FILE if folder.is_dir() else folder
        session = open_session(file, "talaria-train kinetics import")
        try:
            said = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
            lists = {key: tuple(v) for key, v in said.items() if isinstance(v, list)}
            spec = CycleSpec(**said | lists)
        except (KeyError, TypeError, ValueError):
            raise ModelContractError(
                f"{file} is no model of whole cycles: write one with 'talaria-train kinetics import'."
            ) from None
        if spec.inputs != INPUTS or spec.points != POINTS:
            raise ModelContractError(
                f"{file} takes {spec.points} points of {', '.join(spec.inputs)}, which this version does not "
                "make: import it again."
            )
        return cls(session, spec)

    def answer(self, x_deg: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer for cycles (N, points, inputs) in degrees: (N, points, outputs) in the spec's unit.

        Raises
        ------
        ModelContractError
            If the cycles have another shape.
        """
        if x_deg.ndim != 3 or x_deg.shape[1:] != (self.spec.points, len(self.spec.inputs)):
            raise ModelContractError(
                f"{self.spec.model_id} takes cycles of {self.spec.points} points and {len(self.spec.inputs)} "
                f"angles, not an array of shape {x_deg.shape}: cut and resample them first."
            )
        y: NDArray[np.float32] = self._session.run(["y"], {"angles_deg": x_deg})[0]
        return y


def _write_onnx(net: CycleNet, said: Mapping[str, str], file: Path) -> None:
    cycles = {0: "cycles"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The newer exporter takes a minute for an LSTM whose batch is free, this one a second. Without
        # gradients torch would take a short cut through its Transformer that ONNX has no word for.
        torch.onnx.export(
            net.eval(),
            (torch.zeros(2, POINTS, len(INPUTS)),),
            str(file),
            input_names=["angles_deg"],
            output_names=["y"],
            dynamic_axes={"angles_deg": cycles, "y": cycles},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, dict(said))
    onnx.save(model, str(file))


def made_up_cycles(
    mean_deg: NDArray[np.float32], spread_deg: NDArray[np.float32], count: int = 8
) -> NDArray[np.float32]:
    """Make cycles (count, POINTS, inputs) that are as smooth and as large as walking, and nobody's.

    White noise would not do: it drives an LSTM where single precision is 1e-4 off by itself.
    """
    random, around = np.random.default_rng(0), np.linspace(0.0, 2.0 * np.pi, POINTS)
    shape = (2, 3, count, 1, len(mean_deg))
    waves = np.stack([turn(k * around) for turn in (np.sin, np.cos) for k in (1, 2, 3)])
    waves = waves.reshape(2, 3, 1, POINTS, 1) * random.standard_normal(shape)
    made = mean_deg + spread_deg * waves.sum(axis=(0, 1)) / np.sqrt(3.0)
    return np.asarray(made, np.float32)


def _parity(net: CycleNet, model: CycleModel, spec: CycleSpec) -> float:
    x = made_up_cycles(net.mean_deg.numpy(), net.spread_deg.numpy())
    wanted = answers(net, x)
    worst = float(np.abs(model.answer(x) - wanted).max() / np.abs(wanted).max())
    if not worst <= TOLERANCE:
        raise ExportError(
            f"torch and onnxruntime differ by {worst:.1e} of {spec.model_id}'s largest output, more than "
            f"{TOLERANCE:g}, so it is not released: report it with the versions of torch, onnx and onnxruntime."
        )
    return worst


_SIGHT = {
    "lstm": "looks back from each point to the cycle's start",
    "transformer": "sees the whole cycle at every point",
    "mamba": "looks back from each point to the cycle's start",
}


def _card(spec: CycleSpec, net: CycleNet, worst: float) -> str:
    settings = ", ".join(f"{key} {value:g}" for key, value in spec.settings.items())
    count = sum(p.numel() for p in net.parameters())
    reported = ", ".join(f"{key} {value:.3g}" for key, value in spec.reported.items())
    lines = [
        f"# {spec.model_id}",
        "",
        f"Ten joint angles over one gait cycle to {len(spec.outputs)} curves of the right hip, {spec.unit}.",
        "",
        f"* **Network**: {spec.architecture} ({settings}), {count:,} parameters; {_SIGHT[spec.architecture]}; "
        "whole cycles only, not live.",
        f"* **Input** `angles_deg` (N, {spec.points}, {len(spec.inputs)}): any number of cycles, each exactly "
        f"{spec.points} points, degrees with OpenSim's signs, scaled inside the graph; in this order: "
        f"{', '.join(spec.inputs)}.",
        f"* **Output** `y` (N, {spec.points}, {len(spec.outputs)}), {spec.unit}, times the person's mass for "
        f"{spec.unit.removesuffix('/kg')}: {', '.join(spec.outputs)}.",
        f"* **Trained on**: {spec.trained_on}; targets by OpenSim's inverse dynamics and static optimisation, "
        "not measured.",
        f"* **Never seen**: {', '.join(spec.test_people)}; on them, by the authors, averaged over people: "
        f"{reported} (RMSE and MAE in {spec.unit}). That R2 is about one mean of all "
        "outputs, which inflates it.",
        f"* **torch against onnxruntime**: {worst:.1e} of the largest output at most.",
        "* **Source and licence**: github.com/ygsiete7/Gait2Hip-60, MIT; Zhang et al. 2026, arXiv 2605.30374.",
        "",
        "## Not for",
        "",
        "Medical decisions; the left hip; gaits other than healthy walking at a metronome; angles of another "
        "zero or convention than OpenSim's inverse kinematics without saying so. Where in a stride "
        "the points begin is not published.",
        "",
    ]
    return "\n".join(lines)
