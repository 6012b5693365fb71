"""How much flesh and skin lie between virtual sensors and bones: found on the one person seen by both.

CapSense's Sub02 walked with sensors on and under cameras for 45 s. Virtual sensors on the optical
movement are compared with the real ones by |angular rate| and |specific force|, which need no mounting to be
known. Flesh rings and heels strike at moments that no model here meets, so their size is chosen by spectra;
skin slides in step with the joints, so how much it does is chosen by what is left of the thighs' rates.
The springs of `talaria_bridge.virtual_imu` have one scale, but each sensor may be given its own.
The first half of the walk chooses, the second half is reported:

    python -m talaria_training.generate.soft_tissue FOLDER_OF_RECORDINGS
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from talaria_bridge.virtual_imu import SensorParams
from talaria_edge.generate.body import Body
from talaria_edge.generate.worn import BODY_SLOTS, Tissue, sense_body
from talaria_training.data.recording import Recording
from talaria_training.generate.sub02 import load_both

Floats = NDArray[np.float64]
Norms = Mapping[tuple[str, str], Floats]
"""|angular rate| (``gyr``) and |specific force| (``acc``) of each slot, (T,), by (slot, instrument)."""

BANDS_HZ = ((0.5, 3.0), (3.0, 6.0), (6.0, 12.0), (12.0, 25.0), (25.0, 45.0))
SEGMENTS = tuple(dict.fromkeys(slot.partition("_")[0] for slot in BODY_SLOTS))
_EDGE_S = 0.5  # where the smoothing of optical curves has its ends
_SEGMENT_S = 2.56
_ROUNDS = 2
# No spectrum is bought with a residual this many times that of the tissue set by hand.
_MOST_LEFT = 1.02


TRIED: Mapping[str, tuple[float, ...]] = {
    "soft_tissue": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
    "skin_slide": (
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
    ),  # at 3.3 a thigh's skin would not turn with the hip at all
    "heel_strike_ms2": (0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 80.0),
}
NONE = Tissue(0.0, 0.0, 0.0)
BEFORE = Tissue(
    SensorParams().soft_tissue, SensorParams().skin_slide, SensorParams().heel_strike_ms2
)
"""Set by hand, for the simulated walker."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like a real sensor's a virtual sensor's norm is.

    Attributes
    ----------
    slot, instrument : str
    r : float
        Correlation.
    rms : float
        Root mean square difference, rad/s or m/s².
    spectrum_db : float
        Mean over `BANDS_HZ` of the absolute ratio of powers.
    """

    slot: str
    instrument: str
    r: float
    rms: float
    spectrum_db: float


def find(body: Body, real: Norms) -> dict[str, Tissue]:
    """Choose for each segment the tissue under which virtual sensors are most like real ones.

    One parameter after the other, twice; of values that are equally good the one set by hand.

    Parameters
    ----------
    body : Body
    real : mapping
        Of the same instants.
    """
    there = [segment for segment in SEGMENTS if _of(real, segment)]
    return {segment: _find(body, _of(real, segment), segment) for segment in there}


def _find(body: Body, real: Norms, segment: str) -> Tissue:
    best = BEFORE
    by_hand = likeness(body, real, {segment: BEFORE})
    for _ in range(_ROUNDS):
        for name, tried in TRIED.items():
            if name == "skin_slide" and segment != "femur":
                continue  # `skin_slide_rad` moves the thighs' skin only
            apart = _rate_rms if name == "skin_slide" else distance_db
            costs = {}
            for value in (getattr(best, name), *tried):
                rows = likeness(body, real, {segment: replace(best, **{name: value})})
                if value == getattr(best, name) or _left(rows, by_hand) <= _MOST_LEFT:
                    costs[value] = apart(rows)
            best = replace(best, **{name: min(costs, key=lambda value: costs[value])})
    return best


def _left(rows: Sequence[Likeness], before: Sequence[Likeness]) -> float:
    return float(np.mean([one.rms / other.rms for one, other in zip(rows, before, strict=True)]))


def _of(real: Norms, segment: str) -> Norms:
    return {key: norm for key, norm in real.items() if key[0].partition("_")[0] == segment}


def likeness(body: Body, real: Norms, tissue: Mapping[str, Tissue]) -> list[Likeness]:
    """Compare virtual sensors, without errors of their own, with real ones; tissue by segment."""
    virtual = virtual_norms(body, tissue, {slot for slot, _ in real})
    inner = slice(round(_EDGE_S * _rate_hz(body)), -round(_EDGE_S * _rate_hz(body)))
    found = []
    for key, measured in real.items():
        a, b = measured[inner], virtual[key][inner]
        found.append(
            Likeness(
                *key,
                float(np.corrcoef(a, b)[0, 1]),
                float(np.sqrt(np.mean((a - b) ** 2))),
                _spectrum_db(a, b, _rate_hz(body)),
            )
        )
    return found


def distance_db(found: Sequence[Likeness]) -> float:
    """Return the mean distance of the spectra."""
    return float(np.mean([one.spectrum_db for one in found]))


def _rate_rms(found: Sequence[Likeness]) -> float:
    return float(np.mean([one.rms for one in found if one.instrument == "gyr"]))


def virtual_norms(
    body: Body, tissue: Mapping[str, Tissue], slots: Collection[str]
) -> dict[tuple[str, str], Floats]:
    """Read error-free sensors worn over some tissue, in their nominal places."""
    found: dict[tuple[str, str], Floats] = {}
    for slot in slots:
        worn = tissue[slot.partition("_")[0]].worn(SensorParams.perfect())
        reading = sense_body(body, worn, 0, (slot,))[slot]
        found[slot, "gyr"] = np.linalg.norm(reading.gyr_rads, axis=1)
        found[slot, "acc"] = np.linalg.norm(reading.acc_ms2, axis=1)
    return found


def real_norms(recording: Recording) -> dict[tuple[str, str], Floats]:
    """Return what the real sensors read."""
    return {
        (slot, name): np.linalg.norm(readings, axis=1)
        for slot in BODY_SLOTS
        for name, readings in (("gyr", recording.gyr(slot)), ("acc", recording.acc(slot)))
    }


def part_of(body: Body, norms: Norms, start: float, stop: float) -> tuple[Body, Norms]:
    """Cut out what lies between two shares of the time."""
    length = min(len(body.t_s), *(len(norm) for norm in norms.values()))
    cut = slice(round(start * length), round(stop * length))
    begin, end = body.t_s[cut][0], body.t_s[cut][-1]
    cut_body = Body(
        body.height_m,
        body.t_s[cut] - begin,
        {slot: pose[cut] for slot, pose in body.pose.items()},
        {slot: place[cut] for slot, place in body.origin_m.items()},
        {name: angle[cut] for name, angle in body.angles_rad.items()},
        {s: t[(t >= begin) & (t < end)] - begin for s, t in body.contacts_s.items()},
    )
    return cut_body, {key: norm[cut] for key, norm in norms.items()}


def _rate_hz(body: Body) -> float:
    return float(1.0 / np.median(np.diff(body.t_s)))


def _spectrum_db(a: Floats, b: Floats, rate_hz: float) -> float:
    length = min(len(a), round(_SEGMENT_S * rate_hz))
    powers = []
    for norm in (a, b):
        hz, density = welch(norm, rate_hz, nperseg=length)
        powers.append([density[(hz >= low) & (hz < high)].sum() for low, high in BANDS_HZ])
    return float(np.mean(np.abs(10 * np.log10(np.array(powers[1]) / powers[0]))))


def main() -> None:
    """Find the tissue on the first half of the walk in ``argv[1]``; print the likeness on the second."""
    body, recording = load_both(Path(sys.argv[1]))
    real = real_norms(recording)
    found = find(*part_of(body, real, 0.0, 0.5))
    rest = part_of(body, real, 0.5, 1.0)
    fixed = {name: dict.fromkeys(SEGMENTS, t) for name, t in (("none", NONE), ("hand", BEFORE))}
    for name, tissue in (fixed | {"found": found}).items():
        rows = likeness(*rest, tissue)
        sys.stdout.write(f"{name}: spectra {distance_db(rows):.2f} dB apart\n")
        for segment in SEGMENTS:
            sys.stdout.write(f"  {segment}: {tissue[segment]}\n")
        for row in rows:
            sys.stdout.write(
                f"  {row.slot:9s} {row.instrument}  r {row.r:.2f}  RMS {row.rms:.2f}"
                f"  spectrum {row.spectrum_db:.1f} dB\n"
            )


if __name__ == "__main__":
    main()
