"""What each sensor is worth: every set of pelvis, thigh, shank and foot, on both legs and on one.

The design is that of Hur et al. 2025 (Fig. 5): every non-empty set, three approaches, errors of hip, knee
and ankle. The network is ours, small, so that every set costs under a minute; the published LSTM stands
beside it for a few sets. The split is that of `talaria_training.evaluate`, except that people are left out
in pairs: one multi-user network serves two test people, and learns from two people fewer instead of one.

The reference is computed from the pelvis, thigh, shank and foot sensors themselves. A set that holds more
of these is closer to the reference's own arithmetic, so what a pelvis or a shank adds here is an upper
bound of what it adds against optics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training import hur2025
from talaria_training.cache import source_digest
from talaria_training.engine import Engine, Job, Store, run_jobs
from talaria_training.hur2025_data import Take
from talaria_training.hur2025_net import stitched
from talaria_training.networks import GaitNet
from talaria_training.scoring import Row, score
from talaria_training.sensor_chain import (
    Floats,
    Walk,
    device_columns,
    feature_columns,
    mirrored,
)
from talaria_training.sensor_sets import Schedule, SensorSet, StudySettings, pairs_of
from talaria_training.sensor_tables import summarise
from talaria_training.splits import TEST_PART, TUNE_PART
from talaria_training.train import turn_slots


def _fit(net: GaitNet, walks: Sequence[Walk], settings: StudySettings, run: Schedule) -> GaitNet:
    """Train the angles of `net` in place on random windows; contacts and classes are not learned here."""
    random = np.random.default_rng(settings.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=run.lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=run.lr, total_steps=run.steps, pct_start=0.1
    )
    weight = torch.tensor([1.0 if a in SAGITTAL else settings.out_of_plane_weight for a in ANGLES])
    net.train()
    for _ in range(run.steps):
        x, y = _draw(walks, min(settings.window, *(len(w.features) for w in walks)), run, random)
        noise = run.noise * net.x_std * torch.randn_like(x)
        noise[..., -net.slots :] = 0.0
        out, _ = net(x + noise, net.start(len(x)))
        said, true = out[:, settings.warmup :, : len(ANGLES)], y[:, settings.warmup :]
        error = (said - torch.where(torch.isfinite(true), true, said)) / net.y_std
        wrong = smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        optimiser.zero_grad()
        (wrong * weight).mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval()


def _draw(
    walks: Sequence[Walk], length: int, run: Schedule, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Windows of walks, longer ones more often, each sensor turned a little: x (B, T, C), y (B, T, A)."""
    starts = np.array([len(walk.features) - length + 1 for walk in walks])
    xs, ys = [], []
    for i in random.choice(len(walks), size=run.batch, p=starts / starts.sum()):
        cut = slice(start := int(random.integers(0, starts[i])), start + length)
        xs.append(torch.from_numpy(walks[i].features[cut]))
        ys.append(torch.from_numpy(walks[i].angles_rad[cut]))
    x, y = torch.stack(xs), torch.stack(ys)
    slots = x.shape[-1] // 10
    axis = torch.from_numpy(random.standard_normal((run.batch, slots, 3)).astype(np.float32))
    a, b, c = (np.deg2rad(run.tilt_deg) * axis).unbind(-1)
    o = torch.zeros_like(a)
    cross = torch.stack([o, -c, b, c, o, -a, -b, a, o], dim=-1).reshape(run.batch, slots, 3, 3)
    motion = turn_slots(x[..., : 9 * slots], torch.matrix_exp(cross))
    return torch.cat([motion, x[..., 9 * slots :]], dim=-1), y


def _new_net(walks: Sequence[Walk], settings: StudySettings) -> GaitNet:
    torch.manual_seed(settings.seed)
    # One layer, and no dropout: so short a training has no time to learn by heart.
    net = GaitNet(walks[0].features.shape[1], settings.hidden, layers=1, dropout=0.0)
    x = np.concatenate([walk.features for walk in walks])
    y = np.concatenate([walk.angles_rad for walk in walks])
    with torch.no_grad():
        net.x_mean.copy_(torch.from_numpy(x.mean(axis=0)))
        net.x_std.copy_(torch.from_numpy(x.std(axis=0) + 1e-6))
        for j in np.flatnonzero(np.isfinite(y).any(axis=0)):
            net.y_mean[j] = float(np.nanmean(y[:, j]))
            net.y_std[j] = float(np.nanstd(y[:, j])) + 1e-6
    return net


@torch.no_grad()
def _predict(net: GaitNet, walk: Walk) -> Floats:
    y, _ = net(torch.from_numpy(walk.features)[None], net.start())
    return np.asarray(y[0, :, : len(ANGLES)].numpy())


def _first(walk: Walk) -> Walk:
    cut = slice(*(round(edge * len(walk.features)) for edge in TUNE_PART))
    return replace(
        walk,
        features=walk.features[cut],
        device=walk.device[cut],
        angles_rad=walk.angles_rad[cut],
    )


