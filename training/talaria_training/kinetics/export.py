"""A force network as a model folder that ``talaria run --kinetics`` takes: weights, ONNX, card, checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import nn

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import PROCEDURE
from talaria_edge.dashboard.band import BAND_POINTS
from talaria_edge.features import FEATURE_VERSION, channels
from talaria_edge.gait import SIDES
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Head, HeldOut, ModelSpec, Output, Parity, StateTensor
from talaria_edge.stances import METRICS, StanceMetrics
from talaria_training.artefacts import (
    PARITY_TOLERANCE,
    WEIGHTS_FILE,
    compare,
    core_named,
    write_step,
)
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.force_files import ForceProvenance
from talaria_training.kinetics.force_net import COLUMNS, CONTACT, SPREAD, ForceNet, force_outputs
from talaria_training.kinetics.moment_net import MomentNet
from talaria_training.kinetics.stances import stance_forces, whole_stances
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS, ForceTrial
from talaria_training.train import TrainConfig

Net = TypeVar("Net", bound=nn.Module)
_SIGNS = {
    "anterior": "pushes the person forwards +",
    "lateral": "towards the outer side of that foot +",
    "vertical": "up +",
}
_CARD = """# {spec.model_id}

{what} from one inertial sensor on each thigh and foot, one step per sample.

* **Network**: {core} {layers} × {hidden}, {parameters:,} parameters, causal, {spec.rate_hz:g} Hz; what it
  says at a tick is of {delay_ms:.0f} ms before.
* **Runs as**: `talaria run --model ANGLES --kinetics THIS`.
* **Sensors**: {slots}; 6 axes each, any mounting; calibration: {spec.calibration}.
* **Trained on**: {spec.trained_on}.
* **People**: {people}.
* **Reference it learned**: {reference}.
* **torch against onnxruntime**, whole recordings streamed: {worst:.1e} {unit} at most.
* **Licence of the weights**: MIT.

## Outputs

Also: how far off each may be, and contact of each foot.

| name | sign | held-out mean absolute error |
|---|---|---|
{rows}

{remarks}
## Not for

