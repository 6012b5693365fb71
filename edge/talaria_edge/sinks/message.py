"""A gait state as one JSON object, for whoever listens; ``edge/README.md`` documents it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.fields import force_fields, gait_fields

MESSAGE_VERSION = 1
"""Raised whenever a key changes its meaning or goes; new keys may come without."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a listener must know before the first state.

    Attributes
    ----------
    names : tuple of str
        Angles, in the model's order.
    slots : tuple of str
    rate_hz : float
        States per second.
    source : str
        Model and wearer: the same in every session of theirs.
    forces, moments : tuple of str
        What the force model gives, in its order; empty without one.
    mass_kg : float or None
        The wearer's, where it is known.
    """

    names: tuple[str, ...]
    slots: tuple[str, ...]
    rate_hz: float
    source: str
    forces: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    mass_kg: float | None = None


def hello_message(stream: Stream) -> str:
    """Return the first message of a connection."""
    more = {}
    if stream.forces or stream.moments:
        more = {"forces": stream.forces, "moments": stream.moments, "mass_kg": stream.mass_kg}
    return _text(
        {
            "kind": "hello",
            "version": MESSAGE_VERSION,
            "angles": stream.names,
            "slots": stream.slots,
            "rate_hz": stream.rate_hz,
            "source": stream.source,
            **more,
        }
    )


def state_message(state: GaitState) -> str:
    """Return one state; angles in degrees, NaN as null; ``forces`` only where a force model runs."""
    fields = {"kind": "state", **gait_fields(state)}
    if state.loads:
        fields["forces"] = force_fields(state)
    return _text(fields)


def _text(fields: dict[str, Any] | Sequence[Any]) -> str:
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))
