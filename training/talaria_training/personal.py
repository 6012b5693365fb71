"""Fine-tuning with a decision at its end: a personal model is handed out only if it is surely better.

The labels are judged first (`believe`), because bad labels would spoil the strides to decide on as well.
Their zero cannot be judged: a knee and an ankle both five degrees off look like another person's. Unless it
is the wearer's own quiet stance, or trusted, the labels teach the movement and the base's zero stays.
Training then stops where strides kept out for that say so, and other strides, later ones that nothing was
chosen on, compare the personal model with the base and with the personal model there was before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES
from talaria_training.adapt import merge
from talaria_training.believe import Belief, BeliefParams, believe
from talaria_training.gate import (
    GateParams,
    Rival,
    compare_on,
    mean_stride_error_deg,
    stride_errors_deg,
)
from talaria_training.held_strides import Division, Kept, divide
from talaria_training.networks import GaitNet
from talaria_training.train import (
    FINETUNE,
    Progress,
    TrainConfig,
    _learn_familiar,
    finetune,
    predict,
)
from talaria_training.trials import Trial

Floats = NDArray[np.float64]
_WARM_UP = 500
"""Samples before a stretch that fill the network's memory."""
_SETTLE = 100


@dataclass(frozen=True, slots=True)
class Options:
    """What the wearer asked for; see `divide` for the budget.

    Attributes
    ----------
    seconds, strides : optional
    trust_zero : bool
        Take the zero of labels that something else than the sensors measured.
    gate : GateParams
    belief : BeliefParams
    """

    seconds: float | None = None
    strides: int | None = None
    trust_zero: bool = False
    gate: GateParams = field(default_factory=GateParams)
    belief: BeliefParams = field(default_factory=BeliefParams)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a fine-tuning came to.

    Attributes
    ----------
    net : GaitNet or None
        The new personal model, where one was trained, handed out or not.
    shipped : bool
    decision : str
        One sentence.
    zero : str
        Whose zero the new model has: ``labels`` or ``base``.
    zero_off_deg : dict of str to float
        Mean difference of labels and base by angle, in the recording where it is largest.
    belief : Belief
    division : Division
    rivals : tuple of Rival
    curve : tuple of (step, degrees)
        Error on the stopping strides as training went on.
    kept_steps : int
        After how many steps the weights were taken.
    predictions : dict of str to tuple of ndarray, shape (T, len(ANGLES))
        ``base``, ``previous``, ``personal``: angles of every `division.decide` trial, rad.
    """

    net: GaitNet | None
    shipped: bool
    decision: str
    zero: str
    zero_off_deg: Mapping[str, float]
    belief: Belief
    division: Division
    rivals: tuple[Rival, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    kept_steps: int = 0
    predictions: Mapping[str, tuple[NDArray[np.float32], ...]] = field(default_factory=dict)


def personalise(
    base: GaitNet,
    trials: Sequence[Trial],
    config: TrainConfig = FINETUNE,
    options: Options | None = None,
    previous: GaitNet | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Fine-tune on one person's labelled recordings and decide whether the result is handed out.

    Parameters
    ----------
    base : GaitNet
    trials : sequence of Trial
        Of one person; where all strides are, labelled or not.
    config : TrainConfig
    options : Options, optional
    previous : GaitNet, optional
        The personal model in use, which must be beaten too.
    progress : callable, optional

    Raises
    ------
    RecordingError
        If too few strides are labelled.
    """
    options = options or Options()
    division = divide(trials, base, options.seconds, options.strides)
    belief = believe(division.used, base, options.belief)
    trusted = options.trust_zero or all(t.reference == "full_chain" for t in trials)
    zero = "labels" if trusted else "base"
    shifts = [zero_off(base, trial) for trial in division.used]
    far = _largest(shifts)
    if not belief.believed:
        decision = f"The base model stays, because the labels cannot be believed: {belief.fault}."
        return Outcome(None, False, decision, zero, far, belief, division)
    if not trusted:
        division = division.shifted(shifts)
    watch = BestSoFar(division.stop, options.gate.patience)
    last = finetune(base, division.learn, config, progress, watch if division.stop else None)
    net, steps = watch.best(last, base, division.learn, config.steps)
    predictions = {"base": base, "previous": previous, "personal": net}
    angles = {
        name: tuple(predict(n, kept.trial.features) for kept in division.decide)
        for name, n in predictions.items()
        if n is not None
    }
    rivals = tuple(
        compare_on(
            division.decide,
            angles["personal"],
            angles[name],
            name,
            options.gate,
            margin=not trusted,
        )
        for name in angles
        if name != "personal"
    )
    return Outcome(
        net,
        all(r.beaten for r in rivals),
        _decision(division, angles, rivals, options.gate),
        zero,
        far,
        belief,
        division,
        rivals,
        tuple(watch.curve),
        steps,
        angles,
    )


