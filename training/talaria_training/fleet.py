"""A fleet of wearers who do not exist: what one more personal model costs, and how often it helps.

Every user is another simulated body, gait and way of wearing the sensors, who stands, walks for some twenty
seconds, is calibrated as a device calibrates, and gets a personal model by a short fine-tune. What is
measured is cost and robustness. The errors say that the machinery works; they say nothing of people, whom
the simulator resembles only so far.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_edge.kinematics import SAGITTAL
from talaria_training.cache import source_digest
from talaria_training.engine import Results, Store
from talaria_training.evaluate import NET_CODE
from talaria_training.fleet_walks import WALK_STAGES, Visit, timed, user_trial, walks_key
from talaria_training.networks import GaitNet
from talaria_training.scoring import score
from talaria_training.train import FINETUNE, TrainConfig, finetune, predict
from talaria_training.trials import Trial

FLEET_TUNE = replace(FINETUNE, steps=20, batch=16, window=64, warmup=16, lr=8e-3)
"""Short and steep: most of what a fine-tune brings, in about a second and a half of one core."""

PRICE_PER_CORE_HOUR = 0.04
"""An assumption (US dollars, a rented virtual core of the ordinary kind), to be replaced by one's own."""

_GAP_S = 1.0  # between what is learned from and what is tested
_RUN_IN_S = 3.0  # before testing, to fill the network's memory
_STAGES = (*WALK_STAGES, "finetune", "evaluate")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What every user of a fleet goes through."""

    visit: Visit
    tune: TrainConfig = FLEET_TUNE


def user_jobs(users: int) -> dict[str, tuple[Any, ...]]:
    """Make one job per user, for `talaria_training.engine`; they share `shared_of` a base and a plan.

    Raises
    ------
    ConfigError
        If there are no users.
    """
    if users < 1:
        raise ConfigError(f"--users {users} is no fleet: give at least 1.")
    return {f"user-{number:07d}": (one_user, number) for number in range(users)}


def shared_of(base: GaitNet, plan: Plan) -> dict[str, Any]:
    """Collect what all jobs need."""
    return {"base": base, "plan": plan, "walks": walks_key(plan.visit)}


def results_of(base: GaitNet, plan: Plan) -> Store:
    """Find where the results of this base and plan are kept, however many users there are."""
    code = source_digest(*NET_CODE, "fleet", "scoring")
    digest = hashlib.sha256(f"{plan!r}{walks_key(plan.visit)}{code}".encode())
    for tensor in base.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return Store.cached("fleet", digest.hexdigest()[:16])


def one_user(number: int, *, base: GaitNet, plan: Plan, walks: str) -> dict[str, Any]:
    """Simulate, calibrate, fine-tune and test one user.

    Returns
    -------
    dict
        ``failure`` (a reason, or ""), ``base_deg`` and ``personal_deg`` (mean error of the six sagittal
        angles over seconds that nothing was learned from), ``cpu_s`` per stage, ``peak_mb`` of the
        process so far.
    """
    cpu_s: dict[str, float] = {}
    result: dict[str, Any] = {"failure": "", "cpu_s": cpu_s}
    try:
        trial = user_trial(number, plan.visit, walks, cpu_s)
        with timed(cpu_s, "finetune"):
            learn = trial.part(0.0, plan.visit.learn_s / plan.visit.seconds)
            personal = finetune(base, [learn], plan.tune)
        with timed(cpu_s, "evaluate"):
            result["base_deg"] = _error_deg(base, trial, plan.visit)
            result["personal_deg"] = _error_deg(personal, trial, plan.visit)
        if not np.isfinite(result["personal_deg"]):
            result["failure"] = "the fine-tuned model gives no numbers"
    except TalariaError as error:
        result["failure"] = str(error)
    return result | {"peak_mb": _peak_mb()}


def _error_deg(net: GaitNet, trial: Trial, visit: Visit) -> float:
    """Mean error of the sagittal angles over the test seconds."""
    tested = round((visit.learn_s + _GAP_S) * trial.rate_hz)
    start = tested - round(_RUN_IN_S * trial.rate_hz)
    predicted = predict(net, trial.features[start:])[tested - start :]
    rows = score("fleet", "simulated", trial.person, [(predicted, trial.angles_rad[tested:])])
    return float(np.mean([row.rmse_deg for row in rows if row.joint in SAGITTAL]))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def report(results: Results, plan: Plan, price: float, about: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a fleet came to.

    Parameters
    ----------
    results : Results
        Of `user_jobs`.
    plan : Plan
    price : float
        Of one core for one hour, dollars.
    about : mapping
        What else the document should hold, such as the model's name.

    Returns
    -------
    dict
        Errors in degrees, processor seconds, megabytes, and what a million users would take.
    """
    users = list(results.values.values())
    good = [user for user in users if not user["failure"]]
    reasons = Counter([user["failure"] for user in users if user["failure"]])
    reasons.update(results.failures.values())
    before = np.array([user["base_deg"] for user in good])
    after = np.array([user["personal_deg"] for user in good])
    stages = {name: np.array([user["cpu_s"].get(name, 0.0) for user in users]) for name in _STAGES}
    return {
        **about,
        "what": "SIMULATED users: cost and robustness, not accuracy on people.",
        "users": len(users) + len(results.failures),
        "plan": asdict(plan),
        "failures": dict(reasons.most_common()),
        "base_deg": _spread(before),
        "personal_deg": _spread(after),
        "change_deg": _spread(after - before),
        "improved": float(np.mean(after < before)) if good else None,
        "cpu_s": {name: _spread(seconds) for name, seconds in stages.items()}
        | {"all": _spread(np.sum(list(stages.values()), axis=0))},
        "peak_mb": max((user["peak_mb"] for user in users), default=None),
        "million": _million([stages[name] for name in _STAGES if name != "simulate"], price),
    }


