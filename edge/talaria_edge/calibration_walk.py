"""What a calibration's walk tells beside the axes: where up was with a foot down, and the usual knees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from talaria_bridge.errors import CalibrationError
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import Calibration, Stretch
from talaria_edge.gait import SIDES, GaitClass
from talaria_edge.mounting import StanceUp, stance_up_of
from talaria_edge.pipeline import Model, Pipeline, PipelineParams
from talaria_edge.sanitiser import SlotFlag

_LEAD_IN_S = 3.0
"""Of standing, ahead of the walk: filters and network have settled when the strides come."""
_FEWEST = 3
"""Strides of each leg below which nothing is called usual."""


@dataclass(frozen=True, slots=True)
class UsualKnees:
    """How far a wearer's knees move in a stride of their usual, unimpeded gait, as one model sees it.

    Attributes
    ----------
    range_rad : mapping of side to float
        Median over the strides of the walk.
    strides : int
        Of the leg that made fewer.
    model_sha256 : str
        Of the model: another one may see the same knee move further.
    """

    range_rad: Mapping[str, float]
    strides: int
    model_sha256: str


@dataclass(frozen=True, slots=True)
class CalibrationWalk:
    """What is kept of the walk that a calibration was made from.

    Attributes
    ----------
    gait : GaitClass
        What whoever calibrated called it: *walking* is the wearer's usual, unimpeded gait.
    stance_up : StanceUp
        See `talaria_edge.mounting.mounting_seen`.
    knees : UsualKnees or None
        None where the gait was impeded, no model was at hand, or it saw too few strides.
    """

    gait: GaitClass
    stance_up: StanceUp
    knees: UsualKnees | None = None

    def usual_rad(self, model_sha256: str) -> Mapping[str, float] | None:
        """Give the knees' usual ranges if they were measured with this model."""
        if self.knees is None or self.knees.model_sha256 != model_sha256:
            return None
        return self.knees.range_rad

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a TOML file."""
        knees = self.knees
        return {
            "gait": str(self.gait),
            "stance_up": {slot: list(up) for slot, up in self.stance_up.items()},
            "usual_knees": None
            if knees is None
            else {
                "range_rad": dict(knees.range_rad),
                "strides": knees.strides,
                "model_sha256": knees.model_sha256,
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CalibrationWalk:
        """Read `to_dict`'s output back.

        Raises
        ------
        CalibrationError
            If an entry is missing or impossible.
        """
        try:
            ups = {slot: _direction(up) for slot, up in data["stance_up"].items()}
            return cls(GaitClass(data["gait"]), ups, _knees(data.get("usual_knees")))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CalibrationError(
                "What is stored of the calibration's walk is damaged (no gait, directions and knee "
                "ranges in it): calibrate again."
            ) from None


def _direction(values: Any) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    if not abs(math.hypot(x, y, z) - 1.0) < 1e-3:
        raise ValueError(values)
    return x, y, z


def _knees(data: Mapping[str, Any] | None) -> UsualKnees | None:
    if data is None:
        return None
    ranges = {side: float(data["range_rad"][side]) for side in SIDES}
    if not all(0.0 < value < 2.0 * math.pi for value in ranges.values()):
        raise ValueError(ranges)
    return UsualKnees(ranges, int(data["strides"]), str(data["model_sha256"]))


class KnownModel(Model, Protocol):
    """A network out of a file; `talaria_edge.model.StreamingModel` is one."""

    @property
    def sha256(self) -> str:
        """Checksum of the file."""


def look_at_walk(
    stretch: Stretch,
    calibration: Calibration,
    model: KnownModel | None,
    gait: GaitClass = GaitClass.WALKING,
) -> CalibrationWalk:
    """Keep of a calibration's walk what later sessions compare with.

    Parameters
    ----------
    stretch : Stretch
    calibration : Calibration
        Made from it.
    model : KnownModel or None
        Its state is reset.
    gait : GaitClass
        Only of *walking*, the wearer's usual gait, are knees kept.
    """
    knees = None
    if model is not None and gait is GaitClass.WALKING:
        ranges = knee_ranges(stretch, calibration, model)
        usual = usual_of(ranges)
        if usual is not None:
            knees = UsualKnees(usual, min(map(len, ranges.values())), model.sha256)
    return CalibrationWalk(gait, stance_up_of(stretch), knees)


def knee_ranges(stretch: Stretch, calibration: Calibration, model: Model) -> dict[str, list[float]]:
    """Measure how far each knee moves in each stride of a stretch, rad, by the live pipeline.

    Empty for a model without knees or of other slots than the stretch; strides that begin before the
    pipeline has settled are left out.
    """
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    if model.spec.slots != stretch.slots:
        return found
    pipeline = Pipeline(model, calibration, stretch.rate_hz)
    settled_s = PipelineParams().settle_s
    for tick in _ticks(stretch):
        for stride in pipeline.step(tick).strides:
            range_rad = stride.rom_rad.get(f"knee_angle_{stride.side}", math.nan)
            if stride.start_s >= settled_s and not math.isnan(range_rad):
                found[stride.side].append(range_rad)
    return found


def usual_of(ranges: Mapping[str, Sequence[float]]) -> dict[str, float] | None:
    """Return the median of each leg's strides; None where either leg made too few."""
    if min(map(len, ranges.values())) < _FEWEST:
        return None
    return {side: float(np.median(found)) for side, found in ranges.items()}


def _ticks(stretch: Stretch) -> list[Tick]:
    first = max(stretch.still.start, stretch.walking.start - round(_LEAD_IN_S * stretch.rate_hz))
    count = len(stretch.slots)
    return [
        Tick(
            index=k,
            t_s=k / stretch.rate_hz,
            slots=stretch.slots,
            acc_ms2=stretch.acc_ms2[i],
            gyr_rads=stretch.gyr_rads[i],
            status=(SlotStatus.MEASURED,) * count,
            age_s=(0.0,) * count,
            loss=(0.0,) * count,
            flags=(SlotFlag.NONE,) * count,
        )
        for k, i in enumerate(range(first, stretch.walking.stop))
    ]
