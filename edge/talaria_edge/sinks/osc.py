"""Gait states as Open Sound Control 1.0 over UDP, for exoskeletons, games and music.

One bundle per state, stamped with the instant of measurement on the wall clock. Encoding follows the
specification (M. Wright, *The Open Sound Control 1.0 Specification*, CNMAT 2002): big-endian, every
part padded to four bytes.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable

from talaria_bridge.errors import ConfigError
from talaria_edge.pipeline import GaitState
from talaria_edge.stances import METRICS

_NTP_EPOCH_S = 2_208_988_800
"""OSC counts seconds from 1900, computers from 1970."""


class OscSender:
    """Send each state as one UDP packet; nobody need listen. A `Sink`.

    Parameters
    ----------
    host, port : str, int
        Where to; a broadcast address is allowed.
    wall_clock : callable
        Seconds since 1970.

    Attributes
    ----------
    name : str
    dropped : int
        States the system would not take.
    trouble : str
        What the system said when it last refused one.

    Raises
    ------
    ConfigError
        If the host has no address.

    Notes
    -----
    =========================  ======  ============================================================
    address                    types   arguments
    =========================  ======  ============================================================
    ``/talaria/state``         iss     tick, validity, reason
    ``/talaria/angle/NAME``    ffs     degrees (NaN if invalid), half of the 90 % interval, validity
    ``/talaria/leg/SIDE``      ssff    phase, sub-phase, cycle 0-1 (NaN unknown), confidence 0-1
    ``/talaria/class``         sf      gait class, confidence
    ``/talaria/event/SIDE``    sf      ``initial`` or ``final``, seconds before this state
    ``/talaria/stride/SIDE``   ffffff  time s, cadence steps/min, stance and double support share,
                                       length m, speed m/s
    ``/talaria/force/NAME``    fffs    body weights (NaN if invalid), half of the 90 % interval, how many
                                       seconds before this state, validity
    ``/talaria/moment/NAME``   fffs    the same in N m/kg
    ``/talaria/stance/SIDE``   f × 9   duration s, then the numbers of a stance in their order
    =========================  ======  ============================================================
    """

    def __init__(self, host: str, port: int, wall_clock: Callable[[], float] = time.time) -> None:
        self.name = f"osc:{host}:{port}"
        self.dropped = 0
        self.trouble = ""
        self._wall_clock = wall_clock
        self._wall_minus_host_s: float | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as err:
            raise ConfigError(
                f"{self.name} leads nowhere ({err.strerror}): give the address of the computer that "
                "listens."
            ) from None
        self._to = found[4]
        self._socket = socket.socket(found[0], socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def show(self, state: GaitState) -> None:
        """Send one state; never waits."""
        if self._wall_minus_host_s is None:
            self._wall_minus_host_s = self._wall_clock() - state.t_s
        try:
            self._socket.sendto(osc_bundle(state, self._wall_minus_host_s), self._to)
        except OSError as err:
            self.dropped += 1
            self.trouble = str(err.strerror or err)

    def close(self) -> None:
        """Let the port go; may be called twice."""
        self._socket.close()


def osc_bundle(state: GaitState, wall_minus_host_s: float) -> bytes:
    """Encode one state.

    Parameters
    ----------
    state : GaitState
    wall_minus_host_s : float
        Add it to host seconds to have seconds since 1970.
    """
    parts = [_message("/talaria/state", state.index, str(state.validity), state.reason)]
    for name, angle in state.angles_rad.items():
        half = math.degrees(state.interval_rad.get(name, math.nan))
        believed = str(state.angle_validity.get(name, state.validity))
        parts.append(_message(f"/talaria/angle/{name}", math.degrees(angle), half, believed))
    for side, leg in state.legs.items():
        words = str(leg.phase), str(leg.sub_phase)
        parts.append(_message(f"/talaria/leg/{side}", *words, leg.cycle, leg.confidence))
    parts.append(_message("/talaria/class", str(state.gait_class), state.class_confidence))
    for event in state.events:
        ago_s = state.t_s - event.t_s
        parts.append(_message(f"/talaria/event/{event.side}", str(event.kind), ago_s))
    for stride in state.strides:
        ratios = stride.stance_ratio, stride.double_support_ratio
        values = stride.time_s, stride.cadence_spm, *ratios, stride.length_m, stride.speed_ms
        parts.append(_message(f"/talaria/stride/{stride.side}", *values))
    if state.loads:
        parts += _load_messages(state)
    body = b"".join(struct.pack(">i", len(part)) + part for part in parts)
    return b"#bundle\0" + _time_tag(state.t_s + wall_minus_host_s) + body


def _load_messages(state: GaitState) -> list[bytes]:
    loads = state.loads
    parts = []
    for kind, values, halves in (
        ("force", loads.force_bw, loads.force_interval_bw),
        ("moment", loads.moment_nm_kg, loads.moment_interval_nm_kg),
    ):
        for name, value in values.items():
            said = value, halves[name], state.t_s - loads.t_s, str(loads.output_validity[name])
            parts.append(_message(f"/talaria/{kind}/{name}", *said))
    for stance in loads.stances:
        numbers = (getattr(stance.metrics, name) for name in METRICS)
        length_s = stance.end_s - stance.start_s
        parts.append(_message(f"/talaria/stance/{stance.side}", length_s, *numbers))
    return parts


def _message(address: str, *arguments: int | float | str) -> bytes:
    types, data = ",", b""
    for value in arguments:
        if isinstance(value, str):
            types, data = types + "s", data + _string(value)
        elif isinstance(value, int):
            types, data = types + "i", data + struct.pack(">i", value & 0x7FFFFFFF)
        else:
            types, data = types + "f", data + struct.pack(">f", value)
    return _string(address) + _string(types) + data


def _string(text: str) -> bytes:
    raw = text.encode("ascii", "replace") + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def _time_tag(unix_s: float) -> bytes:
    ticks = round((unix_s + _NTP_EPOCH_S) * 2**32)
    return struct.pack(">Q", ticks & 0xFFFF_FFFF_FFFF_FFFF)
