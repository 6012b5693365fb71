"""Recording without a model: what the sensors sent, and how well they did."""

from __future__ import annotations

from collections.abc import Sequence

from talaria_bridge.link import Item, Link
from talaria_edge.capture import Capture
from talaria_edge.config import Config
from talaria_edge.metrics import Vitals
from talaria_edge.sinks.terminal import SensorView
from talaria_edge.summary import RunSummary


class RecordSession:
    """Everything between the bytes and the recording; like `Session`, for `run_live`.

    Parameters
    ----------
    config : Config
        Its model, user and calibration do not matter here.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.finished = False
        self.dropped_chunks = 0
        self.capture = Capture(config)
        self._view: SensorView | None = None

    def start(self, links: Sequence[Link]) -> None:
        """Open the recording and the view."""
        self.capture.open(links, (), {})
        if self.config.display:
            self._view = SensorView("Talaria · recording", lambda: self.capture.links)

    def vitals(self) -> Vitals:
        """Return what the session says of itself while it runs."""
        return Vitals(self.capture.summary(self.dropped_chunks), self.capture.records)

    def take(self, item: Item) -> None:
        """Record one item, and show how the sensors are."""
        for tick in self.capture.take(item):
            if self._view is not None:
                self._view.show(tick)
        seconds = self.config.seconds
        over = seconds is not None and self.capture.seconds >= seconds
        # A recording is all there is here: once the disk has ended it, there is nothing left to do.
        self.finished = over or (self.capture.recording is not None and not self.capture.records)

    def poll(self) -> None:
        """Nobody asks a recording for anything."""

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._view is not None:
            self._view.silence(seconds)
        else:
            self.capture.tell_silence(seconds)

    def close(self) -> RunSummary:
        """Finish the recording and return what it came to."""
        summary = self.capture.summary(self.dropped_chunks)
        try:
            if self.capture.recording is not None:
                self.capture.recording.note({"ended": summary.to_dict()})
        finally:
            if self.capture.recording is not None:
                self.capture.recording.close()
            if self._view is not None:
                self._view.close()
        return summary

    def check(self) -> None:
        """Explain a recording that holds not one tick; see `Capture.check`."""
        self.capture.check()
