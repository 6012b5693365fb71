"""What a stride table must be before any classifier sees it; each fault is one sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError

_FEWEST_POINTS = 2


def check_shapes(values: NDArray[np.float32], channels: int, per_stride: Mapping[str, int]) -> None:
    """Insist on (strides, channels, points), every channel named, and one entry per stride elsewhere."""
    shape = values.shape
    if len(shape) != 3 or 0 in shape or shape[2] < _FEWEST_POINTS:
        raise RecordingError(
            f"values has shape {shape}, not (strides, channels, points) with something in it: save one "
            "stride per row, one channel per column and time last."
        )
    if channels != shape[1]:
        raise RecordingError(
            f"{channels} channels are named but values has {shape[1]}: name every channel once."
        )
    for name, length in per_stride.items():
        if length != shape[0]:
            raise RecordingError(
                f"{name} has {length} entries for {shape[0]} strides: give one per stride."
            )


def check_channel_names(names: Sequence[str]) -> None:
    """Insist that no two channels share a name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecordingError(
            f"Two channels are both called {twice[0]!r}, so none can be told from the other: rename one."
        )


def check_finite(values: NDArray[np.float32], names: Sequence[str]) -> None:
    """Insist on numbers everywhere; the channel that lacks most is named."""
    gaps = np.asarray(~np.isfinite(values).all(axis=2))
    if gaps.any():
        worst = int(gaps.sum(axis=0).argmax())
        others = int(gaps.any(axis=0).sum()) - 1
        more = f" (and {others} more of the channels)" if others else ""
        raise RecordingError(
            f"Channel {names[worst]} is not a number in {gaps[:, worst].sum()} of "
            f"{len(gaps)} strides{more}: leave out these strides or this channel."
        )


def check_spellings(columns: Mapping[str, NDArray[np.str_]], exempt: Collection[str]) -> None:
    """Insist that a column of numbers spells each in one way, or one class would be two."""
    for name, column in columns.items():
        spelled: dict[float, set[str]] = defaultdict(set)
        distinct = np.unique(column[column != ""])
        numbers = None if name in exempt else as_numbers(distinct)
        if numbers is None:
            continue
        for text, number in zip(distinct.tolist(), numbers.tolist(), strict=True):
            spelled[number].add(text)
        for number, texts in spelled.items():
            if len(texts) > 1:
                said = " and ".join(repr(t) for t in sorted(texts))
                raise RecordingError(
                    f"Column {name} holds numbers stored as text, and {number:g} is spelled {said}, which "
                    "would be different classes: spell every number one way."
                )


def as_numbers(column: NDArray[np.str_]) -> NDArray[np.float64] | None:
    """Read a column as numbers, shape (N,), NaN where it is empty; None if any entry is no number."""
    given = column != ""
    if not given.any():
        return None
    numbers = np.full(len(column), np.nan)
    try:
        numbers[given] = column[given].astype(np.float64)
    except ValueError:
        return None
    return numbers
