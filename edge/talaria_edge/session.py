"""One live session without its waiting: bytes in; recording, calibration, gait and sinks out."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from talaria_bridge.errors import ConfigError
from talaria_bridge.link import Item, Link
from talaria_bridge.receiver import Outgoing
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import Calibration, CalibrationCollector, CalibrationProgress
from talaria_edge.capture import WORTH_A_LINE_S, Capture
from talaria_edge.config import Config
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.profile import UserProfile, load_profile, save_profile
from talaria_edge.sinks import Sink
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
    ) -> None:
        self.config = config
        self.finished = False
        self.dropped_chunks = 0
        self._on_state = on_state
        self._profile = None if config.user is None else load_profile(config.user)
        self._model = _load_model(config, self._profile)
        self._capture = Capture(config)
        self._collector = CalibrationCollector(config.rate_hz, config.slots)
        self._pipeline: Pipeline | None = None
        self._validity: Counter[str] = Counter()
        self._step_s: deque[float] = deque(maxlen=_KEPT_STEPS)
        self._calibration = calibration or self._saved_calibration()
        if self._calibration is not None:
            self._pipeline = Pipeline(self._model, self._calibration, config.rate_hz)
        self._view: TerminalView | None = None
        self._sinks: list[Sink] = []

    def start(self, links: Sequence[Link]) -> None:
        """Open the recording and the view: only once the source is there to fill them.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        """
        self._capture.open(links, self._model.output_names, self._about())
        self._view = self._open_view()
        sinks = (self._capture.recording, self._view)
        self._sinks = [sink for sink in sinks if sink is not None]

    @property
    def bytes_in(self) -> int:
        """Bytes that have come so far."""
        return self._capture.bytes_in

    def take(self, item: Item) -> None:
        """Take one item of the source through everything."""
        for tick in self._capture.take(item):
            if not self.finished:
                self._take_tick(tick)

    def outgoing(self, now_s: float) -> list[Outgoing]:
        """Return what is due to be written to the devices."""
        return self._capture.outgoing(now_s)

    def closing(self) -> list[Outgoing]:
        """Return what to write to the devices before they are left."""
        return self._capture.closing()

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._view is not None:
            self._view.silence(seconds)
        elif seconds >= WORTH_A_LINE_S:
            log.warning("No data from any sensor for %.1f s.", seconds)

    def close(self) -> RunSummary:
        """Finish every sink and return what the session came to; may be called twice."""
        step_ms = self._percentiles_ms()
        summary = self._capture.summary(self.dropped_chunks, self._validity, step_ms)
        try:
            if self._capture.recording is not None:
                self._capture.recording.note({"ended": summary.to_dict()})
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
        self._capture.check()
        if self._pipeline is None:
            self._collector.finish()

    def stats(self) -> LiveStats:
        """Links and step times so far."""
        p50_ms, p99_ms = self._percentiles_ms()
        return LiveStats(self._capture.links, p50_ms, p99_ms)

    def _take_tick(self, tick: Tick) -> None:
        if self._pipeline is None:
            self._calibrate(tick)
        else:
            self._step(self._pipeline, tick)
        seconds = self.config.seconds
        self.finished = seconds is not None and self._capture.seconds >= seconds

    def _step(self, pipeline: Pipeline, tick: Tick) -> None:
        start_s = time.perf_counter()
        state = pipeline.step(tick)
        self._step_s.append(time.perf_counter() - start_s)
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
        calibration = self._collector.update(tick.acc_ms2, tick.gyr_rads)
        self._show(self._collector.progress)
        if calibration is not None:
            self._pipeline = Pipeline(self._model, calibration, self.config.rate_hz)
            self._keep(calibration)

    def _show(self, progress: CalibrationProgress) -> None:
        if self._view is not None:
            self._view.calibrating(progress)

    def _keep(self, calibration: Calibration) -> None:
        recording = self._capture.recording
        if recording is not None:
            recording.note({"calibration": calibration.to_dict(), "calibrated_live": True})
        if self._profile is not None:
            session = None if recording is None else str(recording.folder)
            saved = datetime.now().astimezone().isoformat(timespec="seconds")
            self._profile = UserProfile(
                self._profile.name, calibration, self._profile.model, session, saved
            )
            save_profile(self._profile)

    def _saved_calibration(self) -> Calibration | None:
        if self._profile is None or self.config.recalibrate:
            return None
        return self._profile.calibration

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {
            "model": {
                "id": self._model.spec.model_id,
                "path": self._model.path.absolute(),
                "sha256": self._model.sha256,
            }
        }
        if self._calibration is not None:
            about["calibration"] = self._calibration.to_dict()
        return about

    def _open_view(self) -> TerminalView | None:
        if not self.config.display:
            return None
        title = f"Talaria · {self.config.user or self._model.spec.model_id}"
        return TerminalView(title, self.config.slots, self.stats)

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
