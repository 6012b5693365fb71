"""Which orientation filter, and how strong: the study behind the runtime's default.

The gains a person is judged with were chosen on the other people, and BROAD is judged with gains chosen
on all of them: no gain is judged on what it was chosen on. What is judged, and against what, is in
`talaria_training.inclination`.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from talaria_edge.orientation import EkfParams, MadgwickParams, MahonyParams, Params, VqfParams
from talaria_training.inclination import Score, Stretch, cost_us, score

CANDIDATES: Mapping[str, tuple[Params, ...]] = {
    "madgwick": (
        MadgwickParams(0.033, 0.5, average_s=0.0),
        MadgwickParams(0.05, 0.5, average_s=0.0),
        MadgwickParams(0.02, average_s=2.0),
        MadgwickParams(0.033, average_s=2.0),
    ),
    "mahony": (
        MahonyParams(1.0, 0.3, average_s=0.0),
        MahonyParams(0.5, 0.03, average_s=0.0),
        MahonyParams(0.7, 0.03, average_s=1.0),
        MahonyParams(0.7, 0.03, average_s=1.5),
        MahonyParams(0.7, 0.06, average_s=1.5),
        MahonyParams(1.0, 0.03, average_s=2.0),
    ),
    "ekf": (
        EkfParams(0.09, 0.25, average_s=0.0),
        EkfParams(0.09, 0.05, average_s=2.0),
        EkfParams(0.09, 0.25, average_s=2.0),
    ),
    "vqf": (VqfParams(3.0), VqfParams(2.0), VqfParams(4.0)),
}
"""The first of each kind has its authors' gains, and is shown every reading as it is."""

_GROUPS = ("thigh", "foot", "rotation", "tapping")
_WALKING = ("thigh", "foot")


@dataclass(frozen=True, slots=True)
class Result:
    """One filter with one set of gains on one stretch."""

    name: str
    person: str
    group: str
    filter: str
    params: Params
    score: Score


def run(
    stretches: Sequence[Stretch],
    workers: int = 1,
    done: Callable[[], None] = lambda: None,
    candidates: Mapping[str, tuple[Params, ...]] = CANDIDATES,
) -> list[Result]:
    """Score every candidate on every stretch.

    Parameters
    ----------
    stretches : sequence of Stretch
    workers : int
        Processes to use.
    done : callable
        Called after every score.
    candidates : mapping of filter name to gains
        The authors' own gains first.
    """
    jobs = [
        (stretch, name, params)
        for stretch in stretches
        for name, kind in candidates.items()
        for params in kind
    ]
    results = []
    with _mapper(min(workers, len(jobs))) as mapper:
        scores = mapper(score, [job[0] for job in jobs], [job[2] for job in jobs])
        for (stretch, name, params), found in zip(jobs, scores, strict=True):
            results.append(Result(stretch.name, stretch.person, stretch.group, name, params, found))
            done()
    return results


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterable[Score]]]:
    """Give `map`, over several processes where several are wanted."""
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield pool.map


def jobs_of(stretches: Sequence[Stretch]) -> int:
    """Count what `run` will score."""
    return len(stretches) * sum(map(len, CANDIDATES.values()))


def held_out(results: Sequence[Result], name: str) -> list[Result]:
    """Choose a filter's gains for everybody on the others; see the module's first lines."""
    own = [r for r in results if r.filter == name]
    chosen = []
    for person in dict.fromkeys(r.person for r in own):
        others = [r for r in own if r.group in _WALKING and r.person != person]
        if others:
            best = best_gains(others)
            chosen += [r for r in own if r.person == person and r.params == best]
    return chosen


def best_gains(results: Sequence[Result]) -> Params:
    """Find the gains with the least mean error, thighs and feet counting the same."""

    def mean_deg(params: Params) -> float:
        own = [r for r in results if r.params == params]
        return sum(_mean([r.score.rmse_deg for r in own if r.group == g]) for g in _WALKING)

    return min(dict.fromkeys(r.params for r in results), key=mean_deg)


def report(results: Sequence[Result], stretch: Stretch) -> dict[str, Any]:
    """Sum up a study: per filter the authors' gains, the held-out choice, and every candidate.

    Parameters
    ----------
    results : sequence of Result
    stretch : Stretch
        What the cost of an update is timed on.
    """
    filters: dict[str, Any] = {}
    for name in dict.fromkeys(r.filter for r in results):
        own = [r for r in results if r.filter == name]
        kinds = list(dict.fromkeys(r.params for r in own))
        tuned = held_out(results, name)
        filters[name] = {
            "authors": _summary([r for r in own if r.params == kinds[0]]),
            "held_out": _summary(tuned),
            "chosen": {r.person or "BROAD": asdict(r.params) for r in tuned},
            "cost_us": {
                "authors": cost_us(kinds[0], stretch),
                "held_out": cost_us(tuned[0].params if tuned else kinds[0], stretch),
            },
            "candidates": [
                {**asdict(params), **_summary([r for r in own if r.params == params])}
                for params in kinds
            ],
        }
    rows = [
        {"name": r.name, "filter": r.filter, **asdict(r.params), **_known(asdict(r.score))}
        for r in results
    ]
    return {"filters": filters, "rows": rows}


def _known(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not a number: BROAD starts at rest and is not asked for heading."""
    return {key: value for key, value in numbers.items() if not math.isnan(value)}


def _summary(results: Sequence[Result]) -> dict[str, Any]:
    scores = {g: [r.score for r in results if r.group == g] for g in _GROUPS}
    return {
        group: _known(
            {
                "stretches": len(found),
                "rmse_deg": _mean([s.rmse_deg for s in found]),
                "worst_deg": max(s.rmse_deg for s in found),
                "start_deg": _mean([s.start_deg for s in found]),
                "heading_deg_min": _mean([abs(s.heading_deg_min) for s in found]),
                "live_heading_error_deg_min": float(
                    np.median([abs(s.live_heading_deg_min - s.heading_deg_min) for s in found])
                ),
            }
        )
        for group, found in scores.items()
        if found
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def table(document: Mapping[str, Any]) -> Table:
    """Show filters down and groups across: mean inclination error, degrees."""
    shown = Table(title="Inclination error (RMSE, °): mean over recordings, and the worst one")
    shown.caption = (
        "held out: each person with the gains that did best on the others; start: feet, 3 to 6 s after it;"
        " heading: drift of feet, °/min"
    )
    for column in ("filter", "gains"):
        shown.add_column(column, no_wrap=True)
    groups = [g for g in _GROUPS if any(g in f["held_out"] for f in document["filters"].values())]
    for column in (*groups, "start", "heading", "µs"):
        shown.add_column(column, justify="right", no_wrap=True)
    for name, entry in document["filters"].items():
        for gains in ("authors", "held_out"):
            shown.add_row(name, gains.replace("_", " "), *_cells(entry, gains, groups))
    return shown


def _cells(entry: Mapping[str, Any], gains: str, groups: Sequence[str]) -> list[str]:
    found = entry[gains]
    foot = found.get("foot", {})
    return [
        *(
            f"{found[g]['rmse_deg']:.2f} ({found[g]['worst_deg']:.1f})" if g in found else ""
            for g in groups
        ),
        *(f"{foot[key]:.1f}" if foot else "" for key in ("start_deg", "heading_deg_min")),
        f"{entry['cost_us'][gains]:.0f}",
    ]
