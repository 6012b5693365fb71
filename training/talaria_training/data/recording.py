"""One recording of one person, and everything that is known to be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.calibration import Calibration

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Side = Literal["r", "l"]
# Plates are cut a little wider than the samples, because their clock may lag behind.
_PLATE_MARGIN_S = 1.0


@dataclass(frozen=True, slots=True)
class DataIssue:
    """A fault of the data, by name.

    Attributes
    ----------
    where : str
        The recording and the part of it, e.g. ``Sub06/CSStiffKnee, right plate``.
    what : str
        What was found.
    consequence : str
        What is left out or corrected because of it.
    """

    where: str
    what: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.consequence}."


@dataclass(frozen=True, slots=True)
class Contact:
    """A foot meets (``initial``) or leaves (``final``) the ground, on the sensors' clock."""

    t_s: float
    side: Side
    kind: Literal["initial", "final"]


@dataclass(frozen=True, slots=True, eq=False)
class Plates:
    """Force plates under the left and the right foot, on their own clock.

    Attributes
    ----------
    t_s : ndarray, shape (P,)
        Time as the plate file gives it.
    force_n : dict of side to ndarray, shape (P, 3)
        x forward, y up, z right, as in the file.
    ok : dict of side to ndarray of bool, shape (P,)
        Where the plate may be used: finite, and before its clock jumps.
    lag_s : dict of side to float
        How much later the plate file shows a contact than the foot sensor does; NaN if unknown.
    valid_until_s : dict of side to float
        Plate time from which the lag no longer holds; inf if it always does.
    """

    t_s: Floats
    force_n: dict[str, Floats]
    ok: dict[str, Bools]
    lag_s: dict[str, float] = field(default_factory=dict)
    valid_until_s: dict[str, float] = field(default_factory=dict)

    def vertical_n(self, side: Side, t_s: Floats) -> Floats:
        """Return the vertical force at sensor times `t_s`, lag removed, NaN where not `ok`.

        A plate whose lag is unknown is NaN throughout.
        """
        usable = self.ok[side]
        if not usable.any() or not np.isfinite(self.lag_s.get(side, np.nan)):
            return np.full(len(t_s), np.nan)
        clock = t_s + self.lag_s[side]
        force = np.where(usable, self.force_n[side][:, 1], np.nan)
        return np.interp(clock, self.t_s, force, left=np.nan, right=np.nan)

    def part(self, start_s: float, stop_s: float) -> Plates:
        """Return the rows with start_s <= t_s < stop_s."""
        cut = slice(*np.searchsorted(self.t_s, (start_s, stop_s)).tolist())
        return replace(
            self,
            t_s=self.t_s[cut],
            force_n={side: f[cut] for side, f in self.force_n.items()},
            ok={side: m[cut] for side, m in self.ok.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Everything one recording of one person holds.

    Attributes
    ----------
    person, condition, name : str
        Who, doing what, and the recording's own name, e.g. ``Sub02/CSBaseline``.
    rate_hz : float
        Sample rate of every sensor.
    t_s : ndarray, shape (T,)
        Time of each sample, strictly increasing.
    slots : tuple of str
        Where the S sensors sit; names of `talaria_bridge.samples.SLOTS`.
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        Specific force and angular rate in each sensor's frame.
    orientation : dict of slot to ndarray, shape (T, 4), or None
        The vendor's own fusion: scalar first, sensor to world (z up). None without the file.
    plates : Plates or None
    angles_rad : dict of OpenSim name to ndarray, shape (T,), or None
        Angles measured by something else; NaN where it did not measure.
    contacts : tuple of Contact, or None
    height_m, mass_kg, leg_m : float or None
        Stature, mass and leg length, where known.
    dead_slots : tuple of str
        Sensors that are there but cannot be used; see `issues` for the reason.
    issues : tuple of DataIssue
        Every fault found while loading.
    mounting : str
        Recordings of one person with the same mounting were made without taking the sensors off;
        empty where that is not known, and each recording then stands alone.
    calibration : Calibration or None
        What the runtime calibrated, where it made the recording.
    """

    person: str
    condition: str
    name: str
    rate_hz: float
    t_s: Floats
    slots: tuple[str, ...]
    acc_ms2: Floats
    gyr_rads: Floats
    orientation: dict[str, Floats] | None = None
    plates: Plates | None = None
    angles_rad: dict[str, Floats] | None = None
    contacts: tuple[Contact, ...] | None = None
    height_m: float | None = None
    mass_kg: float | None = None
    leg_m: float | None = None
    dead_slots: tuple[str, ...] = ()
    issues: tuple[DataIssue, ...] = ()
    mounting: str = ""
    calibration: Calibration | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds, each sample counted as one period."""
        return len(self.t_s) / self.rate_hz

    def slot_index(self, slot: str) -> int:
        """Return the slot's place on axis 1; `RecordingError` if it is absent or dead."""
        self.require(slots=(slot,))
        return self.slots.index(slot)

    def acc(self, slot: str) -> Floats:
        """Return one sensor's specific force in m/s², shape (T, 3)."""
        return self.acc_ms2[:, self.slot_index(slot)]

    def gyr(self, slot: str) -> Floats:
        """Return one sensor's angular rate in rad/s, shape (T, 3)."""
        return self.gyr_rads[:, self.slot_index(slot)]

    def missing(
        self,
        slots: Iterable[str] = (),
        orientations: Iterable[str] = (),
        angles: Iterable[str] = (),
    ) -> list[str]:
        """Return what of the named things this recording cannot give, each with its reason."""
        lacks = [f"no working sensor on {s}{self._why(s)}" for s in slots if not self._works(s)]
        known = self.orientation or {}
        lacks += [f"no orientation of {s}" for s in orientations if s not in known]
        measured = self.angles_rad or {}
        return lacks + [f"no angle {a}" for a in angles if a not in measured]

    def require(
        self,
        slots: Iterable[str] = (),
        orientations: Iterable[str] = (),
        angles: Iterable[str] = (),
    ) -> None:
        """Insist on sensors, orientations or angles.

        Raises
        ------
        RecordingError
            If any is absent or dead, naming all of them.
        """
        lacks = self.missing(slots, orientations, angles)
        if lacks:
            raise RecordingError(
                f"{self.name} has {', '.join(lacks)}: leave this recording out, or record it again "
                "with what is missing."
            )

    def part(self, start_s: float, stop_s: float) -> Recording:
        """Return the samples with start_s <= t_s < stop_s, times unchanged.

        Plates are cut one second wider on each side, because their clock may differ.

        Raises
        ------
        RecordingError
            If no sample lies between the two times.
        """
        first, last = np.searchsorted(self.t_s, (start_s, stop_s)).tolist()
        if first >= last:
            raise RecordingError(
                f"{self.name} has no samples from {start_s:g} to {stop_s:g} s: it runs from "
                f"{self.t_s[0]:g} to {self.t_s[-1]:g} s, so ask for a part of that."
            )
        cut = slice(first, last)
        return replace(
            self,
            t_s=self.t_s[cut],
            acc_ms2=self.acc_ms2[cut],
            gyr_rads=self.gyr_rads[cut],
            orientation=_cut(self.orientation, cut),
            angles_rad=_cut(self.angles_rad, cut),
            plates=self.plates
            and self.plates.part(start_s - _PLATE_MARGIN_S, stop_s + _PLATE_MARGIN_S),
            contacts=None
            if self.contacts is None
            else tuple(c for c in self.contacts if start_s <= c.t_s < stop_s),
        )

    def _works(self, slot: str) -> bool:
        return slot in self.slots and slot not in self.dead_slots

    def _why(self, slot: str) -> str:
        place = f"{self.name}, {slot}"
        reasons = [issue.what for issue in self.issues if issue.where == place]
        return f" ({'; '.join(reasons)})" if reasons else ""


def _cut(series: dict[str, Floats] | None, cut: slice) -> dict[str, Floats] | None:
    return None if series is None else {key: values[cut] for key, values in series.items()}
