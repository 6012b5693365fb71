"""The session of ``talaria calibrate``: stand, walk, swing each leg if wanted; then a grade, and a profile."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import CalibrationError, ConfigError
from talaria_bridge.link import Item, Link
from talaria_bridge.recorder import log_path
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import (
    Calibration,
    CalibrationCollector,
    CalibrationProgress,
    Stretch,
)
from talaria_edge.calibration_walk import CalibrationWalk, look_at_walk
from talaria_edge.capture import Capture
from talaria_edge.config import Config
from talaria_edge.findings import Finding, Grade, Symptom
from talaria_edge.gait import GaitClass
from talaria_edge.grading import CalibrationReport, grade_calibration, report
from talaria_edge.metrics import Vitals
from talaria_edge.model import StreamingModel
from talaria_edge.profile import CalibrationOrigin, UserProfile, load_profile, save_profile
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.sensor_checks import examine_stream, resting_units
from talaria_edge.sinks.calibration import CalibrationView, log_report
from talaria_edge.summary import RunSummary
from talaria_edge.swing_checks import examine_swings

log = logging.getLogger("talaria")

FloatArray = NDArray[np.float64]

_UNITS_S = 1.0
"""Length of the readings that units are judged by while nobody walks."""
_SWING_S = 3.0
_SWING_RADS = 0.4
"""Mean rate of all sensors above which a leg is being swung."""


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """What is asked of a calibration.

    Attributes
    ----------
    min_grade : Grade
        A worse one is refused.
    force : bool
        Keep it although it is refused.
    swing : bool
        Have each leg swung by itself.
    """

    min_grade: Grade = Grade.C
    force: bool = False
    swing: bool = False


class CalibrateSession:
    """Everything between the bytes and the profile; a `talaria_edge.app.LiveSession`.

    It tries until a calibration is good enough, the source ends or somebody stops it.

    Parameters
    ----------
    config : Config
        With a user. Its model, or else the profile's, sees how far the wearer's knees usually move; the
        calibration itself needs none.
    options : CalibrateOptions, optional

    Attributes
    ----------
    report : CalibrationReport or None
        The last attempt's.
    profile : Path or None
        Where it was kept.

    Raises
    ------
    ConfigError
        If no user is named, or the user's profile cannot be read.
    ModelContractError
        If there is a model and it does not fit.
    """

    def __init__(self, config: Config, options: CalibrateOptions | None = None) -> None:
        if config.user is None:
            raise ConfigError(
                "A calibration is kept in its wearer's profile and no wearer is named: give --user NAME."
            )
        self.config = config
        self.options = options or CalibrateOptions()
        self.finished = False
        self.dropped_chunks = 0
        self.report: CalibrationReport | None = None
        self.profile: Path | None = None
        self._profile = load_profile(config.user)
        self._model = _model_of(config, self._profile)
        self._walk: CalibrationWalk | None = None
        self.capture = Capture(config)
        self._view: CalibrationView | None = None
        self._saturated: Counter[str] = Counter()
        self._closed = False
        self._restart()

    def _restart(self, hint: str = "Stand still.") -> None:
        self._collector = CalibrationCollector(self.config.rate_hz, self.config.slots)
        self._recent: deque[tuple[FloatArray, FloatArray]] = deque(
            maxlen=round(_UNITS_S * self.config.rate_hz)
        )
        self._hint = hint
        self._stretch: Stretch | None = None
        self._swings: dict[str, list[FloatArray]] = {}

    def start(self, links: Sequence[Link]) -> None:
        """Open the recording and the view.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        """
        self.capture.open(links, (), {"purpose": "calibration"})
        if self.config.display:
            self._view = CalibrationView(f"Talaria · {self.config.user}")

    def vitals(self) -> Vitals:
        """Return what the session says of itself while it runs."""
        return Vitals(self.capture.summary(self.dropped_chunks), self.capture.records)

    def take(self, item: Item) -> None:
        """Take one item of the source."""
        for tick in self.capture.take(item):
            if not self.finished:
                self._take_tick(tick)

    def poll(self) -> None:
        """Nobody asks a calibration for anything."""

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._view is not None:
            said = f"No data from any sensor for {seconds:.1f} s."
            self._view.calibrating(CalibrationProgress("standing", 0.0, said))
        else:
            self.capture.tell_silence(seconds)

    def close(self) -> RunSummary:
        """Finish the recording, and keep the calibration if it is good enough; may be called twice."""
        summary = self.capture.summary(self.dropped_chunks)
        if self._closed:
            return summary
        self._closed = True
        recording = self.capture.recording
        try:
            if recording is not None and not recording.closed:
                recording.note({"ended": summary.to_dict()} | self._outcome())
        finally:
            if recording is not None:
                recording.close()
            if self._view is not None:
                self._view.close()
        if self.report is not None and self._accepts(self.report):
            self._keep(self.report)
        return summary

    def check(self) -> None:
        """Explain a session that kept no calibration.

        Raises
        ------
        SourceError
            If not one tick came.
        CalibrationError
            If none was completed, or the best that could be had was refused.
        """
        self.capture.check()
        if self.profile is not None:
            return
        if self.report is None:
            self._collector.finish()
        assert self.report is not None  # or the line above had raised
        worst = self.report.findings[0]
        raise CalibrationError(
            f"The calibration is graded {self.report.grade} and at least {self.options.min_grade} is "
            f"asked for, so it is not kept ({worst.text.rstrip('.')}): {worst.step.rstrip('.')}"
            + (", or give --force." if self.report.calibration is not None else ".")
        )

    def _take_tick(self, tick: Tick) -> None:
        for slot, flags in zip(tick.slots, tick.flags, strict=True):
            self._saturated[slot] += bool(flags & (SlotFlag.SATURATED | SlotFlag.CLIP))
        gone = [s for s, how in zip(tick.slots, tick.status, strict=True) if how is SlotStatus.GONE]
        if gone:
            # A repeated reading looks like standing still: nothing seen with it may count.
            self._restart()
            self._show(CalibrationProgress("standing", 0.0, self._why_gone(tick, gone)))
        elif self._stretch is None:
            self._watch(tick)
        else:
            self._swing(tick)
        seconds = self.config.seconds
        over = seconds is not None and self.capture.seconds >= seconds
        self.finished = self.finished or over

    def _why_gone(self, tick: Tick, gone: list[str]) -> str:
        names = ", ".join(gone)
        flags = dict(zip(tick.slots, tick.flags, strict=True))
        if any(flags[slot] & SlotFlag.NOT_FINITE for slot in gone):
            return f"{names} sends numbers that no sensor can measure: look whether its rates are in °/s."
        return f"No data from {names}."

    def _watch(self, tick: Tick) -> None:
        self._recent.append((tick.acc_ms2, tick.gyr_rads))
        stretch = self._collector.collect(tick.acc_ms2, tick.gyr_rads)
        progress = self._collector.progress
        full = len(self._recent) == self._recent.maxlen
        if full and progress.stage == "standing" and tick.index % len(self._recent) == 0:
            self._judge_units()
        if stretch is None:
            said = progress.hint if progress.hint != "Stand still." else self._hint
            self._show(CalibrationProgress(progress.stage, progress.fraction, said))
            return
        self._stretch = stretch
        if not self.options.swing:
            self._grade(stretch, [])

    def _judge_units(self) -> None:
        """End with the reason where nobody will ever seem to stand still, because a unit is wrong."""
        acc = np.array([row[0] for row in self._recent])
        gyr = np.array([row[1] for row in self._recent])
        wrong = resting_units(self.config.slots, acc, gyr)
        sure = [f for f in wrong if f.symptom is Symptom.UNITS_GYR or np.ptp(acc, axis=0).max() < 2]
        if sure:
            self._graded(report(self.config.slots, sure, None))
            self.finished = True

    def _swing(self, tick: Tick) -> None:
        assert self._stretch is not None  # swings come after the walk
        wanted = round(_SWING_S * self.config.rate_hz)
        side = "r" if len(self._swings.get("r", ())) < wanted else "l"
        rows = self._swings.setdefault(side, [])
        if float(np.linalg.norm(tick.gyr_rads, axis=1).mean()) > _SWING_RADS:
            rows.append(tick.gyr_rads.copy())
        name = "right" if side == "r" else "left"
        hint = f"Stand on the other leg and swing your {name} leg to and fro."
        self._show(CalibrationProgress("swinging", min(1.0, len(rows) / wanted), hint))
        if side == "l" and len(rows) >= wanted:
            swings = {leg: np.array(kept) for leg, kept in self._swings.items()}
            self._grade(self._stretch, examine_swings(self.config.slots, swings))

    def _grade(self, stretch: Stretch, more: list[Finding]) -> None:
        stream = examine_stream(self._rates_hz(), self._shares(), self.config.rate_hz)
        previous = self._profile.calibration
        sides = not self.options.swing
        found = grade_calibration(stretch, more + stream, previous, sides=sides)
        self._graded(found)
        if found.calibration is not None and self._accepts(found):
            self.finished = True
            self._walk = self._look_at_walk(stretch, found.calibration)
            self._show(CalibrationProgress("done", 1.0, f"Calibrated, grade {found.grade}."))
        else:
            self._restart(f"Grade {found.grade}. {found.findings[0].step} Then stand still.")

    def _look_at_walk(self, stretch: Stretch, calibration: Calibration) -> CalibrationWalk:
        gait = GaitClass(self.config.usual_gait)
        walk = look_at_walk(stretch, calibration, self._model, gait)
        if walk.knees is None and gait is GaitClass.WALKING:
            why = "no model is named: give --model" if self._model is None else "too few strides"
            log.info("How far this wearer's knees usually move is not known (%s).", why)
        return walk

    def _graded(self, found: CalibrationReport) -> None:
        self.report = found
        if self._view is not None:
            self._view.graded(found)
        log_report(found)

    def _accepts(self, found: CalibrationReport) -> bool:
        good = found.grade <= self.options.min_grade or self.options.force
        return good and found.calibration is not None

    def _rates_hz(self) -> dict[str, float]:
        summary = self.capture.summary(self.dropped_chunks)
        return {slot: count / summary.seconds for slot, count in summary.received.items()}

    def _shares(self) -> dict[str, float]:
        return {slot: count / self.capture.ticks for slot, count in self._saturated.items()}

    def _outcome(self) -> dict[str, object]:
        if self.report is None:
            return {}
        outcome: dict[str, object] = {"grade": self.report.to_dict()}
        if self.report.calibration is not None:
            outcome["calibration"] = self.report.calibration.to_dict()
        if self._walk is not None:
            outcome["walk"] = self._walk.to_dict()
        return outcome

    def _keep(self, found: CalibrationReport) -> None:
        recording = self.capture.recording
        folder = None if recording is None or recording.empty else recording.folder
        sha256 = None if folder is None else session_sha256(folder)
        origin = CalibrationOrigin(sha256, found.to_dict())
        self._profile = self._profile.calibrated(found.calibration, folder, origin, self._walk)
        self.profile = save_profile(self._profile)

    def _show(self, progress: CalibrationProgress) -> None:
        if self._view is not None:
            self._view.calibrating(progress)


def _model_of(config: Config, profile: UserProfile) -> StreamingModel | None:
    path = config.model or profile.model
    if path is None:
        return None
    return StreamingModel.load(path, slots=config.slots, rate_hz=config.rate_hz)


def session_sha256(folder: Path) -> str:
    """Checksum of a finished session's log, in hexadecimal.

    Parameters
    ----------
    folder : Path
        The session's.
    """
    with log_path(folder).open("rb") as log_file:
        return hashlib.file_digest(log_file, "sha256").hexdigest()
