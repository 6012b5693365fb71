"""Where a force plate's clock stands against the foot sensor above it, and when it jumps.

The plates and the sensors of a recording are often started by different computers. Each plate is
aligned to its own foot in two steps: the loaded times are correlated with the times when the foot
hardly turns (robust, but biased, because a foot starts to roll long before it leaves the ground),
then the first instants of load are matched with the landing itself, a jolt after which the foot
comes to rest (sharp, but only to be trusted near the first answer). Both run in windows, so that
a clock that jumps shows. On CapSense the lags of the windows of one trial agree to about 0.02 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_training.data.recording import Contact, DataIssue, Plates, Side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDES: tuple[Side, Side] = ("r", "l")
SIDE_NAMES = {"r": "right", "l": "left"}
LOADED_FRACTION = 0.05
"""A plate is loaded above this share of its 98th percentile of vertical force."""
JUMP_S = 0.05
"""Window lags that differ by more than this are a jump, and a lag larger than this is an issue."""

_WINDOW_S, _HOP_S = 10.0, 5.0
# Half a stride either way: further off, the same step of the next stride matches as well.
_SEARCH_S = 0.6
# Rolling off the toes makes the quiet part of a stance end this much before the load does.
_QUIET_BIAS_S = 0.10
_REFINE_S = 0.12
_LEAST_CORRELATION = 0.4
# The landing shows in the jolt one sample after the plate passes its threshold.
_JOLT_DELAY_S = 0.01
# Above this rate (rad/s) a foot is swinging, and how fast no longer matters.
_SWINGING_RADS = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class _Foot:
    """What one foot sensor says about being on the ground, sampled like the plate."""

    quiet: Floats
    landing: Floats


def synchronise(
    name: str, plates: Plates, t_s: Floats, feet: dict[Side, tuple[Floats, Floats]]
) -> tuple[Plates, list[DataIssue]]:
    """Find each plate's lag behind its foot sensor, and from when on it no longer holds.

    Parameters
    ----------
    name : str
        The recording, for the issues.
    plates : Plates
        With `ok` where the force is finite; a uniform clock.
    t_s : ndarray, shape (T,)
        Sensor times.
    feet : dict of side to (acc_ms2, gyr_rads), each of shape (T, 3)
        The working foot sensors.

    Returns
    -------
    plates : Plates
        With `lag_s` and `valid_until_s` filled in and `ok` cut at a jump.
    issues : list of DataIssue
        One for every lag above 0.05 s, every jump, and every plate that could not be aligned.
    """
    issues: list[DataIssue] = []
    ok = dict(plates.ok)
    lag_s: dict[str, float] = {}
    valid_until_s: dict[str, float] = {}
    for side in SIDES:
        where = f"{name}, {SIDE_NAMES[side]} plate"
        starts, lags = _window_lags(plates, side, t_s, feet.get(side))
        if not len(lags):
            ok[side] = np.zeros_like(plates.ok[side])
            lag_s[side], valid_until_s[side] = np.nan, -np.inf
            what = "could not be aligned with the foot sensor (too few clear steps, or no sensor)"
            issues.append(DataIssue(where, what, "it is not used"))
            continue
        split = _jump(lags)
        lag_s[side] = round(float(np.median(lags[:split])), 4)
        valid_until_s[side] = float(starts[split]) if split < len(lags) else np.inf
        ok[side] = plates.ok[side] & (plates.t_s < valid_until_s[side])
        issues += _lag_issues(where, lags, split, lag_s[side], valid_until_s[side])
    return replace(plates, ok=ok, lag_s=lag_s, valid_until_s=valid_until_s), issues


def contacts(plates: Plates, shortest_s: float = 0.2) -> tuple[Contact, ...]:
    """Return initial and final contacts on the sensors' clock, in time order.

    A stance counts if it is loaded for at least `shortest_s` and lies wholly where the plate is
    `ok`; a plate without a lag gives none.
    """
    found: list[Contact] = []
    for side in SIDES:
        if not np.isfinite(plates.lag_s.get(side, np.nan)):
            continue
        clock = plates.t_s - plates.lag_s[side]
        for first, last in _stances(plates, side):
            whole = plates.ok[side][first : last + 1].all()
            if whole and clock[last] - clock[first] >= shortest_s:
                found.append(Contact(float(clock[first]), side, "initial"))
                found.append(Contact(float(clock[last]), side, "final"))
    return tuple(sorted(found, key=lambda c: c.t_s))


def _lag_issues(
    where: str, lags: Floats, split: int, lag_s: float, valid_until_s: float
) -> list[DataIssue]:
    issues = []
    if abs(lag_s) > JUMP_S:
        late = "late" if lag_s > 0 else "early"
        what = f"is {abs(lag_s):.2f} s {late} against the foot sensor"
        issues.append(DataIssue(where, what, "the lag is taken out"))
    low, high = np.percentile(lags[:split], (10, 90))
    if high - low > JUMP_S:
        what = f"wanders between {low:+.2f} and {high:+.2f} s against the foot sensor"
        issues.append(DataIssue(where, what, "its contacts are that uncertain"))
    if split < len(lags):
        after = float(np.median(lags[split:]))
        what = f"jumps from {lag_s:+.2f} to {after:+.2f} s against the foot sensor"
        issues.append(DataIssue(where, what, f"it is used until {valid_until_s:.0f} s only"))
    return issues


def _window_lags(
    plates: Plates, side: Side, t_s: Floats, sensor: tuple[Floats, Floats] | None
) -> tuple[Floats, Floats]:
    """Return the start (plate time) and the lag (s) of every window that shows clear steps."""
    if sensor is None or len(plates.t_s) < 2:
        return np.empty(0), np.empty(0)
    rate_hz = (len(plates.t_s) - 1) / float(plates.t_s[-1] - plates.t_s[0])
    foot = _foot(plates.t_s, t_s, sensor, rate_hz)
    loaded = _loaded(plates, side).astype(float)
    landings = _landings(loaded > 0, rate_hz)
    window, hop = round(_WINDOW_S * rate_hz), round(_HOP_S * rate_hz)
    starts, lags = [], []
    for first in range(0, max(1, len(loaded) - hop), hop):
        part = slice(first, first + window)
        coarse = _coarse_lag(loaded[part], foot.quiet[part], rate_hz)
        inside = landings[(landings >= first) & (landings < first + window)]
        if coarse is not None and len(inside) >= 3:
            starts.append(plates.t_s[first])
            lags.append(_fine_lag(foot.landing, inside, coarse - _QUIET_BIAS_S, rate_hz))
    return np.array(starts), np.array(lags)


def _foot(plate_t_s: Floats, t_s: Floats, sensor: tuple[Floats, Floats], rate_hz: float) -> _Foot:
    acc, gyr = (np.column_stack([np.interp(plate_t_s, t_s, c) for c in x.T]) for x in sensor)
    turning = np.linalg.norm(gyr, axis=1)
    quiet = -_smooth(np.minimum(turning, _SWINGING_RADS), round(0.09 * rate_hz))
    jolt = np.linalg.norm(np.diff(acc, axis=0, prepend=acc[:1]), axis=1)
    jolt = _smooth(np.minimum(jolt, np.percentile(jolt, 97)), 3)
    before = _ahead(turning, -0.15, 0.0, rate_hz)
    after = _ahead(turning, 0.08, 0.25, rate_hz)
    return _Foot(quiet, _scaled(jolt) + _scaled(before - after))


def _coarse_lag(loaded: Floats, quiet: Floats, rate_hz: float) -> float | None:
    """Return the lag (s) at which load and quiet agree best, None if they hardly do."""
    reach = round(_SEARCH_S * rate_hz)
    if len(loaded) < 4 * reach or np.ptp(loaded) == 0.0 or np.ptp(quiet) == 0.0:
        return None
    inner = loaded[reach:-reach]
    if np.ptp(inner) == 0.0:
        return None
    # Row j looks at the foot j - reach samples later, so the plate is early by that much.
    shifted = np.lib.stride_tricks.sliding_window_view(quiet, len(inner))
    spread = shifted.std(axis=1) * inner.std() * len(inner)
    r = (shifted @ (inner - inner.mean())) / np.where(spread > 0, spread, np.inf)
    best = int(np.argmax(r))
    return (reach - best) / rate_hz if r[best] >= _LEAST_CORRELATION else None


def _fine_lag(landing: Floats, at: Ints, near_s: float, rate_hz: float) -> float:
    """Return the lag (s) within 0.12 s of `near_s` at which the landings score highest."""
    reach, centre = round(_REFINE_S * rate_hz), round(near_s * rate_hz)
    shifts = np.arange(centre - reach, centre + reach + 1)
    earlier = np.clip(at[:, None] - shifts[None, :], 0, len(landing) - 1)
    best = int(np.argmax(landing[earlier].mean(axis=0)))
    return float(shifts[best] / rate_hz + _JOLT_DELAY_S)


def _jump(lags: Floats) -> int:
    """Return the first window after a jump, or the number of windows if there is none.

    The split is the one that leaves the least absolute deviation on its two sides; at least two
    windows must stand on either side, so that one odd window is no jump.
    """
    splits = range(2, len(lags) - 1)
    costs = [_deviation(lags[:k]) + _deviation(lags[k:]) for k in splits]
    if not costs:
        return len(lags)
    split = splits[int(np.argmin(costs))]
    step = float(np.median(lags[split:]) - np.median(lags[:split]))
    return split if abs(step) > JUMP_S else len(lags)


def _deviation(x: Floats) -> float:
    return float(np.abs(x - np.median(x)).sum())


def _loaded(plates: Plates, side: Side) -> NDArray[np.bool_]:
    vertical = np.where(plates.ok[side], plates.force_n[side][:, 1], 0.0)
    threshold = LOADED_FRACTION * float(np.percentile(vertical, 98))
    return vertical > max(threshold, 1.0)


def _stances(plates: Plates, side: Side) -> list[tuple[int, int]]:
    """Return first and last loaded row of every stance, without the cut ones at either end."""
    edges = np.diff(_loaded(plates, side).astype(np.int8))
    on, off = np.flatnonzero(edges == 1) + 1, np.flatnonzero(edges == -1)
    off = off[off >= on[0]] if len(on) else off[:0]
    return [(int(a), int(b)) for a, b in zip(on, off, strict=False)]


def _landings(loaded: NDArray[np.bool_], rate_hz: float) -> Ints:
    """Return the rows where a clear swing (0.2 s free) ends in a clear stance (0.3 s loaded)."""
    free, stand = round(0.2 * rate_hz), round(0.3 * rate_hz)
    on = np.flatnonzero(~loaded[:-1] & loaded[1:]) + 1
    clear = [
        loaded[max(0, i - free) : i].mean() < 0.1 and loaded[i : i + stand].mean() > 0.9 for i in on
    ]
    return np.asarray(on[np.array(clear, dtype=bool)], dtype=np.int64)


def _ahead(x: Floats, start_s: float, stop_s: float, rate_hz: float) -> Floats:
    """Return the mean of x from start_s to stop_s relative to each sample, ends held."""
    offsets = np.arange(round(start_s * rate_hz), round(stop_s * rate_hz))
    total = np.concatenate(([0.0], np.cumsum(x)))
    at = np.arange(len(x))
    first = np.clip(at + offsets[0], 0, len(x))
    last = np.clip(at + offsets[-1] + 1, 0, len(x))
    return np.asarray((total[last] - total[first]) / np.maximum(last - first, 1))


def _smooth(x: Floats, width: int) -> Floats:
    width = max(1, width)
    return np.convolve(x, np.ones(width) / width, mode="same")


def _scaled(x: Floats) -> Floats:
    spread = float(x.std())
    return x / spread if spread > 0 else x