Medical decisions; gaits unlike slow treadmill walking and a mock stiff-knee gait; running, stairs and turning,
none of which it has seen.
"""


def release_forces(
    net: ForceNet,
    delay: int,
    about: ForceProvenance,
    folder: Path,
    check: Iterable[NDArray[np.float32]],
    beside: Mapping[str, Any] | None = None,
) -> float:
    """Write a model folder: ``model.onnx``, ``model.safetensors``, ``card.md``, ``SHA256SUMS``.

    Parameters
    ----------
    net : ForceNet
    delay : int
        Samples of hindsight it was trained with.
    about : ForceProvenance
    folder : Path
        Created if need be; its files are replaced only once every check has passed.
    check : iterable of ndarray, shape (T, C)
        Features of whole recordings, streamed step by step through the runtime's own loader and compared.
    beside : mapping of file name to JSON document, optional
        What lies beside the model, such as ``force_band.json``.

    Returns
    -------
    float
        The largest difference between torch and onnxruntime, BW.

    Raises
    ------
    ExportError
        If they differ by more than 1e-4 anywhere, or there is nothing to check.
    """
    net = net.eval()
    spec = force_spec(net, delay, about)

    def worst_of(draft: Path) -> float:
        model = StreamingModel.load(draft, slots=LEG_SLOTS, rate_hz=spec.rate_hz, gives="forces")
        return compare(model, lambda features: force_outputs(net, features), check, "BW")

    shape = {key: str(getattr(net.config, key)) for key in ("core", "layers", "hidden")}
    return write_step(
        net, spec, shape, folder, worst_of, lambda worst: card(net, spec, worst, _TOLD), beside
    )


def load_forces(folder: Path) -> tuple[ForceNet, ModelSpec]:
    """Read a folder's weights back into torch, to evaluate or fine-tune them.

    Raises
    ------
    ModelContractError
        If the folder holds no readable force network, or one for other features.
    """
    return load_network(folder, lambda net, metadata: net)


def load_network(
    folder: Path, built: Callable[[ForceNet, Mapping[str, str]], Net]
) -> tuple[Net, ModelSpec]:
    """Read weights into what is built around an untrained force network of the folder's shape.

    Parameters
    ----------
    folder : Path
    built : callable
        Given the force network and what lies beside the weights.

    Raises
    ------
    ModelContractError
        If the folder holds nothing of that kind, or something for other features.
    """
    file = folder / WEIGHTS_FILE
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        spec = ModelSpec.from_metadata(metadata, str(file))
        core = core_named(metadata["core"], file)
        hidden, layers = int(metadata["hidden"]), int(metadata["layers"])
        shape = TrainConfig(hidden=hidden, layers=layers, core=core)
        net = built(ForceNet(len(spec.channels), shape), metadata)
        net.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelContractError(
            f"{file} holds no force network of this version ({reason}): give a folder that 'talaria-train "
            "kinetics train' has written."
        ) from None
    if spec.feature_version != FEATURE_VERSION or spec.channels != channels(spec.slots):
        raise ModelContractError(
            f"{file} was trained on feature version {spec.feature_version}, this is version "
            f"{FEATURE_VERSION}: train it again."
        )
    return net.eval(), spec


def force_spec(net: ForceNet, delay: int, about: ForceProvenance) -> ModelSpec:
    """Describe a network for the runtime that will carry it."""
    delay_s = delay / about.rate_hz
    by_axis = dict(about.held_out_bw_pct)
    errors = {name: by_axis[axis] / 100.0 for name in OUTPUTS if (axis := _axis(name)) in by_axis}
    known = HeldOut(protocol="people held out", reference="force plates", mae=errors)
    return ModelSpec(
        model_id=about.model_id,
        slots=LEG_SLOTS,
        rate_hz=about.rate_hz,
        feature_version=FEATURE_VERSION,
        channels=channels(LEG_SLOTS),
        outputs=tuple(
            Output(
                name=name,
                unit="BW",
                sign=_SIGNS[_axis(name)],
                kind="inferred",
                certainty="normal",
                delay_s=delay_s,
            )
            for name in OUTPUTS
        ),
        heads=(
            Head(name="spread", columns=COLUMNS[SPREAD], delay_s=delay_s),
            Head(name="contact", columns=COLUMNS[CONTACT], delay_s=delay_s),
        ),
        intervals=about.intervals,
        states=(StateTensor(input="state", output="state_next", shape=tuple(net.start().shape)),),
        calibration=PROCEDURE,
        trained_on=about.trained_on,
        people=about.people,
        held_out=known if errors else None,
        parity=parity(net, lambda x: force_outputs(net, x)),
    )


def force_band(trials: Sequence[ForceTrial | Walk], protocol: str) -> dict[str, Any]:
    """Say how people load their feet, as ``force_band.json`` beside a model says it.

    Parameters
    ----------
    trials : sequence of ForceTrial or Walk
        Of usual walking.
    protocol : str
        Who they were and how they walked, in a few words.

    Returns
    -------
    dict
        As `talaria_edge.force_band.load_force_band` reads it. People count alike; the spread is that of a
        stance of a person taken at random. Both feet are pooled, so that no side has a norm of its own.

    Raises
    ------
    RecordingError
        If there is no whole stance.
    """
    curves: dict[str, list[NDArray[np.float64]]] = {}
    numbers: dict[str, list[StanceMetrics]] = {}
    for trial in trials:
        for side in range(len(SIDES)):
            force = trial.force_bw[:, 3 * side : 3 * side + 3]
            arguments = (force, trial.rate_hz, trial.mass_kg)
            runs, found = whole_stances(*arguments), stance_forces(*arguments)
            curves.setdefault(trial.person, []).extend(over_stance(force[run]) for run in runs)
            numbers.setdefault(trial.person, []).extend(stance.metrics for stance in found)
    if not any(curves.values()):
        raise RecordingError(
            "No recording holds a whole stance on a plate, so there is no band of usual walking: give "
            "recordings with force plates."
        )
    mean, sd = _spread_of_people([np.array(c) for c in curves.values() if c])
    table = [np.array([astuple(m) for m in found]) for found in numbers.values() if found]
    means, sds = _spread_of_people(table)
    return {
        "protocol": protocol,
        "curves": {
            axis: {"mean_bw": mean[:, j].round(4).tolist(), "sd_bw": sd[:, j].round(4).tolist()}
            for j, axis in enumerate(FORCE_AXES)
        },
        "metrics": {
            name: {"mean": round(float(m), 4), "sd": round(float(s), 4)}
            for name, m, s in zip(METRICS, means, sds, strict=True)
            if np.isfinite(m)
        },
    }


def over_stance(force_bw: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bring one stance, shape (T, 3), to 0 to 100 % of it, shape (101, 3)."""
    grid = np.linspace(0.0, len(force_bw) - 1.0, BAND_POINTS)
    return np.column_stack([np.interp(grid, np.arange(len(force_bw)), axis) for axis in force_bw.T])


