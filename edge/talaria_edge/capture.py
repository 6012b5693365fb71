"""The first half of every session: what comes off the links, recorded, and as ticks of one clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from talaria_bridge.errors import SourceError
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.receiver import LinkReport, Outgoing, Receiver
from talaria_bridge.vendors import FAMILIES
from talaria_edge.alignment import Alignment, Tick
from talaria_edge.config import Config
from talaria_edge.disk import GB
from talaria_edge.sinks.recording import SessionRecording
from talaria_edge.summary import RunSummary

log = logging.getLogger("talaria")

WORTH_A_LINE_S = 2.0
"""A view shows any silence at once; where there is none, a shorter one would only fill the log."""


_WORTH_A_LINE = {
    LinkNews.CONNECTED: logging.INFO,
    LinkNews.LOST: logging.WARNING,
    LinkNews.FAILED: logging.INFO,
}


def _caveat(link: Link) -> str:
    """Say what the link's sensor cannot tell."""
    return FAMILIES[link.family].caveat if link.family in FAMILIES else ""


def _tell(event: LinkEvent) -> None:
    """Write news of a link into the log, where a person may look for it later."""
    if event.news in _WORTH_A_LINE:
        detail = f" ({event.detail.strip().rstrip('.')})" if event.detail else ""
        log.log(_WORTH_A_LINE[event.news], "%s: %s%s.", event.link, event.news, detail)


class Capture:
    """Items in, ticks out, everything recorded on the way.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    recording : SessionRecording or None
        None until `open`, and where nothing is to be recorded.
    bytes_in, ticks : int
        What came, and how many instants of the common clock it made.
    """

    def __init__(self, config: Config) -> None:
        self.recording: SessionRecording | None = None
        self.bytes_in = 0
        self.ticks = 0
        self._first_s = self._last_s = 0.0
        self._silent_s, self._next_line_s = 0.0, WORTH_A_LINE_S
        self._links: tuple[Link, ...] = ()
        self._names: tuple[str, ...] = ()
        self._config = config
        self._receiver = Receiver()
        self._alignment = Alignment(config.slots, config.rate_hz, config.alignment.params())

    def open(self, links: Sequence[Link], names: Sequence[str], about: Mapping[str, Any]) -> None:
        """Get ready for these links, and open the recording if there is to be one.

        Parameters
        ----------
        links : sequence of Link
            Of the source, once it has been entered.
        names : sequence of str
            The angles that will be recorded; none where there is no model.
        about : mapping
            What the session's ``session.toml`` says beside source, user, rate and slots.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        """
        self._links, self._names = tuple(links), tuple(names)
        self._receiver = Receiver(links)
        for caveat in dict.fromkeys(map(_caveat, links)):
            if caveat:
                log.warning(caveat)
        self.record(about)

    def record(self, about: Mapping[str, Any]) -> None:
        """Begin a recording of what comes from now on, if the configuration names a folder.

        Parameters
        ----------
        about : mapping
            As for `open`.

        Raises
        ------
        RecordingError
            If nothing can be written where the recording should go.
        """
        config = self._config
        if config.record_dir is None:
            return
        before = {} if self.recording is None else {"continues": self.recording.folder.name}
        facts: dict[str, Any] = {
            "source": config.sources,
            "user": config.user,
            "rate_hz": config.rate_hz,
            "slots": config.slots,
            "alignment": config.alignment.model_dump(),
            **before,
            **about,
        }
        user = config.user or "anyone"
        keep_free = config.disk.keep_free_gb * GB
        self.recording = SessionRecording(
            config.record_dir, user, self._names, facts, self._links, keep_free_bytes=keep_free
        )
        log.info("Recording in %s.", self.recording.folder)

    def take(self, item: Item) -> list[Tick]:
        """Take one item off a link; return the ticks it completed."""
        if self.recording is not None:
            self.recording.write_raw(item)
        if isinstance(item, Chunk):
            self.bytes_in += len(item.data)
        else:
            _tell(item)
        ticks = [
            tick for sample in self._receiver.push(item) for tick in self._alignment.push(sample)
        ]
        for tick in ticks:
            self._note(tick)
        return ticks

    def tell_silence(self, seconds: float) -> None:
        """Write into the log that nothing has come for so long, ever more seldom the longer it lasts."""
        if seconds < self._silent_s:
            self._next_line_s = WORTH_A_LINE_S  # it is another silence
        self._silent_s = seconds
        if seconds >= self._next_line_s:
            self._next_line_s = 2.0 * seconds
            log.warning("No data from any sensor for %.1f s.", seconds)

    def outgoing(self, now_s: float) -> list[Outgoing]:
        """Return what is due to be written to the devices."""
        return self._receiver.outgoing(now_s)

    def closing(self) -> list[Outgoing]:
        """Return what to write to the devices before they are left."""
        return self._receiver.closing()

    @property
    def records(self) -> bool:
        """Whether what comes is being recorded."""
        return self.recording is not None and not self.recording.closed

    @property
    def seconds(self) -> float:
        """From the first tick to the newest, in the sensors' time."""
        return self._last_s - self._first_s

    @property
    def links(self) -> tuple[LinkReport, ...]:
        """How every link has been doing."""
        return self._receiver.reports()

    def summary(
        self,
        dropped_chunks: int,
        validity: Mapping[str, int] | None = None,
        step_ms: tuple[float, float] = (math.nan, math.nan),
    ) -> RunSummary:
        """Say what the session came to.

        Parameters
        ----------
        dropped_chunks : int
            Of the source.
        validity : mapping, optional
            Gait states by validity, where there were any.
        step_ms : (float, float)
            Median and 99th percentile of a pipeline step, milliseconds.
        """
        counters = self._alignment.counters
        return RunSummary(
            ticks=self.ticks,
            states=sum((validity or {}).values()),
            seconds=self.seconds,
            validity=dict(validity or {}),
            received={slot: c.received for slot, c in counters.items()},
            lost={slot: c.lost for slot, c in counters.items()},
            links=self.links,
            dropped_chunks=dropped_chunks,
            p50_ms=step_ms[0],
            p99_ms=step_ms[1],
            folder=None
            if self.recording is None or self.recording.empty
            else self.recording.folder,
        )

    def check(self) -> None:
        """Explain a capture that gave nothing.

        Raises
        ------
        SourceError
            If not one tick came.
        """
        if self.ticks == 0:
            messages = sum(link.messages for link in self.links)
            raise SourceError(
                f"{', '.join(self._config.sources)} gave {self.bytes_in} bytes and {messages} "
                f"messages but not one instant with data of {', '.join(self._config.slots)}: check "
                "that the sensors are on, are what the source says they are, and are set to those "
                "slots."
            )

    def _note(self, tick: Tick) -> None:
        if self.ticks == 0:
            self._first_s = tick.t_s
        self.ticks += 1
        self._last_s = tick.t_s
        if self.recording is not None:
            self.recording.tick(tick)
