"""A gait state as one JSON object, for whoever listens; ``edge/README.md`` documents it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.recording import gait_fields
from talaria_edge.strides import Stride

MESSAGE_VERSION = 1
"""Raised whenever a key changes its meaning or goes; new keys may come without."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a listener must know before the first state.

    Attributes
    ----------
    names : tuple of str
        Angles, in the model's order.
    slots : tuple of str
    rate_hz : float
        States per second.
    source : str
        Model and wearer: the same in every session of theirs.
    """

    names: tuple[str, ...]
    slots: tuple[str, ...]
    rate_hz: float
    source: str


def hello_message(stream: Stream) -> str:
    """Return the first message of a connection."""
    return _text(
        {
            "kind": "hello",
            "version": MESSAGE_VERSION,
            "angles": stream.names,
            "slots": stream.slots,
            "rate_hz": stream.rate_hz,
            "source": stream.source,
        }
    )


def state_message(state: GaitState) -> str:
    """Return one state; angles in degrees, NaN as null."""
    fields = gait_fields(state) | {"strides": [stride_fields(s) for s in state.strides]}
    return _text({"kind": "state", **fields})


def stride_fields(stride: Stride) -> dict[str, Any]:
    """Name what a stride holds, ranges of motion in degrees, as JSON can carry it."""
    return {
        "side": stride.side,
        "start_s": stride.start_s,
        "end_s": stride.end_s,
        "stance_s": _finite(stride.stance_s),
        "step_time_s": _finite(stride.step_time_s),
        "cadence_spm": _finite(stride.cadence_spm),
        "stance_ratio": _finite(stride.stance_ratio),
        "double_support_ratio": _finite(stride.double_support_ratio),
        "length_m": _finite(stride.length_m),
        "speed_ms": _finite(stride.speed_ms),
        "rom_deg": {name: _finite(math.degrees(v)) for name, v in stride.rom_rad.items()},
        "gait_class": stride.gait_class,
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _text(fields: dict[str, Any] | Sequence[Any]) -> str:
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))
