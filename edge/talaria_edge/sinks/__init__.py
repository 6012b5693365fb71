"""Where gait states go: a terminal, a motion file, a session folder."""

from __future__ import annotations

from typing import Protocol

from talaria_edge.pipeline import GaitState


class Sink(Protocol):
    """Anything that takes gait states, one at a time and in order."""

    def show(self, state: GaitState, /) -> None:
        """Take one state; return soon."""

    def close(self) -> None:
        """Finish; may be called twice."""