def _spread_of_people(
    people: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over people, and SD of one stance of one of them, from each one's (stances, ...)."""
    # Who never has a second peak does not count.
    known = [np.ma.masked_invalid(one) for one in people]
    means = np.ma.stack([one.mean(axis=0) for one in known])
    within = np.ma.stack([one.var(axis=0) for one in known]).mean(axis=0)
    spread = np.ma.sqrt(means.var(axis=0) + within)
    return means.mean(axis=0).filled(np.nan), spread.filled(np.nan)


def _axis(name: str) -> str:
    return next(axis for axis in FORCE_AXES if f"_{axis}_" in name)


def parity(
    net: ForceNet | MomentNet,
    outputs_of: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    length: int = 8,
) -> Parity:
    """Made-up input within the training range, with a sensor that falls silent at the end."""
    noise = np.random.default_rng(0).standard_normal((length, net.x_mean.numel()))
    x = (net.x_mean.numpy() + net.x_std.numpy() * noise).astype(np.float32)
    x[:, -net.slots :] = 1.0
    x[-1, -net.slots] = 0.0
    return Parity(x=x.tolist(), y=outputs_of(x)[-1].tolist(), tolerance=PARITY_TOLERANCE)


@dataclass(frozen=True, slots=True)
class Told:
    """What a card says of a kind of network: what it gives, what it learned from, the unit of a difference."""

    what: str
    reference: str
    unit: str


_TOLD = Told(
    "Ground reaction forces of both feet",
    "the force plates of a treadmill, one lag per plate and recording taken out",
    "BW",
)


def card(net: ForceNet | MomentNet, spec: ModelSpec, worst: float, told: Told) -> str:
    """Write ``card.md``; `worst` is how far torch and onnxruntime are apart."""
    errors = {} if spec.held_out is None else spec.held_out.mae
    rows = [f"| {o.name} | {o.sign} | {_error(o, errors)} |" for o in spec.outputs]
    remarks = ""
    if spec.intervals is not None:
        remarks = f"{spec.intervals.level:.0%} intervals: {spec.intervals.protocol}.\n"
    return _CARD.format(
        spec=spec,
        what=told.what,
        reference=told.reference,
        unit=told.unit,
        core=net.config.core.upper(),
        layers=net.config.layers,
        hidden=net.config.hidden,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        delay_ms=1e3 * spec.delay_s,
        slots=", ".join(spec.slots),
        people=", ".join(spec.people),
        rows="\n".join(rows),
        worst=worst,
        remarks=remarks,
    )


def _error(output: Output, errors: Mapping[str, float]) -> str:
    if output.name not in errors:
        return "–"
    error = errors[output.name]
    return f"{100 * error:.2f} % BW" if output.unit == "BW" else f"{error:.2f} {output.unit}"
