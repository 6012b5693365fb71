"""What the page may ask of the session."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

MAX_NOTE = 200
"""Letters of a mark's note that are kept."""


class Wish(StrEnum):
    """Everything a button of the page stands for."""

    START = "start"
    STOP = "stop"
    MARK = "mark"
    RECALIBRATE = "recalibrate"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Command:
    """One wish, and for a mark what is to be noted with it."""

    wish: Wish
    note: str = ""


def parse_command(text: str | bytes) -> Command | None:
    """Read ``{"wish": ..., "note": ...}``; None for anything else, whoever sent it."""
    try:
        fields = json.loads(text)
        wish = Wish(fields["wish"])
        note = fields.get("note", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not isinstance(note, str):
        return None
    return Command(wish, " ".join(note.split())[:MAX_NOTE])


def command_line(command: Command) -> bytes:
    """Write a command as the one line `parse_command` reads."""
    return json.dumps({"wish": command.wish, "note": command.note}).encode() + b"\n"
