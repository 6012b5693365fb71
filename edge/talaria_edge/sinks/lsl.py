"""Gait states on the Lab Streaming Layer: a ``MoCap`` stream of angles, one of ``Markers``, one of forces.

The metadata follows the XDF project's MoCap convention (github.com/sccn/xdf, *MoCap Meta-Data*).
Samples are stamped with the instant of measurement, so the lag a receiver would have to compensate is
nil.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from talaria_bridge.errors import ConfigError
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sinks.message import Stream

_BUFFER_S = 10
"""What liblsl keeps for a slow receiver; older samples go."""
_SAME_CLOCK_S = 60.0
"""Host seconds further than this from LSL's clock are those of a recording or of the simulator."""
_BELIEF = {Validity.GOOD: 1.0, Validity.DEGRADED: 0.5, Validity.INVALID: 0.0}


class LslOutlet:
    """Offer angles and contacts to the local network; a `Sink`.

    Parameters
    ----------
    name : str
        Of the stream; events get `name` + ``-events``, forces and moments `name` + ``-forces``.
    stream : Stream

    Attributes
    ----------
    name : str
    dropped : int
        Always 0: liblsl does not tell what a slow receiver missed.
    trouble : str
        Always empty.

    Raises
    ------
    ConfigError
        If pylsl or liblsl is not installed.
    """

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = f"lsl:{name}"
        self.dropped = 0
        self.trouble = ""
        self._lsl = lsl = _library()
        self._names = stream.names
        self._to_lsl_s: float | None = None
        angles = lsl.StreamInfo(
            name,
            "MoCap",
            len(stream.names) + 1,
            stream.rate_hz,
            lsl.cf_float32,
            f"talaria-{stream.source}",
        )
        rows = [(label, "JointAngle", "degrees") for label in stream.names]
        _describe(angles.desc(), stream, rows)
        # A stable source_id lets a receiver find the stream again after a restart.
        markers = lsl.StreamInfo(
            f"{name}-events", "Markers", 1, 0.0, lsl.cf_string, f"talaria-{stream.source}-events"
        )
        self._angles = lsl.StreamOutlet(angles, max_buffered=_BUFFER_S)
        self._markers = lsl.StreamOutlet(markers, max_buffered=_BUFFER_S)
        self._forces = self._open_forces(f"{name}-forces", stream)

    def show(self, state: GaitState) -> None:
        """Push one state and its events."""
        if self._to_lsl_s is None:
            apart_s = float(self._lsl.local_clock()) - state.t_s
            self._to_lsl_s = 0.0 if abs(apart_s) < _SAME_CLOCK_S else apart_s
        angles = [math.degrees(state.angles_rad.get(name, math.nan)) for name in self._names]
        self._angles.push_sample([*angles, _BELIEF[state.validity]], state.t_s + self._to_lsl_s)
        if self._forces is not None:
            loads = state.loads
            values = (*loads.force_bw.values(), *loads.moment_nm_kg.values())
            at_s = loads.t_s + self._to_lsl_s
            self._forces.push_sample([*values, _BELIEF[loads.validity]], at_s)
        for event in state.events:
            self._markers.push_sample([f"{event.side}:{event.kind}"], event.t_s + self._to_lsl_s)

    def close(self) -> None:
        """Withdraw every stream; may be called twice."""
        self._angles = self._markers = self._forces = None

    def _open_forces(self, name: str, stream: Stream) -> Any:
        """Offer forces, if there is a force model."""
        count = len(stream.forces) + len(stream.moments)
        if not count:
            return None
        source = f"talaria-{stream.source}-forces"
        lsl = self._lsl
        info = lsl.StreamInfo(name, "Force", count + 1, stream.rate_hz, lsl.cf_float32, source)
        rows = [(label, "Force", "body weights") for label in stream.forces]
        rows += [(label, "Moment", "N m/kg") for label in stream.moments]
        _describe(info.desc(), stream, rows)
        return lsl.StreamOutlet(info, max_buffered=_BUFFER_S)


def _library() -> Any:
    try:
        import pylsl  # noqa: PLC0415  an extra, with a library of its own in C++
    except (ImportError, RuntimeError, OSError) as err:
        raise ConfigError(
            f"The sink lsl: needs pylsl and liblsl ({str(err).splitlines()[0].rstrip('.')}): pip "
            "install 'talaria[lsl]', and where that brings no liblsl, install it from "
            "github.com/sccn/liblsl."
        ) from None
    return pylsl


def _describe(desc: Any, stream: Stream, rows: Sequence[tuple[str, str, str]]) -> None:
    channels = desc.append_child("channels")
    for label, kind, unit in [*rows, ("validity", "Confidence", "normalized")]:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("object", "Legs")
        channel.append_child_value("type", kind)
        channel.append_child_value("unit", unit)
    about = desc.append_child("acquisition")
    about.append_child_value("manufacturer", "Talaria")
    about.append_child_value("model", stream.source)
    settings = about.append_child("settings")
    settings.append_child_value("sensors", " ".join(stream.slots))
    settings.append_child_value("signs", "OpenSim")
    about.append_child_value("compensated_lag", "0.0")