def _million(stages: Sequence[NDArray[np.float64]], price: float) -> dict[str, float] | None:
    """Project to a million users, without the simulation: real users bring their own walk."""
    served_s = np.sum(list(stages), axis=0)
    if not len(served_s):
        return None
    core_hours = float(served_s.mean()) * _MILLION / 3600.0
    return {
        "cpu_s_per_user": float(served_s.mean()),
        "core_hours": core_hours,
        "assumed_dollars_per_core_hour": price,
        "dollars": core_hours * price,
    }


def _spread(values: NDArray[np.float64]) -> dict[str, float] | None:
    if not len(values):
        return None
    cuts = np.percentile(values, (5, 50, 95))
    return {
        "mean": float(values.mean()),
        "p5": float(cuts[0]),
        "median": float(cuts[1]),
        "p95": float(cuts[2]),
    }


def rows_of(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say a report's figures in words, for a table of two columns."""
    rows = [("users; failed", f"{document['users']}; {sum(document['failures'].values())}")]
    rows += [(f"failed: {why}", str(count)) for why, count in document["failures"].items()]
    for key, name in (
        ("base_deg", "base"),
        ("personal_deg", "fine-tuned"),
        ("change_deg", "change"),
    ):
        rows.append((f"{name}, mean of six sagittal angles, °", _said(document[key])))
    if document["improved"] is not None:
        rows.append(("share that improved", f"{document['improved']:.1%}"))
    rows += [(f"processor seconds: {n}", _said(spread)) for n, spread in document["cpu_s"].items()]
    if document["million"] is not None:
        million = document["million"]
        price = million["assumed_dollars_per_core_hour"]
        rows += [
            ("peak memory of a worker, MB", f"{document['peak_mb']:.0f}"),
            ("a million users (not simulated)", f"{million['core_hours']:.0f} core-hours"),
            (f"… at an assumed ${price:g} a core-hour", f"${million['dollars']:.0f}"),
        ]
    return rows


def _said(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return "–"
    cuts = ", ".join(f"{name} {spread[name]:.2f}" for name in ("p5", "median", "p95"))
    return f"{spread['mean']:.2f} ({cuts})"
