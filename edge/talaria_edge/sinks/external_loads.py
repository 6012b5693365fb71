"""Forces under the feet as OpenSim's external loads: a ``.mot`` in newtons and the ``.xml`` that applies it.

OpenSim's ground is x forwards, y up, z to the right. Nobody measures where under the foot the force acts nor
the free moment: both are written as zeros, and the ``.xml`` gives the point in the frame of each calcaneus, so
that a force at least acts on its own foot, at the heel. Moments computed with it are wrong by the force times
the distance from heel to centre of pressure. An instant at which a force is not known has no row: OpenSim's
tools stop reading at the first ``nan``, and draw a line across a gap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from talaria_bridge.errors import RecordingError
from talaria_edge.gait import SIDES
from talaria_edge.pipeline import GaitState
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.stances import FORCE_AXES, OUTWARDS

_AXES = "xyz"
LOAD_COLUMNS = tuple(
    name
    for side in SIDES
    for name in (
        *(f"ground_force_{side}_v{axis}" for axis in _AXES),
        *(f"ground_force_{side}_p{axis}" for axis in _AXES),
        *(f"ground_torque_{side}_{axis}" for axis in _AXES),
    )
)
_TITLE = "talaria forces in N, points of application and free moments unknown and written as 0"
_FORCE = """      <ExternalForce name="{side}">
        <applied_to_body>calcn_{side}</applied_to_body>
        <force_expressed_in_body>ground</force_expressed_in_body>
        <point_expressed_in_body>calcn_{side}</point_expressed_in_body>
        <force_identifier>ground_force_{side}_v</force_identifier>
        <point_identifier>ground_force_{side}_p</point_identifier>
        <torque_identifier>ground_torque_{side}_</torque_identifier>
      </ExternalForce>
"""
_DOCUMENT = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40000">
  <ExternalLoads name="talaria">
    <objects>
{forces}    </objects>
    <datafile>{file}</datafile>
  </ExternalLoads>
</OpenSimDocument>
"""


class ExternalLoadsSink:
    """Write forces from the first gait state on, in the time of that state; a `Sink`.

    Parameters
    ----------
    path : Path
        The ``.mot``; the ``.xml`` goes beside it, replacing one of the same name.
    mass_kg : float
        The wearer's.

    Raises
    ------
    RecordingError
        If a file cannot be made or written.
    """

    def __init__(self, path: Path, mass_kg: float) -> None:
        self._weight_n = mass_kg * STANDARD_GRAVITY_MS2
        self._t0_s: float | None = None
        self._file = MotWriter(path, LOAD_COLUMNS, _TITLE, angles=False)
        applied = path.with_suffix(".xml")
        forces = "".join(_FORCE.format(side=side) for side in SIDES)
        try:
            applied.write_text(_DOCUMENT.format(forces=forces, file=path.name), encoding="utf-8")
        except OSError as err:
            self._file.close()
            raise RecordingError(
                f"{applied} cannot be written ({err.strerror}): name another file after grf:."
            ) from None

    def show(self, state: GaitState) -> None:
        """Write the forces of one state; what was before the first state has no time in the file."""
        if self._t0_s is None:
            self._t0_s = state.t_s
        at_s = state.loads.t_s - self._t0_s
        row = load_row(state.loads.force_bw, self._weight_n)
        if at_s >= 0.0 and math.isfinite(sum(row.values())):
            self._file.write(at_s, row)

    def close(self) -> None:
        """Finish; may be called twice."""
        self._file.close()


def load_row(force_bw: Mapping[str, float], weight_n: float) -> dict[str, float]:
    """Turn one instant's forces into `LOAD_COLUMNS`; a force that is not known is NaN."""
    row = dict.fromkeys(LOAD_COLUMNS, 0.0)
    for side in SIDES:
        forward, outward, up = (
            weight_n * force_bw.get(f"grf_{axis}_{side}", math.nan) for axis in FORCE_AXES
        )
        found = (forward, up, OUTWARDS[side] * outward)
        for axis, force_n in zip(_AXES, found, strict=True):
            row[f"ground_force_{side}_v{axis}"] = force_n
    return row
