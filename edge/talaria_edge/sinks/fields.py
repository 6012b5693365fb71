"""What recordings and messages call the parts of a tick, a gait state and a stride, with JSON schemas."""

from __future__ import annotations

import math
from typing import Any

from talaria_edge.alignment import Tick
from talaria_edge.gait import LegState
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import names_of
from talaria_edge.stances import METRICS, Stance
from talaria_edge.strides import Stride

_NUMBER = {"type": ["number", "null"]}
_VECTOR = {"type": "array", "items": {"type": "number"}}
TICK_SCHEMA = {
    "type": "object",
    "properties": {"t_s": {"type": "number"}, "index": {"type": "integer"}},
    "additionalProperties": {
        "type": "object",
        "properties": {
            "acc_ms2": _VECTOR,
            "gyr_rads": _VECTOR,
            "status": {"type": "string"},
            "age_s": _NUMBER,
            "loss": {"type": "number"},
            "flags": {"type": "array", "items": {"type": "string"}},
        },
    },
}
GAIT_SCHEMA = {
    "type": "object",
    "properties": {
        "t_s": {"type": "number"},
        "index": {"type": "integer"},
        "angles_deg": {"type": "object", "additionalProperties": _NUMBER},
        "interval_deg": {"type": "object", "additionalProperties": _NUMBER},
        "not_good": {"type": "object", "additionalProperties": {"type": "string"}},
        "legs": {"type": "object", "additionalProperties": {"type": "object"}},
        "gait_class": {"type": "string"},
        "class_confidence": {"type": "number"},
        "events": {"type": "array", "items": {"type": "object"}},
        "strides": {"type": "array", "items": {"type": "object"}},
        "validity": {"type": "string"},
        "reason": {"type": "string"},
    },
}

FORCES_SCHEMA = {
    "type": "object",
    "properties": {
        "t_s": {"type": "number"},
        "index": {"type": "integer"},
        "force_bw": {"type": "object", "additionalProperties": _NUMBER},
        "interval_bw": {"type": "object", "additionalProperties": _NUMBER},
        "moment_nm_kg": {"type": "object", "additionalProperties": _NUMBER},
        "moment_interval_nm_kg": {"type": "object", "additionalProperties": _NUMBER},
        "not_good": {"type": "object", "additionalProperties": {"type": "string"}},
        "disagreeing": {"type": "array", "items": {"type": "string"}},
        "stances": {"type": "array", "items": {"type": "object"}},
        "validity": {"type": "string"},
        "reason": {"type": "string"},
    },
}
MARK_SCHEMA = {
    "type": "object",
    "properties": {"t_s": {"type": "number"}, "note": {"type": "string"}},
}


def tick_fields(tick: Tick) -> dict[str, Any]:
    """Name what a tick holds, slot by slot, as JSON can carry it."""
    # Five digits are finer than any sensor; the raw bytes beside it hold every bit.
    acc, gyr = tick.acc_ms2.round(5).tolist(), tick.gyr_rads.round(5).tolist()
    slots = {
        slot: {
            "acc_ms2": acc[i],
            "gyr_rads": gyr[i],
            "status": tick.status[i],
            "age_s": _finite(tick.age_s[i]),
            "loss": round(tick.loss[i], 4),
            "flags": names_of(tick.flags[i]),
        }
        for i, slot in enumerate(tick.slots)
    }
    return {"t_s": tick.t_s, "index": tick.index, **slots}


def gait_fields(state: GaitState) -> dict[str, Any]:
    """Name what a gait state holds, angles in degrees, as JSON can carry it.

    Recordings of earlier versions have no ``strides``.
    """
    return {
        "t_s": state.t_s,
        "index": state.index,
        "angles_deg": {n: _finite(math.degrees(v), 3) for n, v in state.angles_rad.items()},
        "interval_deg": {n: _finite(math.degrees(v), 2) for n, v in state.interval_rad.items()},
        "not_good": {n: v for n, v in state.angle_validity.items() if v is not Validity.GOOD},
        "legs": {side: _leg_fields(leg) for side, leg in state.legs.items()},
        "events": [{"t_s": e.t_s, "side": e.side, "kind": e.kind} for e in state.events],
        "strides": [stride_fields(stride) for stride in state.strides],
        "gait_class": state.gait_class,
        "class_confidence": round(state.class_confidence, 3),
        "validity": state.validity,
        "reason": state.reason,
    }


def force_fields(state: GaitState) -> dict[str, Any]:
    """Name the forces of a gait state that has some, as JSON can carry them; ``t_s`` is their instant."""
    loads = state.loads
    moments = {}
    if loads.moment_nm_kg:
        moments = {
            "moment_nm_kg": {n: _finite(v, 4) for n, v in loads.moment_nm_kg.items()},
            "moment_interval_nm_kg": {
                n: _finite(v, 4) for n, v in loads.moment_interval_nm_kg.items()
            },
        }
    return {
        "t_s": round(loads.t_s, 6),
        "index": state.index,
        "force_bw": {n: _finite(v, 4) for n, v in loads.force_bw.items()},
        "interval_bw": {n: _finite(v, 4) for n, v in loads.force_interval_bw.items()},
        **moments,
        "not_good": {n: v for n, v in loads.output_validity.items() if v is not Validity.GOOD},
        "disagreeing": list(loads.disagreeing),
        "stances": [stance_fields(stance) for stance in loads.stances],
        "validity": loads.validity,
        "reason": loads.reason,
    }


def stance_fields(stance: Stance) -> dict[str, Any]:
    """Name what a stance holds, as JSON can carry it."""
    return {
        "side": stance.side,
        "start_s": stance.start_s,
        "end_s": stance.end_s,
        **{name: _finite(getattr(stance.metrics, name), 4) for name in METRICS},
        "validity": stance.validity,
        "reason": stance.reason,
    }


def stride_fields(stride: Stride) -> dict[str, Any]:
    """Name what a stride holds, ranges of motion in degrees, as JSON can carry it."""
    return {
        "side": stride.side,
        "start_s": stride.start_s,
        "end_s": stride.end_s,
        "stance_s": _finite(stride.stance_s, 4),
        "step_time_s": _finite(stride.step_time_s, 4),
        "cadence_spm": _finite(stride.cadence_spm, 4),
        "stance_ratio": _finite(stride.stance_ratio, 4),
        "double_support_ratio": _finite(stride.double_support_ratio, 4),
        "length_m": _finite(stride.length_m, 4),
        "speed_ms": _finite(stride.speed_ms, 4),
        "rom_deg": {name: _finite(math.degrees(v), 4) for name, v in stride.rom_rad.items()},
        "gait_class": stride.gait_class,
    }


def _leg_fields(leg: LegState) -> dict[str, Any]:
    return {
        "phase": leg.phase,
        "sub_phase": leg.sub_phase,
        "cycle": _finite(leg.cycle, 3),
        "confidence": round(leg.confidence, 3),
    }


def _finite(value: float, digits: int = 5) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