def _seen_by(walk: Walk, sensors: SensorSet) -> Walk:
    return replace(walk, features=walk.features[:, feature_columns(sensors.slots)])


def ours(
    sensors: SensorSet, left_out: Sequence[str], walks: Sequence[Walk], settings: StudySettings
) -> list[Row]:
    """Score our network with one set of sensors on the people left out, by all three approaches."""
    others = [w for w in walks if w.person not in left_out]
    # The mirror image needs both legs, so it is taken before sensors are.
    learn = [_seen_by(w, sensors) for w in (*others, *map(mirrored, others))]
    base = _fit(_new_net(learn, settings), learn, settings, settings.base)
    rows: list[Row] = []
    for person in left_out:
        mine = [_seen_by(w, sensors) for w in walks if w.person == person]
        first = [_first(walk) for walk in mine]
        nets = {
            "single_user": _fit(_new_net(first, settings), first, settings, settings.single),
            "multi_user": base,
            "fine_tuned": _fit(base.twin(dropout=0.0), first, settings, settings.tune),
        }
        for approach, net in nets.items():
            rows += _scored(approach, mine, [_predict(net, walk) for walk in mine])
    return rows


def published(
    sensors: SensorSet, left_out: Sequence[str], walks: Sequence[Walk], settings: StudySettings
) -> list[Row]:
    """Score the published LSTM with one set of sensors on the people left out."""
    columns = device_columns(sensors.slots)

    def take(walk: Walk) -> Take:
        return Take(walk.person, walk.name, walk.device[:, columns], walk.angles_rad)

    base = hur2025.multi_user("lstm", left_out, [take(walk) for walk in walks], settings.hur)
    rows: list[Row] = []
    for person in left_out:
        mine = [walk for walk in walks if walk.person == person]
        first = [take(_first(walk)) for walk in mine]
        nets = {
            "single_user": hur2025.single_user("lstm", first, settings.hur),
            "multi_user": base,
            "fine_tuned": hur2025.fine_tuned(base, first, settings.hur),
        }
        for approach, net in nets.items():
            outputs = [stitched(net, take(walk).x) for walk in mine]
            rows += _scored(approach, mine, outputs)
    return rows


def _scored(approach: str, walks: Sequence[Walk], outputs: Sequence[Floats]) -> list[Row]:
    parts = []
    for walk, output in zip(walks, outputs, strict=True):
        cut = slice(*(round(edge * len(output)) for edge in TEST_PART))
        parts.append((output[cut], walk.angles_rad[cut]))
    return score(approach, walks[0].reference, walks[0].person, parts)


def jobs_of(people: Sequence[str], settings: StudySettings) -> dict[str, Job]:
    """Name every cell to run: a network, a set of sensors and the people left out; published ones last.

    Raises
    ------
    RecordingError
        If there are too few people.
    """
    wanted = [("ours", s) for s in settings.sets] + [
        ("hur2025_lstm", s) for s in settings.published
    ]
    return {
        f"{network}/{sensors.name}/{sensors.legs}/{'+'.join(left_out)}": (
            cell,
            network,
            sensors,
            left_out,
            settings,
        )
        for network, sensors in wanted
        for left_out in pairs_of(people)
    }


def cell(
    network: str,
    sensors: SensorSet,
    left_out: tuple[str, ...],
    settings: StudySettings,
    walks: Sequence[Walk],
) -> dict[str, Any]:
    """Run one cell of the study and say what it was, as `summarise` wants it."""
    run = ours if network == "ours" else published
    rows = run(sensors, left_out, walks, settings)
    said = {"network": network, "set": sensors.name, "legs": sensors.legs}
    return {**said, "rows": [asdict(row) for row in rows]}


def study(
    walks: Sequence[Walk],
    settings: StudySettings,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """Run every cell that has not been run before, and put them together.

    Parameters
    ----------
    walks : sequence of Walk
    settings : StudySettings
    engine : Engine
    done : callable
        Told each cell's name when it is settled.

    Returns
    -------
    dict
        ``people``, ``left_out`` (who together), ``summary`` (see `summarise`) and ``cells``.

    Raises
    ------
    RecordingError
        If there are too few people.
    TalariaError
        If cells failed; the others are kept.
    """
    people = sorted({walk.person for walk in walks})
    store = Store.cached("sensors", _key(walks, settings))
    found = run_jobs(jobs_of(people, settings), store, engine, {"walks": walks}, done)
    cells = list(found.values())
    return {
        "people": people,
        "left_out": pairs_of(people),
        "summary": summarise(cells),
        "cells": cells,
    }


def _key(walks: Sequence[Walk], settings: StudySettings) -> str:
    """Digest what a cell depends on; which other cells are asked for is not of it."""
    said = repr(replace(settings, sets=(), published=()))
    code = (
        "sensor_study",
        "sensor_sets",
        "sensor_chain",
        "hur2025",
        "hur2025_data",
        "networks",
        "cores",
    )
    digest = hashlib.sha256(said.encode() + source_digest(*code).encode())
    for walk in walks:
        digest.update(walk.name.encode())
        for array in (walk.features, walk.device, walk.angles_rad):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
