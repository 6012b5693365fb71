"""Recording without a model: what the sensors sent, and how well they did."""

from __future__ import annotations

from collections.abc import Sequence

from talaria_bridge.link import Item, Link
from talaria_bridge.receiver import Outgoing
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
        self._capture = Capture(config)
        self._view: SensorView | None = None

    @property
    def bytes_in(self) -> int:
        """Bytes that have come so far."""
        return self._capture.bytes_in

    def start(self, links: Sequence[Link]) -> None:
        """Open the recording and the view."""
        self._capture.open(links, (), {})
        if self.config.display:
            self._view = SensorView("Talaria · recording", lambda: self._capture.links)

    @property
    def ticks(self) -> int:
        """Instants of the common clock so far."""
        return self._capture.ticks

    def vitals(self) -> Vitals:
        """Return what the session says of itself while it runs."""
        return Vitals(self._capture.summary(self.dropped_chunks), self._capture.records)

    def take(self, item: Item) -> None:
        """Record one item, and show how the sensors are."""
        for tick in self._capture.take(item):
            if self._view is not None:
                self._view.show(tick)
        seconds = self.config.seconds
        over = seconds is not None and self._capture.seconds >= seconds
        # A recording is all there is here: once the disk has ended it, there is nothing left to do.
        self.finished = over or (self._capture.recording is not None and not self._capture.records)

    def outgoing(self, now_s: float) -> list[Outgoing]:
        """Return what is due to be written to the devices."""
        return self._capture.outgoing(now_s)

    def closing(self) -> list[Outgoing]:
        """Return what to write to the devices before they are left."""
        return self._capture.closing()

    def poll(self) -> None:
        """Nobody asks a recording for anything."""

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""
        if self._view is not None:
            self._view.silence(seconds)
        else:
            self._capture.tell_silence(seconds)

    def close(self) -> RunSummary:
        """Finish the recording and return what it came to."""
        summary = self._capture.summary(self.dropped_chunks)
        try:
            if self._capture.recording is not None:
                self._capture.recording.note({"ended": summary.to_dict()})
        finally:
            if self._capture.recording is not None:
                self._capture.recording.close()
            if self._view is not None:
                self._view.close()
        return summary

    def check(self) -> None:
        """Explain a recording that holds not one tick; see `Capture.check`."""
        self._capture.check()
