"""One live session without its waiting: bytes in; recording, calibration, gait and sinks out."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.errors import ConfigError, SourceError
from talaria_bridge.recorder import Chunk
from talaria_edge.alignment import Alignment, SlotStatus, Tick
from talaria_edge.calibration import Calibration, CalibrationCollector, CalibrationProgress
from talaria_edge.config import Config
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.profile import UserProfile, load_profile, save_profile
from talaria_edge.sinks import Sink
from talaria_edge.sinks.recording import SessionRecording
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

    Raises
    ------
    TalariaError
        If the model, the profile or the recording folder is wrong.
    """

    def __init__(self, config: Config, on_state: Callable[[GaitState], None] | None = None) -> None:
        self.config = config
        self.finished = False
        self.bytes_in = 0
        self.dropped_chunks = 0
        self._on_state = on_state
        self._profile = None if config.user is None else load_profile(config.user)
        self._model = _load_model(config, self._profile)
        self._decoder = FrameDecoder()
        self._assembler = SampleAssembler()
        self._alignment = Alignment(config.slots, config.rate_hz, config.alignment.params())
        self._collector = CalibrationCollector(config.rate_hz, config.slots)
        self._pipeline: Pipeline | None = None
        self._validity: Counter[str] = Counter()
        self._step_s: deque[float] = deque(maxlen=_KEPT_STEPS)
        self._ticks = 0
        self._first_s = self._last_s = 0.0
        self._calibration = self._saved_calibration()
        if self._calibration is not None:
            self._pipeline = Pipeline(self._model, self._calibration, config.rate_hz)
        self._recording: SessionRecording | None = None
        self._view: TerminalView | None = None
        self._sinks: list[Sink] = []

    def start(self) -> None:
        """Open the recording and the view: only once the source is there to fill them.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        """
        self._recording = self._open_recording()
        self._view = self._open_view()
        self._sinks = [sink for sink in (self._recording, self._view) if sink is not None]

    def take(self, chunk: Chunk) -> None:
        """Take one chunk of bytes through everything."""
        self.bytes_in += len(chunk.data)
        if self._recording is not None:
            self._recording.write_raw(chunk)
        samples = self._assembler.push(self._decoder.feed(chunk.data), chunk.t_s)
        # Frames of several samples come slot by slot; the clock wants them instant by instant.
        for sample in sorted(samples, key=lambda sample: sample.t_s):
            for tick in self._alignment.push(sample):
                self._take_tick(tick)

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._view is not None:
            self._view.silence(seconds)
        else:
            log.warning("No data from %s for %.0f s.", self.config.source, seconds)

    def close(self) -> RunSummary:
        """Finish every sink and return what the session came to; may be called twice."""
        summary = self._summary()
        try:
            if self._recording is not None:
                self._recording.note({"ended": summary.to_dict()})
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
        if self._ticks == 0:
            counters = self._decoder.counters
            raise SourceError(
                f"{self.config.source} gave {counters.bytes_in} bytes and {counters.frames} frames "
                f"but not one instant with data of {', '.join(self.config.slots)}: check that the "
                "sensors are on, send Talaria frames and are set to those slots."
            )
        if self._pipeline is None:
            self._collector.finish()

    def stats(self) -> LiveStats:
        """Losses and step times so far."""
        p50_ms, p99_ms = self._percentiles_ms()
        lost = self._decoder.counters.lost_samples
        got = {slot: counters.received for slot, counters in self._alignment.counters.items()}
        loss = {slot: lost.get(slot, 0) / max(1, lost.get(slot, 0) + n) for slot, n in got.items()}
        return LiveStats(loss, p50_ms, p99_ms)

    def _take_tick(self, tick: Tick) -> None:
        if self.finished:
            return
        if self._ticks == 0:
            self._first_s = tick.t_s
        self._ticks += 1
        self._last_s = tick.t_s
        if self._pipeline is None:
            self._calibrate(tick)
        else:
            self._step(self._pipeline, tick)
        seconds = self.config.seconds
        self.finished = seconds is not None and tick.t_s - self._first_s >= seconds

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
        if self._recording is not None:
            self._recording.note({"calibration": calibration.to_dict()})
        if self._profile is not None:
            session = None if self._recording is None else str(self._recording.folder)
            saved = datetime.now().astimezone().isoformat(timespec="seconds")
            self._profile = UserProfile(
                self._profile.name, calibration, self._profile.model, session, saved
            )
            save_profile(self._profile)

    def _saved_calibration(self) -> Calibration | None:
        if self._profile is None or self.config.recalibrate:
            return None
        return self._profile.calibration

    def _open_recording(self) -> SessionRecording | None:
        config = self.config
        if config.record_dir is None:
            return None
        about: dict[str, Any] = {
            "source": config.source,
            "user": config.user,
            "rate_hz": config.rate_hz,
            "slots": config.slots,
            "model": {
                "id": self._model.spec.model_id,
                "path": self._model.path.absolute(),
                "sha256": self._model.sha256,
            },
            "alignment": config.alignment.model_dump(),
        }
        if self._calibration is not None:
            about["calibration"] = self._calibration.to_dict()
        user = config.user or "anyone"
        return SessionRecording(config.record_dir, user, self._model.output_names, about)

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

    def _summary(self) -> RunSummary:
        p50_ms, p99_ms = self._percentiles_ms()
        decoder = self._decoder.counters
        return RunSummary(
            ticks=self._ticks,
            states=sum(self._validity.values()),
            seconds=self._last_s - self._first_s,
            validity=dict(self._validity),
            received={slot: c.received for slot, c in self._alignment.counters.items()},
            lost={slot: decoder.lost_samples.get(slot, 0) for slot in self.config.slots},
            decoder=decoder,
            dropped_chunks=self.dropped_chunks,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            folder=None if self._recording is None else self._recording.folder,
        )


def _load_model(config: Config, profile: UserProfile | None) -> StreamingModel:
    personal = None if profile is None else profile.model
    path = config.model or personal
    if path is None:
        raise ConfigError(
            "No model is named, neither by an option nor by the configuration nor by the user's "
            "profile: give --model a folder such as models/base."
        )
    return StreamingModel.load(path, slots=config.slots, rate_hz=config.rate_hz)
