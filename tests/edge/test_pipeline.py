"""Never silently stale, and never dependent on when it was started."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import Calibration
from talaria_edge.gait import GaitClass
from talaria_edge.kinematics import ANGLES
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import GaitState, Pipeline, Validity
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.spec import Familiarity, Head, Intervals


def build(model: Path, calibration: Calibration) -> Pipeline:
    return Pipeline(StreamingModel.load(model, slots=LEG_SLOTS, rate_hz=100.0), calibration, 100.0)


def without(tick: Tick, slot: str, status: SlotStatus, age_s: float) -> Tick:
    i = tick.slots.index(slot)
    statuses = tuple(status if k == i else s for k, s in enumerate(tick.status))
    ages = tuple(age_s if k == i else a for k, a in enumerate(tick.age_s))
    return replace(tick, status=statuses, age_s=ages)


def test_resumed_equals_continuous(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    whole = build(tiny_model, upright)
    expected = [whole.step(tick) for tick in walk_ticks[:600]][350:]
    first, second = build(tiny_model, upright), build(tiny_model, upright)
    for tick in walk_ticks[:350]:
        first.step(tick)
    second.state = first.state
    assert [second.step(tick) for tick in walk_ticks[350:600]] == expected


def test_a_fresh_start_is_degraded_until_it_has_settled(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = build(tiny_model, upright)
    states = [pipeline.step(tick) for tick in walk_ticks[:400]]
    assert states[0].validity is Validity.DEGRADED
    assert states[-1].validity is Validity.GOOD


def test_a_gone_slot_gives_no_angle_but_a_reason(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = build(tiny_model, upright)
    for tick in walk_ticks[:400]:
        pipeline.step(tick)
    held = pipeline.step(without(walk_ticks[400], "calcn_l", SlotStatus.HELD, 0.05))
    assert held.validity is Validity.DEGRADED
    assert "calcn_l" in held.reason
    gone = pipeline.step(without(walk_ticks[401], "calcn_l", SlotStatus.GONE, 0.2))
    assert gone.validity is Validity.INVALID
    assert "no data from calcn_l" in gone.reason
    assert all(math.isnan(value) for value in gone.angles_rad.values())


def test_a_slot_that_returns_brings_the_angles_back(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = build(tiny_model, upright)
    for tick in walk_ticks[:400]:
        pipeline.step(tick)
    for tick in walk_ticks[400:420]:
        pipeline.step(without(tick, "femur_r", SlotStatus.GONE, 0.2))
    back = pipeline.step(walk_ticks[420])
    assert all(math.isfinite(value) for value in back.angles_rad.values())


def test_a_poisoned_network_recovers(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = build(tiny_model, upright)
    for tick in walk_ticks[:400]:
        pipeline.step(tick)
    state = pipeline.state
    poisoned = {name: np.full_like(value, np.nan) for name, value in state.model.items()}
    pipeline.state = replace(state, model=poisoned)
    assert pipeline.step(walk_ticks[400]).validity is Validity.INVALID
    assert pipeline.step(walk_ticks[401]).validity is Validity.GOOD


def test_after_a_long_loss_it_starts_afresh_and_after_a_short_one_it_goes_on(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    fresh = build(tiny_model, upright)
    expected = [fresh.step(tick) for tick in walk_ticks[800:850]]
    for first_lost, same in ((700, True), (780, False)):
        pipeline = build(tiny_model, upright)
        for tick in walk_ticks[:first_lost]:
            pipeline.step(tick)
        for tick in walk_ticks[first_lost:800]:
            gone = tick
            for slot in LEG_SLOTS:
                gone = without(gone, slot, SlotStatus.GONE, 0.2)
            pipeline.step(gone)
        again = [pipeline.step(tick) for tick in walk_ticks[800:850]]
        assert (again == expected) is same


def test_heavy_loss_a_range_too_small_and_a_stuck_sensor_are_named(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = build(tiny_model, upright)
    for tick in walk_ticks[:400]:
        pipeline.step(tick)
    none = (SlotFlag.NONE,) * 4
    lossy = pipeline.step(replace(walk_ticks[400], loss=(0.0, 0.0, 0.12, 0.0)))
    assert (lossy.validity, lossy.reason) == (Validity.DEGRADED, "12% of calcn_r lost")
    assert lossy.slot_loss == (0.0, 0.0, 0.12, 0.0)
    little = pipeline.step(replace(walk_ticks[401], loss=(0.0, 0.0, 0.08, 0.0)))
    assert little.validity is Validity.GOOD
    saturated = pipeline.step(replace(walk_ticks[402], flags=(SlotFlag.SATURATED, *none[1:])))
    assert (saturated.validity, saturated.reason) == (
        Validity.DEGRADED,
        "femur_r at the end of its range",
    )
    gone = without(walk_ticks[403], "femur_l", SlotStatus.GONE, 0.3)
    stuck = pipeline.step(replace(gone, flags=(SlotFlag.NONE, SlotFlag.STUCK, *none[2:])))
    assert stuck.reason == "no data from femur_l for 0.30 s (stuck)"


def test_filters_run_on_through_a_short_gap_and_start_afresh_after_a_long_one(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    short, long = build(tiny_model, upright), build(tiny_model, upright)
    for pipeline, lost in ((short, 20), (long, 80)):
        for tick in walk_ticks[:400]:
            pipeline.step(tick)
        for tick in walk_ticks[400 : 400 + lost]:
            pipeline.step(without(tick, "calcn_l", SlotStatus.GONE, 0.2))
    assert short.step(walk_ticks[420]).validity is Validity.GOOD
    assert long.step(walk_ticks[480]).reason == "calcn_l settling after a start"


class Stranger:
    """A network sure of its angles, to which everything is three times as strange as the limit."""

    def __init__(self, model: StreamingModel) -> None:
        heads = (Head(name="spread", columns=ANGLES), Head(name="novelty", columns=("distance",)))
        known = {
            "heads": heads,
            "intervals": Intervals(level=0.9, factor=dict.fromkeys(ANGLES, 1.0), protocol="none"),
            "familiarity": Familiarity(limit=1.0, protocol="none"),
        }
        self.spec = model.spec.model_copy(update=known)
        self.state: dict[str, np.ndarray] = {}

    def reset(self) -> None:
        self.state = {}

    def step(self, x: np.ndarray, /) -> np.ndarray:
        quiet = [0.1] * len(ANGLES)
        return np.array([*quiet, *[math.log(0.05)] * len(ANGLES), 3.0], np.float32)


def test_intervals_widen_under_unfamiliar_gait_and_resume_so(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    loaded = StreamingModel.load(tiny_model, slots=LEG_SLOTS, rate_hz=100.0)
    whole, second = (Pipeline(Stranger(loaded), upright, 100.0) for _ in range(2))
    widths = []
    for i, tick in enumerate(walk_ticks[:800]):
        if i == 60:
            second.state = whole.state
        widths.append(whole.step(tick).interval_rad["knee_angle_r"])
    assert widths[0] == pytest.approx(0.05)
    assert widths[-1] == pytest.approx(0.15, rel=0.01)
    assert second.step(walk_ticks[60]).interval_rad["knee_angle_r"] == widths[60]
    maimed = whole.step(without(walk_ticks[800], "femur_l", SlotStatus.GONE, 9.0))
    assert maimed.interval_rad["knee_angle_r"] == pytest.approx(0.05)


class Limper:
    """A network that always says stiff knee, of a wearer whose knees move 1 rad in every stride."""

    def __init__(self, model: StreamingModel) -> None:
        contact = Head(name="contact", columns=("r", "l"))
        classes = Head(name="gait_class", columns=("walking", "stiff_knee"))
        self.spec = model.spec.model_copy(update={"heads": (contact, classes)})
        self.reset()

    def reset(self) -> None:
        self._ticks = 0

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {"ticks": np.array([self._ticks], np.float32)}

    @state.setter
    def state(self, value: dict[str, np.ndarray]) -> None:
        self._ticks = int(value["ticks"][0])

    def step(self, x: np.ndarray, /) -> np.ndarray:
        self._ticks += 1
        phases = (self._ticks % 110, (self._ticks + 55) % 110)
        knee = 0.5 - 0.5 * math.cos(2 * math.pi * phases[0] / 110)
        down = [5.0 if phase < 66 else -5.0 for phase in phases]
        return np.array([*[knee] * len(ANGLES), *down, 0.0, 3.0], np.float32)


def limping(model: Path, calibration: Calibration, usual: dict[str, float] | None) -> Pipeline:
    loaded = StreamingModel.load(model, slots=LEG_SLOTS, rate_hz=100.0)
    return Pipeline(Limper(loaded), calibration, 100.0, usual_knees_rad=usual)


def walked_as(states: list[GaitState]) -> set[GaitClass]:
    moving = {state.gait_class for state in states[400:]}
    return moving - {GaitClass.STILL, GaitClass.UNKNOWN}


def test_the_wearer_s_usual_knees_weigh_in_while_all_sensors_are_there(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    usual = {"r": 1.0, "l": 1.0}
    for known, expected in ((None, GaitClass.STIFF_KNEE), (usual, GaitClass.WALKING)):
        pipeline = limping(tiny_model, upright, known)
        assert walked_as([pipeline.step(tick) for tick in walk_ticks]) == {expected}
    pipeline = limping(tiny_model, upright, usual)
    maimed = [without(tick, "femur_l", SlotStatus.GONE, 9.0) for tick in walk_ticks]
    assert walked_as([pipeline.step(tick) for tick in maimed]) == {GaitClass.STIFF_KNEE}


def test_resumed_beside_the_usual_knees_equals_continuous(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    usual = {"r": 1.17, "l": 1.17}  # so that the verdict is a close one
    whole, first, second = (limping(tiny_model, upright, usual) for _ in range(3))
    expected = [whole.step(tick) for tick in walk_ticks]
    assert {state.gait_class for state in expected} >= {GaitClass.WALKING}
    for tick in walk_ticks[:930]:
        first.step(tick)
    second.state = first.state
    assert [second.step(tick) for tick in walk_ticks[930:]] == expected[930:]
