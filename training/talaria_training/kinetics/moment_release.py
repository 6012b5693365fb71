"""A network of forces and joint moments as one model folder that ``talaria run --kinetics`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Head, HeldOut, ModelSpec, Output
from talaria_training.artefacts import compare, write_step
from talaria_training.kinetics.dynamics import MOMENTS
from talaria_training.kinetics.export import Told, card, force_spec, load_network, parity
from talaria_training.kinetics.force_files import ForceProvenance
from talaria_training.kinetics.moment_net import COLUMNS, MomentNet, moment_outputs

_SIGNS = {
    "hip_flexion": "flexion +",
    "knee_angle": "flexion +",
    "ankle_angle": "dorsiflexion +, so that a push-off is negative",
}
_TOLD = Told(
    "Ground reaction forces of both feet, and the sagittal moments of hips, knees and ankles,",
    "the force plates of a treadmill, one lag per plate and recording taken out; and moments that nobody "
    "measured: planar inverse dynamics of those forces with angles from seven inertial sensors and published "
    "proportions, the foot placed by the path of its pressure. 1 cm of that is 0.1 N m/kg at every joint. They "
    "are internal moments with OpenSim's signs",
    "BW or N m/kg",
)


def release_moments(
    net: MomentNet,
    about: ForceProvenance,
    folder: Path,
    check: Iterable[NDArray[np.float32]],
    beside: Mapping[str, Any] | None = None,
) -> float:
    """Write a model folder as `talaria_training.kinetics.export.release_forces` does.

    Parameters
    ----------
    net : MomentNet
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
        The largest difference between torch and onnxruntime, BW or N·m/kg.

    Raises
    ------
    ExportError
        If they differ by more than 1e-4 anywhere, or there is nothing to check.
    """
    net = net.eval()
    spec = moment_spec(net, about)

    def worst_of(draft: Path) -> float:
        model = StreamingModel.load(draft, slots=LEG_SLOTS, rate_hz=spec.rate_hz, gives="forces")
        return compare(model, lambda x: moment_outputs(net, x), check, _TOLD.unit)

    shape = {key: str(getattr(net.config, key)) for key in ("core", "layers", "hidden")}
    shape["moments"] = str(net.hidden)
    return write_step(
        net, spec, shape, folder, worst_of, lambda worst: card(net, spec, worst, _TOLD), beside
    )


def load_moments(folder: Path) -> tuple[MomentNet, ModelSpec]:
    """Read a folder's weights back into torch.

    Raises
    ------
    ModelContractError
        If the folder holds no readable network of forces and moments, or one for other features.
    """
    return load_network(folder, lambda net, said: MomentNet(net, int(said["moments"])))


def moment_spec(net: MomentNet, about: ForceProvenance) -> ModelSpec:
    """Describe a network for the runtime that will carry it: the forces' spec, and more outputs."""
    spec = force_spec(net.forces, 0, about)
    wide = len(spec.outputs) + len(MOMENTS)
    by_joint = dict(about.held_out_nm_kg)
    errors = {name: by_joint[joint] for name in MOMENTS if (joint := _joint(name)) in by_joint}
    known = {} if spec.held_out is None else spec.held_out.mae
    held_out = HeldOut(
        protocol="people held out",
        reference="force plates, and inverse dynamics of them",
        mae=known | errors,
    )
    moments = tuple(
        Output(
            name=name,
            unit="N m/kg",
            sign=_SIGNS[_joint(name)],
            kind="inferred",
            certainty="lower",
        )
        for name in MOMENTS
    )
    return spec.model_copy(
        update={
            "outputs": (*spec.outputs, *moments),
            "heads": (
                Head(name="spread", columns=COLUMNS[wide : 2 * wide]),
                Head(name="contact", columns=COLUMNS[2 * wide :]),
            ),
            "held_out": held_out if held_out.mae else None,
            "parity": parity(net, lambda x: moment_outputs(net, x)),
        }
    )


def _joint(name: str) -> str:
    return name.partition("_moment_")[0]
