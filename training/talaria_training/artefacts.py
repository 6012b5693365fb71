"""A trained network as files: weights, ONNX with its contract inside, card and checksums."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from talaria_bridge.errors import ExportError, ModelContractError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import PROCEDURE
from talaria_edge.features import FEATURE_VERSION, channels
from talaria_edge.kinematics import ANGLES, HIP_OUT_OF_PLANE
from talaria_edge.model import MODEL_FILE, StreamingModel
from talaria_edge.spec import (
    METADATA_KEY,
    Familiarity,
    HeldOut,
    Intervals,
    ModelSpec,
    Output,
    Parity,
    StateTensor,
)
from talaria_training.cores import CORES, CoreName
from talaria_training.networks import CONTACT_DELAY_S, GAIT_CLASSES, HEADS, GaitNet
from talaria_training.onnx_file import write_onnx
from talaria_training.train import outputs

PARITY_TOLERANCE = 1e-4
WEIGHTS_FILE = "model.safetensors"
ACCEPTED = "acceptance"
"""Name, without its ending, of the report that comes with a personal model."""
_SIGNS = {
    "hip_flexion": "flexion +",
    "hip_adduction": "adduction +",
    "hip_rotation": "internal rotation +",
    "knee_angle": "flexion +",
    "ankle_angle": "dorsiflexion +",
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model card must say and the network cannot know.

    Attributes
    ----------
    model_id : str
    trained_on : str
        Data set, licence and source, in one line.
    people : tuple of str
        Whose recordings were used.
    rate_hz : float
    held_out : HeldOut or None
        Error on people the model never saw.
    remarks : str
        Anything else a reader of the card should know.
    intervals : Intervals or None
        How far off the angles are, measured on people held out.
    familiarity : Familiarity or None
        From where on a gait is unlike any in training, chosen on people held out.
    """

    model_id: str
    trained_on: str
    people: tuple[str, ...]
    rate_hz: float
    held_out: HeldOut | None = None
    remarks: str = ""
    intervals: Intervals | None = None
    familiarity: Familiarity | None = None


class _Step(nn.Module):
    """One tick of a network, with the shapes the edge feeds: x (1, C), state (rows, 1, width)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.net(x[:, None], state)
        return y[:, 0], state


def release(
    net: GaitNet,
    provenance: Provenance,
    folder: Path,
    check: Iterable[NDArray[np.float32]],
    beside: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model folder: ``model.onnx``, ``model.safetensors``, ``card.md``, ``SHA256SUMS``.

    Parameters
    ----------
    net : GaitNet
    provenance : Provenance
    folder : Path
        Created if need be; its four files are replaced only once every check has passed.
    check : iterable of ndarray, shape (T, C)
        Features of whole recordings, streamed step by step through onnxruntime and compared.
    beside : mapping of file name to JSON document, optional
        What lies beside the model: how people usually walk, how to read personal intervals.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ExportError
        If torch and onnxruntime differ by more than 1e-4 anywhere, or there is nothing to check.
    """
    net = net.eval()
    spec = model_spec(net, provenance)
    shape = {"core": net.core, "layers": str(net.layers), "hidden": str(net.hidden)}
    write_step(
        net,
        spec,
        shape,
        folder,
        lambda draft: check_parity(net, draft / MODEL_FILE, spec.rate_hz, check),
        lambda worst: _card(net, spec, provenance, worst),
        beside,
    )
    return folder


def write_step(
    net: nn.Module,
    spec: ModelSpec,
    shape: Mapping[str, str],
    folder: Path,
    worst_of: Callable[[Path], float],
    card: Callable[[float], str],
    beside: Mapping[str, Any] | None,
) -> float:
    """Write the folder of any network that goes step by step, once its graph has been compared with it.

    Parameters
    ----------
    net : nn.Module
        In evaluation mode; takes x (B, T, C) and a state, and gives y and the next state.
    spec : ModelSpec
    shape : mapping of str to str
        What it takes to build the network again, beside its weights.
    folder : Path
    worst_of : callable
        Given a draft folder with the graph in it, how far that is from the network at most; raises if too far.
    card : callable
        Given that difference, the text of ``card.md``.
    beside : mapping of file name to JSON document, optional

    Returns
    -------
    float
        The difference.
    """
    said = spec.model_dump_json()
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch)
        (state,) = spec.states
        example = {"x": torch.zeros(1, len(spec.channels)), "state": torch.zeros(state.shape)}
        texts = {METADATA_KEY: said, "model_id": spec.model_id}
        write_onnx(_Step(net), example, ("y", state.output), texts, draft / MODEL_FILE)
        worst = worst_of(draft)
        weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        save_file(weights, draft / WEIGHTS_FILE, metadata={**shape, METADATA_KEY: said})
        (draft / "card.md").write_text(card(worst), encoding="utf-8")
        for name, content in (beside or {}).items():
            (draft / name).write_text(json.dumps(content), encoding="utf-8")
        publish(draft, ("card.md", MODEL_FILE, WEIGHTS_FILE, *(beside or {})), folder)
    return worst


