"""What a look at recordings can find, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a fault matters to who trains on the data."""

    SPOILS = 3
    """A network would learn something false from it."""
    WEAKENS = 2
    """Something is less accurate, or left out, because of it."""
    NOTE = 1
    """Good to know; it has been dealt with, or costs next to nothing."""

    @property
    def word(self) -> str:
        """For tables."""
        return self.name.casefold()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one recording.

    Attributes
    ----------
    severity : Severity
    recording : str
        Its name; empty where it concerns the whole set.
    part : str
        A slot, ``reference``, ``clock`` or the like.
    what : str
        What was seen, with its value.
    action : str
        What to do.
    """

    severity: Severity
    recording: str
    part: str
    what: str
    action: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.recording, self.part)))
        return f"{where}: {self.what}: {self.action}."