def zero_off(base: GaitNet, trial: Trial) -> Floats:
    """Return by how much every labelled angle lies above the base's on average, rad, 0 where unlabelled."""
    settle = min(_SETTLE, len(trial.features) // 4)
    off = (trial.angles_rad - predict(base, trial.features))[settle:]
    known = np.isfinite(off)
    middle = [np.median(c[k]) if k.any() else 0.0 for c, k in zip(off.T, known.T, strict=True)]
    return np.array(middle, dtype=float)


def _largest(shifts: Sequence[Floats]) -> dict[str, float]:
    table = np.degrees(shifts)
    rows = np.abs(table).argmax(axis=0)
    return {
        joint: float(table[row, j]) for j, (joint, row) in enumerate(zip(ANGLES, rows, strict=True))
    }


class BestSoFar:
    """Watch a training, keep the weights that did best on the stopping strides, end it when they age."""

    def __init__(self, stop: Sequence[Kept], patience: int) -> None:
        self._stop, self._patience = [_shortened(kept) for kept in stop], patience
        self._kept: GaitNet | None = None
        self.curve: list[tuple[int, float]] = []

    def __call__(self, step: int, net: GaitNet) -> bool:
        """Measure, and say whether to stop."""
        error = float(
            np.mean(
                [stride_errors_deg(k, predict(net, k.trial.features)).mean() for k in self._stop]
            )
        )
        if not self.curve or error < min(e for _, e in self.curve):
            self._kept = copy.deepcopy(net)
        self.curve.append((step, error))
        best = min(range(len(self.curve)), key=lambda i: self.curve[i][1])
        return len(self.curve) - 1 - best >= self._patience

    def best(
        self, last: GaitNet, base: GaitNet, trials: Sequence[Trial], steps: int
    ) -> tuple[GaitNet, int]:
        """Return the best network, ready for release, and its steps; the last where nobody watched."""
        if self._kept is None:
            return last, steps
        net = merge(self._kept).eval()
        _learn_familiar(net, trials, base)
        return net, min(self.curve, key=lambda point: point[1])[0]


def _shortened(kept: Kept) -> Kept:
    """Cut what lies too far back to matter, so that a look costs little."""
    first = max(0, kept.rows.start - _WARM_UP)
    last = kept.rows.stop
    trial = replace(
        kept.trial,
        features=kept.trial.features[first:last],
        angles_rad=kept.trial.angles_rad[first:last],
    )
    strides = tuple(replace(s, start=s.start - first, stop=s.stop - first) for s in kept.strides)
    return Kept(trial, strides)


def _decision(
    division: Division,
    angles: Mapping[str, tuple[NDArray[np.float32], ...]],
    rivals: Sequence[Rival],
    gate: GateParams,
) -> str:
    error = {name: mean_stride_error_deg(division.decide, a) for name, a in angles.items()}
    strides = f"on {division.decide_strides} strides it never learned from"
    said = ", ".join(f"{error[r.name]:.1f}° with the {r.name} model" for r in rivals)
    numbers = f"{error['personal']:.1f}° off {strides}, against {said}"
    lost = [r for r in rivals if not r.beaten]
    if not lost:
        return f"The personal model is handed out: it is {numbers}."
    first = lost[0]
    stays = "previous personal" if len(angles) == 3 else "base"
    return f"The {stays} model stays: the new one is {numbers}, {_shortfall(first, gate)}."


def _shortfall(rival: Rival, gate: GateParams) -> str:
    if rival.gain_deg >= 0.0:
        return f"which is not better than the {rival.name} model"
    if rival.p > gate.level:
        return (
            f"and chance alone would look so good against the {rival.name} model with a probability of "
            f"{rival.p:.2f}, more than {gate.level:g}"
        )
    if not rival.worse:
        return (
            f"a gain of {rival.share:.0%}, and with labels whose zero nothing can vouch for less than "
            f"{gate.least_gain:.0%} may be none"
        )
    joint, by = max(rival.worse, key=lambda pair: pair[1])
    return (
        f"but {joint} is {by:.1f}° worse than with the {rival.name} model, more than "
        f"{gate.joint_tolerance_deg:g}°"
    )