def publish(draft: Path, names: Sequence[str], folder: Path) -> None:
    """Copy the named files of a draft into a model folder, with their ``SHA256SUMS``."""
    sums = [f"{hashlib.sha256((draft / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (draft / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*names, "SHA256SUMS"):
        (folder / name).write_bytes((draft / name).read_bytes())


def load(folder: Path) -> tuple[GaitNet, ModelSpec]:
    """Read a model folder's weights back into torch, to evaluate or fine-tune them.

    Raises
    ------
    ModelContractError
        If the folder holds no readable Talaria weights, or weights of something else or for other features.
    """
    file = folder / WEIGHTS_FILE if folder.is_dir() else folder
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        raise ModelContractError(
            f"{file} is missing or not a safetensors file, so there are no weights to start from: "
            "give a model folder that 'talaria-train train' or 'finetune' has written."
        ) from None
    spec = ModelSpec.from_metadata(metadata, str(file))
    if spec.feature_version != FEATURE_VERSION or spec.channels != channels(spec.slots):
        raise ModelContractError(
            f"{file} was trained on feature version {spec.feature_version}, this is version "
            f"{FEATURE_VERSION}: train it again."
        )
    if spec.gives != "angles":
        raise ModelContractError(
            f"{file} gives {spec.gives} and was named where a model that gives angles belongs: give a folder "
            "that 'talaria-train train' or 'finetune' has written."
        )
    # Weights older than the choice of cores are a GRU's.
    core = core_named(metadata.get("core", "gru"), file)
    net = GaitNet(len(spec.channels), int(metadata["hidden"]), int(metadata["layers"]), core=core)
    net.load_state_dict(tensors)
    return net.eval(), spec


def core_named(name: str, file: Path) -> CoreName:
    """Return the core that a weights file names.

    Raises
    ------
    ModelContractError
        If this version has none of that name.
    """
    for core in CORES:
        if core == name:
            return core
    raise ModelContractError(
        f"{file} holds a network with a core {name!r}, and this version knows only "
        f"{', '.join(CORES)}: use the Talaria version that wrote it."
    )


def model_spec(net: GaitNet, provenance: Provenance) -> ModelSpec:
    """Describe a network for the runtime that will carry it."""
    return ModelSpec(
        model_id=provenance.model_id,
        slots=LEG_SLOTS,
        rate_hz=provenance.rate_hz,
        feature_version=FEATURE_VERSION,
        channels=channels(LEG_SLOTS),
        outputs=tuple(_output(name) for name in ANGLES),
        heads=HEADS,
        intervals=provenance.intervals,
        familiarity=provenance.familiarity,
        states=(StateTensor(input="state", output="state_next", shape=tuple(net.start().shape)),),
        calibration=PROCEDURE,
        trained_on=provenance.trained_on,
        people=provenance.people,
        held_out=provenance.held_out,
        parity=_parity(net),
    )


def _output(name: str) -> Output:
    joint = name[:-2]
    return Output(
        name=name,
        sign=_SIGNS[joint],
        # No joint has a sensor on both sides of it: pelvis and shank are always filled in.
        kind="inferred",
        certainty="lower" if name in HIP_OUT_OF_PLANE else "normal",
    )


def _parity(net: GaitNet, length: int = 8) -> Parity:
    """Made-up input within the training range, so that no recording travels with the model."""
    noise = np.random.default_rng(0).standard_normal((length, net.x_mean.numel()))
    x = (net.x_mean.numpy() + net.x_std.numpy() * noise).astype(np.float32)
    x[:, -net.slots :] = 1.0
    x[-1, -net.slots] = 0.0  # a sensor that falls silent is part of the contract
    y = outputs(net, x)[-1]
    return Parity(x=x.tolist(), y=y.tolist(), tolerance=PARITY_TOLERANCE)


def check_parity(
    net: GaitNet, onnx_file: Path, rate_hz: float, recordings: Iterable[NDArray[np.float32]]
) -> float:
    """Stream whole recordings step by step through onnxruntime and compare with torch.

    Returns
    -------
    float
        Largest difference, rad.

    Raises
    ------
    ExportError
        If it exceeds 1e-4 rad, or there was no recording.
    """
    model = StreamingModel.load(onnx_file, slots=LEG_SLOTS, rate_hz=rate_hz)
    return compare(model, lambda features: outputs(net, features), recordings, "rad")


def compare(
    model: StreamingModel,
    expected: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    recordings: Iterable[NDArray[np.float32]],
    unit: str,
) -> float:
    """Stream whole recordings, shape (T, C), step by step and compare with what torch gives for each.

    Returns
    -------
    float
        Largest difference, in the unit of the outputs.

    Raises
    ------
    ExportError
        If it exceeds 1e-4, or there was no recording.
    """
    worst = -1.0
    for features in recordings:
        model.reset()
        streamed = np.array([model.step(x) for x in features])
        worst = max(worst, float(np.abs(streamed - expected(features)).max()))
    if worst < 0:
        raise ExportError(
            "There was no recording to compare torch and onnxruntime on, so the model cannot be "
            "released: give at least one."
        )
    if not worst <= PARITY_TOLERANCE:
        raise ExportError(
            f"torch and onnxruntime differ by {worst:.1e} {unit} over a whole recording, more than "
            f"{PARITY_TOLERANCE:g} {unit}, so the model is not released: report it with the versions "
            "of torch, onnx and onnxruntime."
        )
    return worst


def _card(net: GaitNet, spec: ModelSpec, provenance: Provenance, worst: float) -> str:
    parameters = sum(p.numel() for p in net.parameters())
    lines = [
        f"# {spec.model_id}",
        "",
        "Joint angles of both legs from one inertial sensor on each thigh and foot, one step per sample.",
        "",
        f"* **Network**: linear path + {net.core.upper()} {net.layers} × {net.hidden}, {parameters:,} "
        f"parameters, causal, {spec.rate_hz:g} Hz.",
        f"* **Sensors**: {', '.join(spec.slots)}; 6 axes each, any mounting; calibration: {spec.calibration}.",
        f"* **Trained on**: {spec.trained_on}.",
        f"* **People**: {', '.join(spec.people)}.",
        "* **Reference it learned**: full inertial sensor chain (pelvis, thighs, shanks, feet), zero at quiet "
        "standing; not optical, and it shares the thigh and foot sensors with the input.",
        f"* **torch against onnxruntime**, whole recordings streamed: {worst:.1e} rad at most.",
        "* **Licence of the weights**: MIT.",
        "",
        "## Outputs",
        "",
        "| name | sign | certainty | held-out RMSE (°) |",
        "|---|---|---|---|",
    ]
    errors = spec.held_out.rmse_deg if spec.held_out else {}
    for output in spec.outputs:
        error = f"{errors[output.name]:.1f}" if output.name in errors else "–"
        lines.append(f"| {output.name} | {output.sign} | {output.certainty} | {error} |")
    lines += ["", *_heads(spec)]
    if spec.held_out:
        lines += [f"Held out: {spec.held_out.protocol}; reference: {spec.held_out.reference}.", ""]
    if provenance.remarks:
        lines += [provenance.remarks, ""]
    lines += [
        "## Not for",
        "",
        "Medical decisions; gaits unlike slow and moderate treadmill walking and a mock stiff-knee gait; "
        "running, stairs and turning, none of which it has seen.",
        "",
    ]
    return "\n".join(lines)


def _heads(spec: ModelSpec) -> list[str]:
    """Say what the model gives besides the angles, and what of it was measured."""
    lines = [
        "Also: how far off each angle may be, contact of each foot "
        f"({CONTACT_DELAY_S * 1e3:.0f} ms ago), its place in the gait cycle, the kind of "
        f"gait ({', '.join(GAIT_CLASSES)}), and how unfamiliar the movement is. Sensors may be absent.",
        "",
    ]
    if spec.intervals:
        lines += [f"{spec.intervals.level:.0%} intervals: {spec.intervals.protocol}.", ""]
    if spec.familiarity:
        lines += [
            f"A stride is unknown above novelty {spec.familiarity.limit:g}: {spec.familiarity.protocol}.",
            "",
        ]
    return lines


def bases(folder: Path) -> Iterator[tuple[Path, ModelSpec]]:
    """Every readable model below a folder of models that is not one person's own, with its spec.

    A personal model lists its base's people as well, so only its acceptance report tells it from a base.
    """
    for weights in sorted(folder.glob(f"*/{WEIGHTS_FILE}")):
        if (weights.parent / f"{ACCEPTED}.json").exists():
            continue
        try:
            yield weights.parent, load(weights.parent)[1]
        except ModelContractError:
            continue


def names_of(people: Sequence[str]) -> tuple[str, ...]:
    """Sort and de-duplicate people for a card."""
    return tuple(sorted(set(people)))
