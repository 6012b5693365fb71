"""One model against another on strides that neither learned from: the gate a personal model must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.held_strides import Kept
from talaria_training.networks import GaitNet
from talaria_training.train import predict
from talaria_training.trials import Trial

Floats = NDArray[np.float64]
_EXACT = 12
_DRAWS = 20_000
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class GateParams:
    """What it takes to be handed out, and when to stop looking for better.

    Attributes
    ----------
    level : float
        Of the one-sided sign-flip test over strides: how often luck alone may look this good.
    joint_tolerance_deg : float
        No labelled angle may be worse than the base's by more.
    least_gain : float
        Share by which the mean error must fall where the zero is the base's. How far that zero is from the
        wearer's is hidden from the deciding strides, and beside it a small gain may be none.
    patience : int
        Looks at the stopping strides without a better result before training ends.
    """

    level: float = 0.05
    joint_tolerance_deg: float = 0.5
    least_gain: float = 0.2
    patience: int = 4


@dataclass(frozen=True, slots=True)
class Rival:
    """The new personal model against another one, on the deciding strides.

    Attributes
    ----------
    name : str
        ``base`` or ``previous``.
    gain_deg : float
        Mean difference of the strides' errors, the new one's less the other's: below 0 is better.
    p : float
        Share of sign-flipped differences at least as good.
    share : float
        The same as a share of the other's error.
    worse : tuple of (joint, degrees)
        Angles that are worse by more than the tolerance.
    beaten : bool
    """

    name: str
    gain_deg: float
    p: float
    share: float
    worse: tuple[tuple[str, float], ...]
    beaten: bool


def stride_errors_deg(kept: Kept, angles_rad: NDArray[np.float32]) -> Floats:
    """Error of every stride: the mean over its leg's sagittal angles of the RMSE, shape (strides,)."""
    off = np.degrees(angles_rad - kept.trial.angles_rad)
    errors = []
    for stride in kept.strides:
        part = off[stride.start : stride.stop, [ANGLES.index(j) for j in stride.joints]]
        part = part[:, np.isfinite(part).any(axis=0)]
        errors.append(float(np.sqrt(np.nanmean(part**2, axis=0)).mean()))
    return np.array(errors)


def joint_errors_deg(
    decide: Sequence[Kept],
    angles_rad: Sequence[NDArray[np.float32]],
    *,
    offset_removed: bool = False,
) -> dict[str, float]:
    """RMSE of every labelled angle over the deciding stretches, the offset removed per recording or not."""
    squares: dict[str, list[NDArray[np.float32]]] = {}
    for kept, angles in zip(decide, angles_rad, strict=True):
        off = np.degrees(angles - kept.trial.angles_rad)[kept.rows]
        for j, joint in enumerate(ANGLES):
            known = off[np.isfinite(off[:, j]), j]
            if len(known):
                known = known - known.mean() if offset_removed else known
                squares.setdefault(joint, []).append(known**2)
    return {j: float(np.sqrt(np.concatenate(s).mean())) for j, s in squares.items()}


def compare_on(
    decide: Sequence[Kept],
    personal: Sequence[NDArray[np.float32]],
    other: Sequence[NDArray[np.float32]],
    name: str,
    gate: GateParams,
    *,
    margin: bool = False,
) -> Rival:
    """Compare two models stride by stride on the deciding strides, with `GateParams.least_gain` or not."""
    theirs_deg = _errors(decide, other)
    gain = _errors(decide, personal) - theirs_deg
    p, share = sign_flip_p(gain), float(-gain.mean() / theirs_deg.mean())
    ours, theirs = joint_errors_deg(decide, personal), joint_errors_deg(decide, other)
    worse = tuple(
        (joint, ours[joint] - theirs[joint])
        for joint in ours
        if ours[joint] - theirs[joint] > gate.joint_tolerance_deg
    )
    mean = float(gain.mean())
    enough = share >= gate.least_gain if margin else mean < 0.0
    return Rival(name, mean, p, share, worse, enough and p <= gate.level and not worse)


def sign_flip_p(differences: Floats) -> float:
    """One-sided p of the mean difference being below 0, by flipping signs: exact up to twelve."""
    n, observed = len(differences), differences.mean() + 1e-12
    if n <= _EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=n)))
        return float(np.mean(signs @ differences / n <= observed))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWS, n))
    return float((1 + np.sum(signs @ differences / n <= observed)) / (1 + _DRAWS))


def mean_stride_error_deg(
    decide: Sequence[Kept], angles_rad: Sequence[NDArray[np.float32]]
) -> float:
    """Mean over all deciding strides of `stride_errors_deg`."""
    return float(_errors(decide, angles_rad).mean())


def _errors(decide: Sequence[Kept], angles_rad: Sequence[NDArray[np.float32]]) -> Floats:
    return np.concatenate(
        [stride_errors_deg(k, a) for k, a in zip(decide, angles_rad, strict=True)]
    )


def errors_on_others(
    base: GaitNet, personal: GaitNet, trials: Sequence[Trial]
) -> tuple[tuple[str, float, float], ...]:
    """Forgetting check: each other person's mean sagittal RMSE with base and personal model, degrees."""
    found = []
    for person in sorted({t.person for t in trials}):
        mine = [t for t in trials if t.person == person]
        found.append((person, _sagittal_rmse_deg(base, mine), _sagittal_rmse_deg(personal, mine)))
    return tuple(found)


def _sagittal_rmse_deg(net: GaitNet, trials: Sequence[Trial]) -> float:
    columns = [ANGLES.index(a) for a in SAGITTAL]
    first = [round(_SETTLE_S * t.rate_hz) for t in trials]
    off = [
        (predict(net, t.features) - t.angles_rad)[k:] for k, t in zip(first, trials, strict=True)
    ]
    squares = np.degrees(np.concatenate(off)[:, columns]) ** 2
    known = squares[:, np.isfinite(squares).any(axis=0)]
    return float(np.sqrt(np.nanmean(known, axis=0)).mean())
