"""The plan of the sensor-combination study: which sets, which networks, how long, who is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.kinematics import CHAIN_SLOTS
from talaria_training.hur2025 import HurSettings, Passes

Legs = Literal["both", "right"]
APPROACHES = ("single_user", "multi_user", "fine_tuned")
NETWORKS = ("ours", "hur2025_lstm")
_SEGMENTS = {"P": "pelvis", "T": "tibia", "F": "femur", "C": "calcn"}


@dataclass(frozen=True, slots=True)
class SensorSet:
    """Some segments, on both legs or on the right one: ``F_C`` is thigh and foot (C for calcaneus)."""

    name: str
    legs: Legs

    @property
    def slots(self) -> tuple[str, ...]:
        """Its slots, in the order of `CHAIN_SLOTS`."""
        segments = {_SEGMENTS[letter] for letter in self.name.split("_")}
        sides = ("_r", "_l") if self.legs == "both" else ("_r",)
        wanted = {f"{segment}{side}" for segment in segments for side in sides} | segments
        return tuple(slot for slot in CHAIN_SLOTS if slot in wanted)

    @property
    def kinds(self) -> int:
        """How many segments it names."""
        return len(self.name.split("_"))


def every_set() -> tuple[SensorSet, ...]:
    """All 15 sets on both legs, and the 14 of them that a single leg makes another set of."""
    names = ["_".join(c) for n in range(1, len(_SEGMENTS) + 1) for c in combinations(_SEGMENTS, n)]
    both = [SensorSet(name, "both") for name in names]
    return (*both, *(SensorSet(name, "right") for name in names if name != "P"))


@dataclass(frozen=True, slots=True)
class Schedule:
    """One training run: optimiser steps, peak rate, and how much the inputs are shaken."""

    steps: int
    batch: int
    lr: float
    tilt_deg: float
    noise: float


@dataclass(frozen=True, slots=True)
class StudySettings:
    """Sizes of the study, such that a set and a pair of people cost about a minute of one core."""

    sets: tuple[SensorSet, ...] = field(default_factory=every_set)
    published: tuple[SensorSet, ...] = (
        SensorSet("C", "both"),
        SensorSet("F_C", "both"),
        SensorSet("P_T_F_C", "both"),
    )
    hidden: int = 64
    window: int = 160
    warmup: int = 40
    out_of_plane_weight: float = 0.3
    base: Schedule = Schedule(300, 16, 5e-3, 4.0, 0.05)
    tune: Schedule = Schedule(80, 12, 2e-3, 1.0, 0.02)
    single: Schedule = Schedule(150, 12, 5e-3, 1.0, 0.02)
    hur: HurSettings = field(default_factory=HurSettings)
    seed: int = 0

    def only(self, names: Sequence[str]) -> StudySettings:
        """Keep some sets, named as ``F_C``; the published LSTM is run for those of them it was meant for.

        Raises
        ------
        ConfigError
            If there is no such set.
        """
        known = {sensors.name for sensors in every_set()}
        strange = [name for name in names if name not in known]
        if strange or not names:
            raise ConfigError(
                f"--sets {','.join(names)} names no set of sensors at '{''.join(strange[:1])}': join "
                "letters of P, T, F, C in this order, such as F_C."
            )
        sets, beside = (
            tuple(s for s in group if s.name in names) for group in (self.sets, self.published)
        )
        return replace(self, sets=sets, published=beside)

    @classmethod
    def quick(cls, steps: int) -> StudySettings:
        """Cut every run to a few steps: for a look at the plumbing, not at the numbers."""
        full = cls()
        runs = {
            name: replace(getattr(full, name), steps=steps) for name in ("base", "tune", "single")
        }
        once = Passes(1, 1, 1)
        hur = replace(full.hur, lstm=once, single=once, tune=once)
        return replace(full, **runs, hur=hur)


def pairs_of(people: Sequence[str]) -> list[tuple[str, ...]]:
    """Who is left out together: neighbours in alphabetical order; an odd one alone.

    Raises
    ------
    RecordingError
        If fewer than four people are given: the published recipe needs two to learn from and stop by.
    """
    names = sorted(set(people))
    if len(names) < 4:
        raise RecordingError(
            f"Leaving people out in pairs takes four of them, and there are {len(names)} with every "
            "sensor of pelvis and legs: give recordings of more people."
        )
    return [tuple(names[i : i + 2]) for i in range(0, len(names), 2)]
