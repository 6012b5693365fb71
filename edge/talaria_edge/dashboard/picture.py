"""What the page is told, as JSON can carry it: degrees, and null for what is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talaria_bridge.receiver import LinkReport
from talaria_edge.gait import SIDES, GaitEvent, LegState
from talaria_edge.pipeline import GaitState
from talaria_edge.sanitiser import names_of
from talaria_edge.stances import METRICS, Stance

if TYPE_CHECKING:
    from talaria_edge.forces import Loads
    from talaria_edge.grading import CalibrationReport
    from talaria_edge.strides import Stride

_NOBODY = LegState()


def state_fields(state: GaitState) -> dict[str, Any]:
    """Name what a gait state holds at its instant; events and strides are told apart."""
    return {
        "t_s": round(state.t_s, 4),
        "angles_deg": _degrees(state.angles_rad),
        "interval_deg": _degrees(state.interval_rad),
        "angle_validity": dict(state.angle_validity),
        "legs": {side: _leg_fields(state.legs.get(side, _NOBODY)) for side in SIDES},
        "gait_class": state.gait_class,
        "class_confidence": _finite(state.class_confidence, 3),
        "slots": [
            {"status": status, "loss": round(loss, 4), "flags": names_of(flags)}
            for status, loss, flags in zip(
                state.slot_status, state.slot_loss, state.slot_flags, strict=True
            )
        ],
        "validity": state.validity,
        "reason": state.reason,
        **({"loads": _load_fields(state.loads)} if state.loads else {}),
    }


def trace_row(state: GaitState, names: Sequence[str]) -> list[float | None]:
    """Give one point of every trace: time, both cycles, the angles, then their half-widths."""
    nan = math.nan
    return [
        round(state.t_s, 3),
        *(_finite(state.legs.get(side, _NOBODY).cycle, 4) for side in SIDES),
        *(_finite(math.degrees(state.angles_rad.get(name, nan)), 2) for name in names),
        *(_finite(math.degrees(state.interval_rad.get(name, nan)), 2) for name in names),
    ]


def force_row(
    state: GaitState, names: Sequence[str], cycles: Sequence[float | None]
) -> list[float | None]:
    """Give one point of every force's and moment's trace, as `trace_row` does, with the `cycles` of then."""
    values, halves = state.loads.values, state.loads.half_widths
    return [
        round(state.loads.t_s, 3),
        *cycles,
        *(_finite(values.get(name, math.nan), 4) for name in names),
        *(_finite(halves.get(name, math.nan), 4) for name in names),
    ]


def stance_fields(stance: Stance) -> dict[str, Any]:
    """Name what a stance's row in the table shows."""
    return {
        "side": stance.side,
        "end_s": _finite(stance.end_s, 3),
        "stance_s": _finite(stance.end_s - stance.start_s, 3),
        **{name: _finite(getattr(stance.metrics, name), 3) for name in METRICS},
        "validity": stance.validity,
        "reason": stance.reason,
    }


def event_fields(event: GaitEvent) -> dict[str, Any]:
    """Name what a contact event holds."""
    return {"t_s": round(event.t_s, 4), "side": event.side, "kind": event.kind}


def stride_fields(stride: Stride) -> dict[str, Any]:
    """Name what a stride's row in the table shows."""
    return {
        "side": stride.side,
        "end_s": _finite(stride.end_s, 3),
        "stride_s": _finite(stride.end_s - stride.start_s, 3),
        "stance_s": _finite(stride.stance_s, 3),
        "step_s": _finite(stride.step_time_s, 3),
        "cadence_spm": _finite(stride.cadence_spm, 1),
        "stance_ratio": _finite(stride.stance_ratio, 3),
        "double_support_ratio": _finite(stride.double_support_ratio, 3),
        "length_m": _finite(stride.length_m, 3),
        "speed_ms": _finite(stride.speed_ms, 3),
        "rom_deg": _degrees(stride.rom_rad),
        "gait_class": stride.gait_class,
    }


def link_fields(link: LinkReport) -> dict[str, Any]:
    """Name how a link does."""
    return {
        "name": link.name,
        "slots": sorted(link.lost),
        "connected": link.connected,
        "reconnects": link.reconnects,
        "battery": None if link.battery is None else _finite(link.battery, 2),
        "signal_dbm": None if link.signal_dbm is None else _finite(link.signal_dbm, 0),
        "jitter_ms": _finite(link.jitter_s * 1e3, 1),
        "damaged": sum(link.faults.values()),
        "refusals": list(link.refusals),
    }


def report_fields(report: CalibrationReport) -> dict[str, Any]:
    """Name how good a calibration is, sensor by sensor, and which step to do again."""
    return {
        "verdict": f"Grade {report.grade}",
        "repeat": report.step,
        "lines": [
            {"slot": slot, "grade": one.grade, "reason": "; ".join(one.reasons)}
            for slot, one in report.slots.items()
        ],
    }


def _leg_fields(leg: LegState) -> dict[str, Any]:
    return {
        "phase": leg.phase,
        "sub_phase": leg.sub_phase,
        "cycle": _finite(leg.cycle, 4),
        "confidence": _finite(leg.confidence, 2),
    }


def _load_fields(loads: Loads) -> dict[str, Any]:
    return {
        "force_bw": _rounded(loads.force_bw),
        "interval_bw": _rounded(loads.force_interval_bw),
        "moment_nm_kg": _rounded(loads.moment_nm_kg),
        "moment_interval_nm_kg": _rounded(loads.moment_interval_nm_kg),
        "output_validity": dict(loads.output_validity),
        "validity": loads.validity,
        "reason": loads.reason,
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value, 3) for name, value in values.items()}


def _degrees(angles_rad: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(math.degrees(value), 2) for name, value in angles_rad.items()}


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
