"""Where bytes come from: one contract, and one line of text that names any source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self
from urllib.parse import parse_qsl

from talaria_bridge.errors import SourceError
from talaria_bridge.recorder import Chunk
from talaria_bridge.replay import PacedSource, replay_source

KINDS = {
    "serial": ("serial:/dev/ttyACM0?baud=921600", ("baud",)),
    "replay": ("replay:FILE.tlog?pace=real", ("pace",)),
    "sim": ("sim:?seed=1&seconds=60&pace=fast", ("seed", "seconds", "pace")),
}
"""Kind of source -> an example of its spec, and the options it takes."""


class Source(Protocol):
    """Chunks in order of arrival: ``async with open_source(spec) as s: async for chunk in s: ...``.

    Iteration ends with the recording, or raises `SourceError` when a device goes.
    """

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def dropped_chunks(self) -> int:
        """Chunks lost because their reader was too slow."""

    async def __aenter__(self) -> Self:
        """Open it."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""

    def __aiter__(self) -> Self:
        """Iterate over its chunks."""

    async def __anext__(self) -> Chunk:
        """Wait for the next chunk."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as text, taken apart: ``kind:target?option=value&...``."""

    text: str
    kind: str
    target: str
    options: Mapping[str, str]

    def number(self, option: str, default: float, low: float, high: float) -> float:
        """Value of a numeric option, or its default."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise self._refuse(option, f"a number from {low:g} to {high:g}")
        return value

    def whole(self, option: str, default: int, low: int, high: int) -> int:
        """Value of a whole-number option, or its default."""
        text = self.options.get(option)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
            raise self._refuse(option, f"a whole number from {low} to {high}")
        return int(text)

    def pace(self) -> Literal["real", "fast"]:
        """Value of the option ``pace``; fast by default."""
        text = self.options.get("pace", "fast")
        if text == "real":
            return "real"
        if text == "fast":
            return "fast"
        raise self._refuse("pace", "real or fast")

    def _refuse(self, option: str, wanted: str) -> SourceError:
        return SourceError(
            f"option {option}={self.options[option]!r} of source {self.text!r} is not usable: "
            f"give {wanted}, as in {KINDS[self.kind][0]!r}."
        )


def parse_source(text: str) -> SourceSpec:
    """Take a source spec apart, and refuse what no source could understand.

    Raises
    ------
    SourceError
        If the kind or an option is unknown, an option is given twice, or a part is missing.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        examples = ", ".join(example for example, _ in KINDS.values())
        raise SourceError(f"{text!r} names no source Talaria knows: write one like {examples}.")
    example, known = KINDS[kind]
    target, _, query = rest.partition("?")
    if (kind == "sim") != (target == ""):
        raise SourceError(
            f"source {text!r} {'names a file or port it does not need' if target else 'lacks one'}"
            f": write it like {example!r}."
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SourceError(
            f"the options {query!r} of source {text!r} are not of the form name=value: "
            f"write them like {example!r}."
        ) from None
    for name, _ in pairs:
        if name not in known or sum(name == other for other, _ in pairs) > 1:
            raise SourceError(
                f"option {name!r} of source {text!r} is unknown or given twice: "
                f"a {kind} source takes {', '.join(known)}."
            )
    return SourceSpec(text, kind, target, dict(pairs))


def open_source(text: str) -> Source:
    """Make the source a spec names; entering it opens it.

    Raises
    ------
    SourceError
        If the spec is wrong. A port that cannot be opened raises it on entering.
    """
    # Each kind brings its own dependencies (pyserial, scipy), which the others must not need.
    spec = parse_source(text)
    if spec.kind == "serial":
        from talaria_bridge.uart import DEFAULT_BAUD, SerialSource  # noqa: PLC0415

        return SerialSource(spec.target, spec.whole("baud", DEFAULT_BAUD, 1, 20_000_000))
    if spec.kind == "replay":
        return replay_source(spec.target, spec.pace())
    from talaria_bridge.simulator import simulate_walk  # noqa: PLC0415
    from talaria_bridge.virtual import schedule_chunks  # noqa: PLC0415

    seed = spec.whole("seed", 0, 0, 2**32 - 1)
    seconds = spec.number("seconds", 60.0, 1.0, 3_600.0)

    def chunks() -> list[Chunk]:
        walk = simulate_walk(seed, seconds=seconds)
        return schedule_chunks(walk.slots, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)

    return PacedSource(text, chunks, spec.pace())
