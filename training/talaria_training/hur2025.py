"""The published recipe as a baseline: Hur, Baek, Kang, Kim, Sci Rep 2025, 15:5287, in our harness.

As published: an LSTM of three layers of 128 and a small CNN that turn windows of 50 samples (stride 25)
into 50 samples of ten angles; specific force, angular rate and the Euler angles of each device in the
global frame as input; z-scores, mean squared error, Adam at 1e-3; single-user, multi-user (another person
for validation), and multi-user weights fine-tuned whole for 1 to 15 epochs.

Where this departs from it, and why:

* The split is that of `talaria_training.evaluate`, so that all approaches stand side by side: personal
  approaches have the same first seconds of walking as ours, of which the last fifth is for validation.
* The scales of the z-scores come from the training data, never from the recording under test. The
  published ones seem to be of each person's whole recording, which a live device does not have. Scales
  of each person's own first fifth helped one of the two people they were tried on, and hurt the other.
* The angles are z-scored too, which makes so short a training possible.
* Mini-batches and early stopping with patience in place of up to 3000 full-batch epochs, which would take
  a day of one core per person. In number of weight updates the two are of one order.
* A sample lies in two windows and gets the mean of both predictions. That is kinder than either, and
  looks up to half a second ahead, which our streaming networks never do.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_training.data.recording import Recording
from talaria_training.hur2025_data import WINDOW, Take, first_takes, takes_of, windows
from talaria_training.hur2025_net import HurNet, Kind, squares, stitched, validation_rmse
from talaria_training.optical import Optical
from talaria_training.scoring import Row, judged_rows
from talaria_training.trials import Trial

_VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Passes:
    """How long one training lasts: at most `epochs`, or until `patience` validations brought nothing better.

    `checks` is how many validations there are per epoch.
    """

    epochs: int
    checks: int
    patience: int


@dataclass(frozen=True, slots=True)
class HurSettings:
    """How long the published networks are trained here.

    Attributes
    ----------
    kinds : tuple of str
        Which networks.
    sensor_sets : tuple of (suffix, slots)
        Which sensors they see, and what their approaches' names end in.
    budgets_s : tuple of float
        Seconds of walking the personal approaches learn from; about 60 s is the published fifth.
    lstm, cnn : Passes
        Multi-user training of either network. The LSTM is at its best after two to four epochs; the CNN
        takes dozens, and each costs little.
    single : Passes
        Single-user training.
    tune : Passes
        Fine-tuning; the best of all epochs by validation is kept, as published.
    batch, personal_batch : int
        Windows per update, for many people and for one.
    lr : float
    seed : int
    """

    kinds: tuple[Kind, ...] = ("lstm", "cnn")
    sensor_sets: tuple[tuple[str, tuple[str, ...]], ...] = (("", LEG_SLOTS), ("_8", SLOTS))
    budgets_s: tuple[float, ...] = (10.0, 60.0)
    lstm: Passes = Passes(8, 3, 6)
    cnn: Passes = Passes(60, 1, 20)
    single: Passes = Passes(150, 1, 20)
    tune: Passes = Passes(15, 1, 15)
    batch: int = 64
    personal_batch: int = 16
    lr: float = 1e-3
    seed: int = 0


def _learn(
    net: HurNet,
    train: Sequence[Take],
    validation: Sequence[Take],
    passes: Passes,
    batch: int,
    settings: HurSettings,
) -> HurNet:
    """Minimise the squared error by Adam, and return the state that did best on the validation part."""
    x, y = windows(train)
    watched = windows(validation)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.lr)
    order = torch.Generator().manual_seed(settings.seed)
    per_epoch = -(-len(x) // batch)
    every = max(1, per_epoch // passes.checks)
    best, best_state, waited, step = np.inf, copy.deepcopy(net.state_dict()), 0, 0
    for _ in range(passes.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=order), batch):
            net.train()
            total, known = squares(net, x[rows], y[rows])
            optimiser.zero_grad()
            (total / known.clamp(min=1)).backward()
            optimiser.step()
            step += 1
            if step % every:
                continue
            error = validation_rmse(net, *watched)
            waited += 1
            if error < best:
                best, best_state, waited = error, copy.deepcopy(net.state_dict()), 0
        if waited >= passes.patience:
            break
    net.load_state_dict(best_state)
    return net.eval()


def validator_of(person: str, people: Sequence[str]) -> str:
    """Who watches over the multi-user training while `person` is held out: the next in order, around.

    Raises
    ------
    RecordingError
        If there are not two other people: one to learn from, one to watch.
    """
    others = sorted(set(people) - {person})
    if len(others) < 2:
        raise RecordingError(
            f"The published recipe needs two people beside {person}, one to learn from and one to stop "
            f"by, and there are {len(others)}: give recordings of at least three people."
        )
    later = [other for other in others if other > person]
    return (later or others)[0]


def multi_user(
    kind: Kind, left_out: Sequence[str], takes: Sequence[Take], settings: HurSettings
) -> HurNet:
    """Train on everybody but those left out and one other, who decides when to stop."""
    people = {take.person for take in takes} - set(left_out[1:])
    watcher = validator_of(left_out[0], sorted(people))
    watch = [take for take in takes if take.person == watcher]
    learn = [take for take in takes if take.person not in (watcher, *left_out)]
    torch.manual_seed(settings.seed)
    net = HurNet(kind, takes[0].x.shape[1])
    net.scale_to(learn)
    passes = settings.lstm if kind == "lstm" else settings.cnn
    return _learn(net, learn, watch, passes, settings.batch, settings)


def _personal_parts(takes: Sequence[Take]) -> tuple[list[Take], list[Take]]:
    """Set the last fifth of each stretch apart, and at least a window of it."""
    learn, watch = [], []
    for take in takes:
        edge = len(take.x) - max(round(_VALIDATION_SHARE * len(take.x)), WINDOW)
        learn.append(take.cut(0, edge))
        watch.append(take.cut(edge, len(take.x)))
    return learn, watch


def single_user(kind: Kind, first: Sequence[Take], settings: HurSettings) -> HurNet:
    """Train from nothing on one person's first stretches."""
    learn, watch = _personal_parts(first)
    torch.manual_seed(settings.seed)
    net = HurNet(kind, first[0].x.shape[1])
    net.scale_to(learn)
    return _learn(net, learn, watch, settings.single, settings.personal_batch, settings)


