"""Why a stride was given its class, in one value: the verdict, and what spoke for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.gait import SIDES, GaitClass
from talaria_edge.heard_session import class_names, hear
from talaria_edge.hearing import HeardStride, Listener, Span
from talaria_edge.occlusion import Occlusion, Part, as_it_was
from talaria_edge.pipeline import Model


@dataclass(frozen=True, slots=True)
class Knee:
    """How far a knee moved in its last stride: degrees, the wearer's usual degrees, and their quotient."""

    side: str
    range_deg: float
    usual_deg: float
    share: float


@dataclass(frozen=True, slots=True)
class Why:
    """One stride, its class, and what spoke for it.

    Attributes
    ----------
    span : Span
    strides : int
        In the recording.
    model_id : str
    gait_class : GaitClass
        The verdict.
    confidence : float
    said, against : GaitClass
        What the network itself favoured over the stride, and its second choice: *the lead* is the mean
        log-likelihood of the one less that of the other.
    lead, lead_held : float
        As it was, and with all movement taken out.
    parts : tuple of Part
        One per vector: 3 per sensor, in the model's order.
    channels : tuple of Part
        One per channel.
    legs : tuple of Part
        ``"r"`` and ``"l"``: that leg moving as the other did half a stride earlier. Empty where either leg
        lacks a sensor of the other's.
    novelty, novelty_held, limit : float
        The stride's mean novelty, that with all movement taken out, and above what a stride is unknown; NaN
        where the model does not say.
    knees : tuple of Knee
        Those the verdict could weigh; empty where the wearer's usual is not known.
    """

    span: Span
    strides: int
    model_id: str
    gait_class: GaitClass
    confidence: float
    said: GaitClass
    against: GaitClass
    lead: float
    lead_held: float
    parts: tuple[Part, ...]
    channels: tuple[Part, ...]
    legs: tuple[Part, ...]
    novelty: float
    novelty_held: float
    limit: float
    knees: tuple[Knee, ...]

    def to_json(self) -> str:
        """One JSON object; what is not known is null."""
        return json.dumps(_plain(asdict(self)), indent=1, allow_nan=False)


def why_session(
    folder: Path, *, stride: int | None = None, at_s: float | None = None, model: Path | None = None
) -> Why:
    """Ask of one stride of a recorded session why it was given its class.

    Parameters
    ----------
    folder : Path
        Session folder.
    stride : int, optional
        Its running number among the strides of both legs, from 1.
    at_s : float, optional
        Or an instant within it, seconds from the first gait state, as in ``angles.mot``. Strides of the two
        legs overlap; the one that ends later is taken. Without either, the recording's last.
    model : Path, optional
        Another model than it was run with.

    Raises
    ------
    ConfigError
        If both are given, or no model is known.
    RecordingError
        If the folder holds no session, nobody walks in it, or there is no such stride.
    ModelContractError
        If the model does not fit, or tells no two classes apart.
    CalibrationError
        If the session ended before its calibration was complete.
    """
    if stride is not None and at_s is not None:
        raise ConfigError(
            f"Stride {stride} and the instant {at_s:g} s were both given, and one stride is asked about: "
            "leave out --stride or --at."
        )

    def choose(span: Span) -> bool:
        here = at_s is None or span.start_s <= at_s < span.end_s
        return here and stride in (None, span.number)

    heard = hear(folder, model, choose)
    if heard.kept is None:
        raise RecordingError(_no_such(folder, heard, stride, at_s))
    return why_stride(heard.model, heard.kept, heard.usual_rad, len(heard.spans))


def why_stride(
    model: Model, stride: HeardStride, usual_rad: Mapping[str, float] | None, strides: int
) -> Why:
    """Run one stride again and again, each time without some of its movement.

    Parameters
    ----------
    model : Model
        The one that met it; its state is as before afterwards.
    stride : HeardStride
    usual_rad : mapping of side to float, or None
        How far the wearer's knees usually move.
    strides : int
        How many the recording has.

    Raises
    ------
    ModelContractError
        If the model tells no two classes apart.
    """
    classes = class_names(model.spec)
    with as_it_was(model):
        asked = Occlusion(model, stride)
        parts, channels = asked.held(asked.vectors), asked.held(asked.channels)
        (still,) = asked.held({"all": [c for columns in asked.vectors.values() for c in columns]})
        legs = asked.swapped()
    familiarity = model.spec.familiarity
    return Why(
        stride.span,
        strides,
        model.spec.model_id,
        stride.gait_class,
        stride.confidence,
        GaitClass(classes[asked.said]),
        GaitClass(classes[asked.against]),
        asked.lead,
        asked.lead - still.fall,
        parts,
        channels,
        legs,
        asked.novelty,
        still.novelty,
        math.nan if familiarity is None else familiarity.limit,
        _knees(stride, usual_rad),
    )


def _knees(stride: HeardStride, usual_rad: Mapping[str, float] | None) -> tuple[Knee, ...]:
    if usual_rad is None:
        return ()
    return tuple(
        Knee(side, math.degrees(share * usual_rad[side]), math.degrees(usual_rad[side]), share)
        for side, share in zip(SIDES, stride.shares, strict=True)
        if not math.isnan(share)
    )


def _no_such(folder: Path, heard: Listener, stride: int | None, at_s: float | None) -> str:
    if not heard.spans:
        share = heard.still / heard.states if heard.states else 0.0
        return (
            f"{folder} holds no whole stride ({heard.states} gait states, {share:.0%} of them of standing "
            "still), so there is no class to ask about: record some steps of walking."
        )
    first, last = heard.spans[0], heard.spans[-1]
    if stride is not None:
        return (
            f"{folder} has no stride {stride}, because its strides are numbered from 1 to {last.number}: "
            "choose one of those."
        )
    return (
        f"No whole stride of {folder} holds the instant {at_s:g} s, for its {last.number} strides lie between "
        f"{first.start_s:.1f} s and {last.end_s:.1f} s: choose another instant, or a --stride."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
