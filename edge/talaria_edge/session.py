"""One live session without its waiting: bytes in; recording, calibration, gait and sinks out."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_bridge.link import Item, Link
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
from talaria_edge.dashboard.band import load_normal_band
from talaria_edge.dashboard.commands import Command, Wish
from talaria_edge.dashboard.process import DashboardProcess
from talaria_edge.dashboard.sink import DashboardSink
from talaria_edge.findings import Grade
from talaria_edge.force_log import ForceLog
from talaria_edge.gait import GaitClass
from talaria_edge.gait_log import GaitLog
from talaria_edge.grading import CalibrationReport, grade_calibration
from talaria_edge.metrics import StepTimes, Vitals
from talaria_edge.model import StreamingModel
from talaria_edge.mounting_watch import MountingWatch
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.profile import CalibrationOrigin, UserProfile, load_profile, save_profile
from talaria_edge.sinks import Sink
from talaria_edge.sinks.calibration import log_report
from talaria_edge.sinks.message import Stream
from talaria_edge.sinks.outputs import Output, close_outputs, open_outputs
from talaria_edge.sinks.terminal import LiveStats, TerminalView
from talaria_edge.summary import RunSummary

log = logging.getLogger("talaria")

_KEPT_STEPS = 60_000
"""Step times kept for the percentiles: ten minutes at 100 Hz, and a long session stays small."""


class Session:
    """Everything between the bytes and the sinks, as one ordinary object.

    Parameters
    ----------
    config : Config
        What to run.
    on_state : callable, optional
        Given every gait state.
    calibration : Calibration, optional
        To begin with, instead of the one in the user's profile.
    walk : CalibrationWalk, optional
        What is known of that calibration's walk.

    Raises
    ------
    TalariaError
        If the model, the profile or the recording folder is wrong.
    """

    def __init__(
        self,
        config: Config,
        on_state: Callable[[GaitState], None] | None = None,
        calibration: Calibration | None = None,
        walk: CalibrationWalk | None = None,
    ) -> None:
        self.config = config
        self.finished = False
        self.dropped_chunks = 0
        self._on_state = on_state
        self._profile = None if config.user is None else load_profile(config.user)
        self._model = _load_model(config, self._profile)
        self._force_model = _load_force_model(config)
        self._mass_kg = self._take_mass()
        self.capture = Capture(config)
        self._collector = CalibrationCollector(config.rate_hz, config.slots)
        self._pipeline: Pipeline | None = None
        self._validity: Counter[str] = Counter()
        self._steps = StepTimes()
        self._newest: GaitState | None = None
        self._gait_log = GaitLog(config.rate_hz, config.slots)
        self._force_log = ForceLog(config.rate_hz)
        self._step_s: deque[float] = deque(maxlen=_KEPT_STEPS)
        self._mounting: MountingWatch | None = None
        self._calibration, self._walk = calibration, walk
        if calibration is None:
            self._take_saved()
        if self._calibration is not None:
            self._pipeline = self._make_pipeline(self._calibration)
        self._view: TerminalView | None = None
        self._dashboard: DashboardSink | None = None
        self._sinks: list[Sink] = []
        self._outputs: list[Output] = []

    def start(self, links: Sequence[Link]) -> None:
        """Open the recording and the views: only once the source is there to fill them.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        ConfigError
            If the dashboard cannot be served where it should be.
        """
        self._dashboard = self._open_dashboard()
        if self._dashboard is not None:
            self._sinks.append(self._dashboard)
        self.capture.open(links, self._model.output_names, self._about())
        self._view = self._open_view()
        self._sinks += [sink for sink in (self.capture.recording, self._view) if sink is not None]
        self._outputs = open_outputs(self.config.sinks, self._stream())
        self._sinks += self._outputs
        self._tell_recording()

    def vitals(self) -> Vitals:
        """Return what the session says of itself while it runs."""
        summary = self.capture.summary(self.dropped_chunks, self._validity)
        model = self._model.spec.model_id
        return Vitals(summary, self.capture.records, model, self._newest, self._steps)

    def take(self, item: Item) -> None:
        """Take one item of the source through everything."""
        for tick in self.capture.take(item):
            if not self.finished:
                self._take_tick(tick)

    def poll(self) -> None:
        """Do what the dashboard's pages have asked for."""
        if self._dashboard is None:
            return
        for command in self._dashboard.poll():
            try:
                self._obey(command)
            except TalariaError as err:  # a full disk, say: the one who asked is told
                self._dashboard.note(str(err))

    def start_recording(self) -> None:
        """Begin a recording, unless there is one or none is wanted.

        Raises
        ------
        RecordingError
            If nothing can be written where it should go.
        """
        if self.capture.records:
            return
        self.capture.record(self._about())
        if self.capture.recording is not None:
            self._sinks.append(self.capture.recording)
        self._tell_recording()

    def stop_recording(self) -> None:
        """Finish the recording; the session goes on."""
        recording = self.capture.recording
        if recording is None or recording.closed:
            return
        summary = self.capture.summary(self.dropped_chunks, self._validity)
        recording.note({"ended": summary.to_dict()})
        recording.close()
        self._sinks.remove(recording)
        self._tell_recording()

    def recalibrate(self) -> None:
        """Calibrate anew, in a recording of its own: one recording holds one calibration."""
        recorded = self.capture.records
        self.stop_recording()
        self._calibration = self._walk = self._pipeline = self._mounting = None
        self._collector = CalibrationCollector(self.config.rate_hz, self.config.slots)
        if recorded:
            self.start_recording()

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._dashboard is not None:
            self._dashboard.silence(seconds)
        if self._view is not None:
            self._view.silence(seconds)
        else:
            self.capture.tell_silence(seconds)

    def close(self) -> RunSummary:
        """Finish every sink and return what the session came to; may be called twice."""
        step_ms = self._percentiles_ms()
        outputs = close_outputs(self._outputs)
        summary = replace(
            self.capture.summary(self.dropped_chunks, self._validity, step_ms),
            outputs=outputs,
            gait=self._gait_log.summary() if self._validity else None,
            forces=self._force_log.summary() if self._force_model is not None else None,
        )
        try:
            if self.capture.recording is not None and self.capture.recording in self._sinks:
                self.capture.recording.note({"ended": summary.to_dict()})
        finally:
            for sink in self._sinks:
                sink.close()
        return summary

    def check(self) -> None:
        """Explain a session that gave nothing.

        Raises
        ------
        SourceError
            If not one tick came.
        CalibrationError
            If the source ended before the calibration was complete.
        """
        self.capture.check()
        if self._pipeline is None and not self._validity:
            self._collector.finish()

    def stats(self) -> LiveStats:
        """Links and step times so far."""
        p50_ms, p99_ms = self._percentiles_ms()
        return LiveStats(self.capture.links, p50_ms, p99_ms)

    def _take_tick(self, tick: Tick) -> None:
        if self._pipeline is None:
            self._calibrate(tick)
        else:
            self._step(self._pipeline, tick)
        seconds = self.config.seconds
        self.finished = seconds is not None and self.capture.seconds >= seconds

    def _step(self, pipeline: Pipeline, tick: Tick) -> None:
        start_s = time.perf_counter()
        state = pipeline.step(tick)
        step_s = time.perf_counter() - start_s
        self._step_s.append(step_s)
        self._steps.add(step_s)
        self._newest = state
        self._gait_log.add(state.strides, pipeline.attitude)
        if state.loads:
            self._force_log.add(state.loads)
        self._watch_mounting(tick)
        self._validity[state.validity] += 1
        for sink in self._sinks:
            sink.show(state)
        if self._on_state is not None:
            self._on_state(state)

    def _calibrate(self, tick: Tick) -> None:
        """Watch the wearer stand and walk; from the tick after that there are angles."""
        gone = [s for s, how in zip(tick.slots, tick.status, strict=True) if how is SlotStatus.GONE]
        if gone:
            # A repeated reading looks like standing still: nothing seen with it may count.
            self._collector = CalibrationCollector(self.config.rate_hz, self.config.slots)
            self._show(CalibrationProgress("standing", 0.0, f"No data from {', '.join(gone)}."))
            return
        stretch = self._collector.collect(tick.acc_ms2, tick.gyr_rads)
        self._show(self._collector.progress)
        if stretch is not None:
            self._grade(stretch)

    def _grade(self, stretch: Stretch) -> None:
        """Go on with a calibration, however good: refusing is for ``talaria calibrate``."""
        before = None if self._profile is None else self._profile.calibration
        report = grade_calibration(stretch, previous=before)
        log_report(report)
        if self._dashboard is not None:
            self._dashboard.calibrated(report)  # also where it starts over: it says what to repeat
        if report.calibration is None:
            self._collector = CalibrationCollector(self.config.rate_hz, self.config.slots)
            return
        gait = GaitClass(self.config.usual_gait)
        self._calibration = report.calibration
        self._walk = look_at_walk(stretch, report.calibration, self._model, gait)
        self._pipeline = self._make_pipeline(report.calibration)
        self._keep(report.calibration, self._walk, report)

    def _watch_mounting(self, tick: Tick) -> None:
        """See whether the sensors still sit as the profile says: once, after a stance and a walk."""
        if self._mounting is None or self._mounting.done:
            return
        if any(how is not SlotStatus.MEASURED for how in tick.status):
            self._mounting.restart()
            return
        moved = self._mounting.update(tick.acc_ms2, tick.gyr_rads)
        if not moved:
            return
        what = ", ".join(f"{slot} {change}" for slot, change in moved.items())
        text = f"Moved since the calibration: {what}. Calibrate again."
        log.warning(text)
        if self._dashboard is not None:
            self._dashboard.note(text)
        if self.capture.records and self.capture.recording is not None:
            self.capture.recording.note({"moved": text})

    def _show(self, progress: CalibrationProgress) -> None:
        if self._view is not None:
            self._view.calibrating(progress)
        if self._dashboard is not None:
            self._dashboard.calibrating(progress)

    def _keep(
        self, calibration: Calibration, walk: CalibrationWalk, report: CalibrationReport
    ) -> None:
        recording = self.capture.recording if self.capture.records else None
        if recording is not None:
            about = {"calibration": calibration.to_dict(), "calibrated_live": True}
            recording.note(about | {"grade": report.to_dict(), "walk": walk.to_dict()})
        if self._profile is not None and report.grade is not Grade.F:
            folder = None if recording is None else recording.folder
            origin = CalibrationOrigin(None, report.to_dict())
            self._profile = self._profile.calibrated(calibration, folder, origin, walk)
            save_profile(self._profile)

    def _take_saved(self) -> None:
        """Begin with what the user's profile knows, and look whether it still holds."""
        profile, config = self._profile, self.config
        if profile is None or profile.calibration is None or config.recalibrate:
            return
        self._calibration, self._walk = profile.calibration, profile.walk
        stance_up = None if profile.walk is None else profile.walk.stance_up
        self._mounting = MountingWatch(
            profile.calibration, config.rate_hz, config.slots, stance_up=stance_up
        )

    def _take_mass(self) -> float | None:
        """Find the wearer's mass, and keep in the profile what was just said of it."""
        told_kg = self.config.mass_kg
        if self._profile is None:
            return told_kg
        if told_kg is not None and told_kg != self._profile.mass_kg:
            self._profile = replace(self._profile, mass_kg=told_kg)
            save_profile(self._profile)
        return self._profile.mass_kg

    def _make_pipeline(self, calibration: Calibration) -> Pipeline:
        walk, usual_rad = self._walk, None
        if walk is not None and walk.knees is not None:
            usual_rad = walk.usual_rad(self._model.sha256)
            if usual_rad is None:
                log.info(
                    "How far this wearer's knees usually move was measured with another model, so stiff-knee "
                    "walking is judged without it: calibrate again with this one."
                )
        return Pipeline(
            self._model,
            calibration,
            self.config.rate_hz,
            usual_knees_rad=usual_rad,
            force_model=self._force_model,
        )

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {
            "usual_gait": self.config.usual_gait,
            "model": _named(self._model),
        }
        if self._force_model is not None:
            delay_s = self._force_model.spec.delay_s
            about["kinetics"] = {**_named(self._force_model), "delay_s": delay_s}
        if self._mass_kg is not None:
            about["mass_kg"] = self._mass_kg
        if self._calibration is not None:
            about["calibration"] = self._calibration.to_dict()
        if self._walk is not None:
            about["walk"] = self._walk.to_dict()
        return about

    def _stream(self) -> Stream:
        spec = self._model.spec
        source = f"{spec.model_id}-{self.config.user or 'anyone'}"
        forces = () if self._force_model is None else self._force_model.spec.outputs
        return Stream(
            self._model.output_names,
            spec.slots,
            spec.rate_hz,
            source,
            tuple(output.name for output in forces if output.unit == "BW"),
            tuple(output.name for output in forces if output.unit != "BW"),
            self._mass_kg,
        )

    def _open_view(self) -> TerminalView | None:
        if not self.config.display:
            return None
        return TerminalView(self._title, self.config.slots, self.stats)

    def _open_dashboard(self) -> DashboardSink | None:
        wanted = self.config.dashboard
        if not wanted.on:
            return None
        band, stream = load_normal_band(self._model.path), self._stream()
        process = DashboardProcess(wanted.host, wanted.port, wanted.token)
        return DashboardSink(
            process,
            self._title,
            self.config.slots,
            lambda: self.capture.links,
            band=band,
            force_names=(*stream.forces, *stream.moments),
        )

    @property
    def _title(self) -> str:
        return f"Talaria · {self.config.user or self._model.spec.model_id}"

    def _obey(self, command: Command) -> None:
        match command.wish:
            case Wish.START:
                self.start_recording()
            case Wish.STOP:
                self.stop_recording()
            case Wish.MARK:
                self._mark(command.note)
            case Wish.RECALIBRATE:
                self.recalibrate()
            case Wish.FINISH:
                self.finished = True

    def _mark(self, note: str) -> None:
        assert self._dashboard is not None  # it was where the wish came from
        recording, state = self.capture.recording, self._newest
        if recording is not None and state is not None and recording.mark(state.t_s, note):
            self._dashboard.note("Marked.")
        else:
            self._dashboard.note("Not marked: no angles are being recorded.")

    def _tell_recording(self) -> None:
        if self._dashboard is not None:
            recording = self.capture.recording
            folder = (
                str(recording.folder) if recording is not None and self.capture.records else None
            )
            self._dashboard.recording(folder, possible=self.config.record_dir is not None)

    def _percentiles_ms(self) -> tuple[float, float]:
        if not self._step_s:
            return float("nan"), float("nan")
        p50, p99 = np.percentile(self._step_s, [50, 99]) * 1e3
        return float(p50), float(p99)


def _load_model(config: Config, profile: UserProfile | None) -> StreamingModel:
    personal = None if profile is None else profile.model
    path = config.model or personal
    if path is None:
        raise ConfigError(
            "No model is named, neither by an option nor by the configuration nor by the user's "
            "profile: give --model a folder such as models/base."
        )
    return StreamingModel.load(path, slots=config.slots, rate_hz=config.rate_hz)


def _load_force_model(config: Config) -> StreamingModel | None:
    if config.kinetics is None:
        return None
    return StreamingModel.load(
        config.kinetics, slots=config.slots, rate_hz=config.rate_hz, gives="forces"
    )


def _named(model: StreamingModel) -> dict[str, Any]:
    return {"id": model.spec.model_id, "path": model.path.absolute(), "sha256": model.sha256}