def fine_tuned(base: HurNet, first: Sequence[Take], settings: HurSettings) -> HurNet:
    """Train all weights of a copy of `base` for at most 15 epochs on one person's first stretches."""
    learn, watch = _personal_parts(first)
    torch.manual_seed(settings.seed)
    tuned = copy.deepcopy(base)
    return _learn(tuned, learn, watch, settings.tune, settings.personal_batch, settings)


def hur_rows(
    person: str,
    recordings: Sequence[Recording],
    trials: Sequence[Trial],
    settings: HurSettings,
    optical: Optical | None = None,
) -> list[Row]:
    """Hold one person out and score the published recipe on the samples that ours is scored on.

    Parameters
    ----------
    person : str
    recordings : sequence of Recording
        Everybody's, with the devices' own orientations.
    trials : sequence of Trial
        Everybody's, of the same names: the reference angles.
    settings : HurSettings
    optical : Optical, optional
        Sub02's optical angles, for rows against these.

    Returns
    -------
    list of Row
        Approaches ``hur2025_<kind>_<multi_user, fine_tuned or single_user>`` and the set's suffix.

    Raises
    ------
    RecordingError
        If a recording of `person` lacks a sensor or an orientation, or there are not three people.
    """
    mine = [t for t in trials if t.person == person and np.isfinite(t.angles_rad).any()]
    rows: list[Row] = []
    for suffix, slots in settings.sensor_sets:
        takes = takes_of(recordings, trials, slots)
        own = [take for take in takes if take.person == person]
        if [take.name for take in own] != [trial.name for trial in mine]:
            lost = sorted({trial.name for trial in mine} - {take.name for take in own})
            raise RecordingError(
                f"{', '.join(lost)} lacks a sensor or a device orientation that the published recipe "
                "takes as input, so it cannot be compared on the same samples: leave it out."
            )
        for kind in settings.kinds:
            nets = _nets(kind, mine, takes, settings)
            for (approach, budget_s), net in nets.items():
                outputs = [stitched(net, take.x) for take in own]
                label = f"hur2025_{kind}_{approach}{suffix}"
                rows += judged_rows(label, mine, outputs, optical, budget_s)
    return rows


def _nets(
    kind: Kind, mine: Sequence[Trial], takes: Sequence[Take], settings: HurSettings
) -> dict[tuple[str, float | None], HurNet]:
    """Train all approaches for one unseen person, by name and budget."""
    person = mine[0].person
    own = [take for take in takes if take.person == person]
    base = multi_user(kind, (person,), takes, settings)
    nets: dict[tuple[str, float | None], HurNet] = {("multi_user", None): base}
    for budget_s in settings.budgets_s:
        first = first_takes(mine, own, budget_s)
        nets["fine_tuned", budget_s] = fine_tuned(base, first, settings)
        nets["single_user", budget_s] = single_user(kind, first, settings)
    return nets
