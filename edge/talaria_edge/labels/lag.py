"""How far apart two clocks are that watched the same walk, from how the legs turned.

Walking repeats itself, so one lag a stride away from the right one looks almost as good. What tells
them apart is that no two strides are alike: at the right lag every stride meets itself. A lag is
therefore believed only if it explains clearly more than the best other one, and if short stretches
of the walk, each compared alone, all ask for the same lag up to a steady drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import correlate, correlation_lags
from scipy.stats import theilslopes

from talaria_bridge.errors import RecordingError

Floats = NDArray[np.float64]
GRID_HZ = 100.0
"""Rate at which curves are compared; the peak is found between its steps."""
_SUREST = 0.9999
"""Correlations above this are not told apart: the evidence would be infinite."""
_CLIMB = 10
"""Steps that may be between the best lag allowed and the top of its peak."""


@dataclass(frozen=True, slots=True)
class LagParams:
    """What it takes to believe a lag.

    Chosen on CapSense Sub02 against optics, steady treadmill walking: crops of eight seconds or more
    match at 0.98, lead by 0.24 or more and scatter by less than 2 ms. Tried on Sub03 to Sub08 against
    their full-chain angles: of 480 crops of 10 to 25 s none was refused, and of 480 compared with
    another part of the same walk none was accepted.

    Attributes
    ----------
    min_overlap_s : float
        Walking that both must have seen; less is allowed where the reference has no more.
    shortest_s : float
        No reference with less walking is compared at all.
    min_match, min_lead : float
        See `ClockLag`.
    max_scatter_s : float
        Spread of the lags of single stretches about a straight line.
    max_drift : float
        Of one clock against the other; a camera's 59.94 Hz called 60 is 1e-3.
    moving_rads : float
        Mean rate of the segments over a second that counts as walking.
    window_s : float
        Length of a single stretch.
    reach_s : float
        How far a stretch's own lag may be from the common one; less than half a stride.
    apart_s : float
        Lags closer than this are one and the same.
    least_drift_s : float
        Drift that amounts to less over the whole overlap is not corrected.
    """

    min_overlap_s: float = 10.0
    shortest_s: float = 6.0
    min_match: float = 0.8
    min_lead: float = 0.2
    max_scatter_s: float = 0.012
    moving_rads: float = 0.3
    max_drift: float = 1.5e-3
    window_s: float = 2.0
    reach_s: float = 0.3
    apart_s: float = 0.3
    least_drift_s: float = 0.005


@dataclass(frozen=True, slots=True)
class ClockLag:
    """One clock against the other: session time = reference time + lag + drift x (time from middle).

    Attributes
    ----------
    lag_s : float
        Add it to the reference's times; exact at `middle_s`.
    drift : float
        Seconds per second that the lag grows by, as corrected; 0.0 where it is not clear.
    drift_seen : float
        As estimated, clear or not; NaN where the overlap is too short to tell.
    middle_s : float
        Reference time in the middle of the overlap.
    match : float
        Correlation of all curves together at that lag, 0 to 1.
    lead : float
        Share by which the evidence for this lag beats that for the best other one, 0 to 1; NaN where
        the lag was given.
    runner_up_s : float
        That other lag; NaN where there is none.
    scatter_s : float
        Spread of the lags of single stretches; NaN where there are too few.
    overlap_s : float
        Walking that both have seen.
    """

    lag_s: float
    drift: float
    drift_seen: float
    middle_s: float
    match: float
    lead: float
    runner_up_s: float
    scatter_s: float
    overlap_s: float

    def to_reference(self, t_s: Floats) -> Floats:
        """Return the reference's time at instants of the session."""
        return (t_s - self.lag_s + self.drift * self.middle_s) / (1.0 + self.drift)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Angular rates by name on a grid of `GRID_HZ`, rad/s, NaN where unknown; all of one length.

    Attributes
    ----------
    start_s : float
        Time of the first sample.
    rates_rads : dict of name to ndarray, shape (T,)
    """

    start_s: float
    rates_rads: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """Evidence for every lag, in steps of the grid; `walking` in steps both saw walking."""

    lags: NDArray[np.int64]
    evidence: Floats
    walking: Floats


def find_lag(session: Curves, reference: Curves, params: LagParams | None = None) -> ClockLag:
    """Find the lag over the whole length of both.

    Raises
    ------
    RecordingError
        If the two have no curve in common, too little walking, or no one lag stands out.
    """
    params = params or LagParams()
    scan = _scan(*_shared(session, reference), params)
    needed = _needed(scan, params)
    enough = scan.walking >= needed
    at = _climb(scan.evidence, int(np.argmax(np.where(enough, scan.evidence, -1.0))))
    # A rival may have half the overlap: were it left out, a short session would make any lag lead.
    others = (scan.walking >= 0.5 * needed) & (
        np.abs(scan.lags - scan.lags[at]) > params.apart_s * GRID_HZ
    )
    runner = int(np.argmax(np.where(others, scan.evidence, -1.0))) if others.any() else -1
    best = float(scan.evidence[at])
    second = float(scan.evidence[runner]) if others.any() else 0.0
    found = _refined(session, reference, scan, at, params)
    offset_s = session.start_s - reference.start_s
    found = replace(
        found,
        lead=1.0 - second / best if best > 0 else 0.0,
        runner_up_s=float(scan.lags[runner]) / GRID_HZ + offset_s if others.any() else np.nan,
    )
    _check(found, params)
    return found


def given_lag(
    session: Curves, reference: Curves, lag_s: float, params: LagParams | None = None
) -> ClockLag:
    """Judge a lag that somebody else has found; it is kept as it is, only its drift is estimated.

    Raises
    ------
    RecordingError
        If the two share no instant at that lag, or have no curve in common.
    """
    params = params or LagParams()
    scan = _scan(*_shared(session, reference), params)
    steps = round((lag_s - session.start_s + reference.start_s) * GRID_HZ)
    at = steps - int(scan.lags[0])
    if not 1 <= at < len(scan.lags) - 1:
        raise RecordingError(
            f"At a lag of {lag_s:g} s the reference and the session share no instant: give the "
            "seconds to add to the reference's times."
        )
    return replace(_refined(session, reference, scan, at, params), lag_s=lag_s)


def _shared(session: Curves, reference: Curves) -> tuple[list[Floats], list[Floats]]:
    names = [name for name in session.rates_rads if name in reference.rates_rads]
    if not names:
        raise RecordingError(
            f"The reference and the session have no movement in common to compare (session: "
            f"{', '.join(session.rates_rads)}; reference: {', '.join(reference.rates_rads)}): give a "
            "reference with hip flexion, knee and ankle angles of the same legs."
        )
    return [session.rates_rads[n] for n in names], [reference.rates_rads[n] for n in names]


def _scan(ours: list[Floats], theirs: list[Floats], params: LagParams) -> _Scan:
    """Compare at every lag; index k of one lag means ours[n + lag] beside theirs[n]."""
    pairs = zip(ours, theirs, strict=True)
    evidence: Floats = np.mean([_evidence(a, b, "full") for a, b in pairs], axis=0)
    walking = correlate(_moving(ours, params), _moving(theirs, params), "full", "fft")
    return _Scan(correlation_lags(len(ours[0]), len(theirs[0])), evidence, walking)


def _evidence(ours: Floats, theirs: Floats, mode: str) -> Floats:
    """Log likelihood per sample that one curve is the other, at every lag: -log(1 - r²)."""
    has, had = np.isfinite(ours).astype(float), np.isfinite(theirs).astype(float)
    a, b = np.nan_to_num(ours), np.nan_to_num(theirs)
    size = correlate(a * a, had, mode, "fft") * correlate(has, b * b, mode, "fft")
    # Where one of them stands still there is nothing but rounding to compare.
    floor = 1e-6 * max(float(a @ a), 1e-9) * max(float(b @ b), 1e-9)
    r = correlate(a, b, mode, "fft") / np.sqrt(np.maximum(size, floor))
    return np.asarray(-np.log1p(-(np.clip(r, 0.0, _SUREST) ** 2)))


def _moving(curves: list[Floats], params: LagParams) -> Floats:
    level = uniform_filter1d(np.mean(np.abs(np.nan_to_num(curves)), axis=0), round(GRID_HZ))
    known = np.isfinite(curves).any(axis=0)
    return np.asarray((level > params.moving_rads) & known, dtype=float)


def _needed(scan: _Scan, params: LagParams) -> float:
    """Return how many steps both must walk for at a lag to be compared."""
    most_s = float(scan.walking.max()) / GRID_HZ
    if most_s < params.shortest_s:
        raise RecordingError(
            f"The reference and the session have at most {max(most_s, 0.0):.1f} s of walking in common "
            f"at any lag, and {params.shortest_s:g} s are the least that can be compared: give a longer "
            "reference of the same session."
        )
    return min(params.min_overlap_s, 0.8 * most_s) * GRID_HZ


def _climb(curve: Floats, at: int) -> int:
    """Go to the top near by: the least overlap may have cut the peak in two."""
    near = slice(max(0, at - _CLIMB), at + _CLIMB + 1)
    return near.start + int(np.argmax(curve[near]))


def _refined(
    session: Curves, reference: Curves, scan: _Scan, at: int, params: LagParams
) -> ClockLag:
    """Place the peak between the steps of the grid, and look for drift along the overlap."""
    lag = int(scan.lags[at])
    ours, theirs = _shared(session, reference)
    centres, offsets = _stretches(ours, theirs, lag, params)
    top = _vertex(scan.evidence, at)
    drift = drift_seen = scatter = np.nan
    start, stop = max(0, -lag), min(len(theirs[0]), len(ours[0]) - lag)
    middle = 0.5 * (start + stop)
    if len(offsets) >= 3:
        drift_seen, at_zero, low, high = theilslopes(offsets, centres)
        rest = offsets - (at_zero + drift_seen * centres)
        scatter = 1.4826 * float(np.median(np.abs(rest))) / GRID_HZ
        clear = (
            low * high > 0 and abs(drift_seen) * np.ptp(centres) > params.least_drift_s * GRID_HZ
        )
        drift = drift_seen if clear and len(offsets) >= 5 else 0.0
        if drift:
            top = at_zero + drift * middle
    return ClockLag(
        lag_s=(lag + top) / GRID_HZ + session.start_s - reference.start_s,
        drift=float(np.nan_to_num(drift)),
        drift_seen=float(drift_seen),
        middle_s=reference.start_s + middle / GRID_HZ,
        match=float(np.sqrt(-np.expm1(-scan.evidence[at]))),
        lead=np.nan,
        runner_up_s=np.nan,
        scatter_s=scatter,
        overlap_s=max(0.0, float(scan.walking[at])) / GRID_HZ,
    )


def _stretches(
    ours: list[Floats], theirs: list[Floats], lag: int, params: LagParams
) -> tuple[Floats, Floats]:
    """Find the lag of each stretch alone: its centre and what it adds to the common lag, in steps."""
    width, reach = round(params.window_s * GRID_HZ), round(params.reach_s * GRID_HZ)
    walks = _moving(theirs, params)
    centres, offsets = [], []
    first = max(0, reach - lag)
    last = min(len(theirs[0]), len(ours[0]) - lag - reach) - width
    for start in range(first, last + 1, width):
        theirs_here = slice(start, start + width)
        if walks[theirs_here].mean() < 0.8:
            continue
        ours_here = slice(start + lag - reach, start + lag + width + reach)
        pairs = zip(ours, theirs, strict=True)
        evidence = np.mean(
            [_evidence(a[ours_here], b[theirs_here], "valid") for a, b in pairs], axis=0
        )
        best = int(np.argmax(evidence))
        if 0 < best < len(evidence) - 1:
            centres.append(start + 0.5 * width)
            offsets.append(best - reach + _vertex(evidence, best))
    return np.array(centres), np.array(offsets)


def _vertex(curve: Floats, at: int) -> float:
    """Where the parabola through a sample and its neighbours has its top, in steps from it."""
    if not 0 < at < len(curve) - 1:
        return 0.0
    left, middle, right = curve[at - 1 : at + 2].tolist()
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def _check(found: ClockLag, params: LagParams) -> None:
    """Refuse a lag that does not stand out."""
    advice = "record a stop, a start or a few irregular steps with both, or give the lag you know with --lag"
    if found.match < params.min_match:
        raise RecordingError(
            f"The reference fits the session nowhere (best match {found.match:.2f} at a lag of "
            f"{found.lag_s:.2f} s, {params.min_match:g} is needed): check that it is of the same walk "
            f"and the same legs; if it is, {advice}."
        )
    if found.lead < params.min_lead:
        raise RecordingError(
            f"The lag is ambiguous: {found.lag_s:.2f} s (match {found.match:.2f}) is hardly better than "
            f"{found.runner_up_s:.2f} s (lead {found.lead:.2f}, {params.min_lead:g} is needed), either "
            f"because the walk is too even or because the two are not of the same walk: {advice}."
        )
    if abs(found.drift_seen) > params.max_drift:
        raise RecordingError(
            f"The best lag, {found.lag_s:.2f} s, drifts by {abs(found.drift_seen):.2%}, which no two "
            f"clocks do, so the two are not of the same walk, or a rate is wrong: {advice}."
        )
    if found.scatter_s > params.max_scatter_s:
        raise RecordingError(
            f"The best lag, {found.lag_s:.2f} s, does not hold throughout: single stretches differ by "
            f"{found.scatter_s * 1e3:.0f} ms, so the two are not of the same walk, or one of them has "
            f"lost samples: {advice}."
        )
