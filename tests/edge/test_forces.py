"""Forces beside the angles: of the same tick, believed by the same rules, silent where a sensor is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import ModelContractError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.belief import Validity
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.features import channels
from talaria_edge.forces import NO_LOADS
from talaria_edge.gait import SIDES, EventKind, Phase
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.spec import Familiarity, Head, Intervals, ModelSpec, Output
from talaria_edge.stances import FORCE_AXES, StanceStage, measure

NAMES = tuple(f"grf_{axis}_{side}" for side in SIDES for axis in FORCE_AXES)
DELAY = 3


def pipeline_of(model: Path, calibration: Calibration, forces: Any, **more: Any) -> Pipeline:
    angles = StreamingModel.load(model, slots=LEG_SLOTS, rate_hz=100.0)
    return Pipeline(angles, calibration, 100.0, force_model=forces, **more)


@pytest.fixture(scope="module")
def worn(walk: SimulatedWalk) -> Calibration:
    """What the walk itself shows of how the sensors sit: without it nobody lands or lifts off."""
    collector = CalibrationCollector(100.0, LEG_SLOTS)
    readings = zip(walk.acc_ms2, walk.gyr_rads, strict=True)
    return next(c for c in (collector.update(a, g) for a, g in readings) if c is not None)


def loaded(path: Path) -> StreamingModel:
    return StreamingModel.load(path, slots=LEG_SLOTS, rate_hz=100.0, gives="forces")


def without(tick: Tick, slot: str) -> Tick:
    i = tick.slots.index(slot)
    statuses = tuple(SlotStatus.GONE if k == i else s for k, s in enumerate(tick.status))
    return replace(tick, status=statuses, age_s=tuple(0.2 if k == i else 0.0 for k in range(4)))


def script(walk: SimulatedWalk, shift_s: float = 0.0, spread: float = -3.0) -> list[list[float]]:
    """Rows a perfect force network would say: a bow of 1.1 BW over each true stance, 30 ms late."""
    rows = []
    stances = {side: true_stances(walk, side) for side in SIDES}
    for t_s in walk.t_s - 0.01 * DELAY + shift_s:
        row: list[float] = []
        for side in SIDES:
            share = next(((t_s - a) / (b - a) for a, b in stances[side] if a <= t_s < b), None)
            row += [0.0] * 3 if share is None else press(share)
        rows.append([*row, *[spread] * 6, 0.0, 0.0])
    return rows


def press(share: float) -> list[float]:
    bow = math.sin(math.pi * share)
    return [-0.2 * math.sin(2 * math.pi * share), -0.05 * bow, 0.06 + 1.1 * bow]


def true_stances(walk: SimulatedWalk, side: str) -> list[tuple[float, float]]:
    ons = [t for t, s, kind in walk.contacts if s == side and kind == "initial"]
    offs = [t for t, s, kind in walk.contacts if s == side and kind == "final"]
    return [(a, next(b for b in offs if b > a)) for a in ons if any(b > a for b in offs)]


def rows_of(count: int = 2000, spread: float = -3.0, vertical: float = 0.5) -> list[list[float]]:
    """Somebody who stands."""
    return [[0.0, 0.0, vertical] * 2 + [spread] * 6 + [5.0, 5.0]] * count


def test_without_a_force_model_nothing_is_said(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    pipeline = pipeline_of(tiny_model, upright, None)
    states = [pipeline.step(tick) for tick in walk_ticks[:20]]
    assert all(state.loads is NO_LOADS and not state.loads for state in states)
    assert pipeline.state.forces is None


def test_the_force_network_sees_the_very_features_of_the_angles_and_changes_no_angle(
    tiny_model: Path, tiny_forces: Path, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    both = pipeline_of(tiny_model, upright, loaded(tiny_forces))
    alone = pipeline_of(tiny_model, upright, None)
    second, features = loaded(tiny_forces), alone._features
    for tick in walk_ticks[:400]:
        state = both.step(tick)
        assert replace(state, loads=NO_LOADS) == alone.step(tick)
    for tick in walk_ticks[:400]:  # what the network gives where it is fed by hand
        x = features.update(tick.acc_ms2, tick.gyr_rads, tick.turn_rad, [True] * 4)
    assert x.shape == (len(channels(LEG_SLOTS)),)
    assert list(state.loads.force_bw) == list(NAMES)
    features.reset()
    y = [
        second.step(features.update(t.acc_ms2, t.gyr_rads, t.turn_rad, [True] * 4))
        for t in walk_ticks[:400]
    ]
    assert list(state.loads.force_bw.values()) == pytest.approx(y[-1][:6].tolist(), abs=1e-6)


def test_resumed_equals_continuous(
    tiny_model: Path,
    worn: Calibration,
    walk_ticks: list[Tick],
    walk: SimulatedWalk,
    presser: Callable[..., Any],
) -> None:
    rows = script(walk)
    whole = pipeline_of(tiny_model, worn, presser(rows))
    expected = [whole.step(tick) for tick in walk_ticks][850:]
    first, second = (pipeline_of(tiny_model, worn, presser(rows)) for _ in range(2))
    for tick in walk_ticks[:850]:
        first.step(tick)
    second.state = first.state
    assert [second.step(tick) for tick in walk_ticks[850:]] == expected
    assert any(state.loads.stances for state in expected)


def test_forces_are_of_the_delay_before_the_tick(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    state = pipeline_of(tiny_model, upright, presser(rows_of())).step(walk_ticks[0])
    assert state.loads.t_s == pytest.approx(state.t_s - 0.03)


def test_a_gone_sensor_degrades_its_side_and_without_intervals_silences_both(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    for intervals, right, left in (
        (Intervals(level=0.9, factor=dict.fromkeys(NAMES, 1.0), protocol=""), "good", "degraded"),
        (None, "invalid", "invalid"),
    ):
        pipeline = pipeline_of(tiny_model, upright, presser(rows_of(), intervals=intervals))
        for tick in walk_ticks[:400]:
            pipeline.step(tick)
        loads = pipeline.step(without(walk_ticks[400], "calcn_l")).loads
        assert loads.output_validity["grf_vertical_r"] == right
        assert loads.output_validity["grf_vertical_l"] == left
        assert math.isnan(loads.force_bw["grf_vertical_l"]) is (left == "invalid")
        assert loads.reason == "no data from calcn_l for 0.20 s"


def test_a_fresh_start_is_degraded_until_it_has_settled(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    pipeline = pipeline_of(tiny_model, upright, presser(rows_of()))
    states = [pipeline.step(tick) for tick in walk_ticks[:300]]
    assert states[0].loads.validity is Validity.DEGRADED
    assert states[0].loads.reason == "settling after a start"
    assert states[-1].loads.validity is Validity.GOOD


def test_no_sensor_at_all_gives_no_force(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    pipeline = pipeline_of(tiny_model, upright, presser(rows_of()))
    for tick in walk_ticks[:300]:
        pipeline.step(tick)
    silent = walk_ticks[300]
    for slot in LEG_SLOTS:
        silent = without(silent, slot)
    loads = pipeline.step(silent).loads
    assert loads.validity is Validity.INVALID
    assert all(map(math.isnan, loads.force_bw.values()))
    assert loads.reason.startswith("no data from femur_r")


def test_a_force_known_too_badly_is_not_shown_each_axis_by_its_own_measure(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    factor = Intervals(level=0.9, factor=dict.fromkeys(NAMES, 1.0), protocol="")
    rows = rows_of(spread=math.log(0.3))  # vertical may be 0.5 BW off, a horizontal force 0.15
    pipeline = pipeline_of(tiny_model, upright, presser(rows, intervals=factor))
    for tick in walk_ticks[:300]:
        state = pipeline.step(tick)
    loads = state.loads
    assert loads.force_bw["grf_vertical_r"] == 0.5
    assert loads.force_interval_bw["grf_vertical_r"] == pytest.approx(0.3)
    assert math.isnan(loads.force_bw["grf_anterior_r"])
    assert math.isnan(loads.force_interval_bw["grf_lateral_l"])
    assert loads.reason.startswith("too uncertain: grf_anterior_r, grf_lateral_r")


def test_a_number_that_is_none_silences_one_tick_and_no_angle(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    rows = rows_of()
    rows[300] = [math.nan] * 14
    pipeline = pipeline_of(tiny_model, upright, presser(rows))
    states = [pipeline.step(tick) for tick in walk_ticks[:302]]
    assert [state.loads.validity for state in states[299:]] == ["good", "invalid", "good"]
    assert states[300].validity is Validity.GOOD
    assert "force model" in states[300].loads.reason


class Stranger:
    """Angles of zero in a movement twice as strange as the limit."""

    def __init__(self, model: StreamingModel) -> None:
        novelty = Head(name="novelty", columns=("novelty",))
        limit = Familiarity(limit=2.0, protocol="")
        self.spec = model.spec.model_copy(update={"heads": (novelty,), "familiarity": limit})
        self.state: dict[str, np.ndarray] = {}

    def step(self, x: np.ndarray) -> np.ndarray:
        return np.array([0.0] * len(self.spec.outputs) + [4.0], np.float32)

    def reset(self) -> None:
        pass


def test_an_unfamiliar_movement_widens_forces_as_it_widens_angles(
    tiny_model: Path, upright: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    stranger = Stranger(StreamingModel.load(tiny_model, slots=LEG_SLOTS, rate_hz=100.0))
    pipeline = Pipeline(stranger, upright, 100.0, force_model=presser(rows_of(spread=0.0)))
    states = [pipeline.step(tick) for tick in walk_ticks[:1200]]
    first, last = (s.loads.force_interval_bw["grf_vertical_r"] for s in (states[0], states[-1]))
    assert (first, last) == pytest.approx((0.05, 0.1), rel=1e-3)


def test_moments_are_kept_apart_from_forces_and_by_themselves_make_no_stance(
    tiny_model: Path,
    upright: Calibration,
    walk_ticks: list[Tick],
    presser: Callable[..., Any],
) -> None:
    outputs = [
        Output(
            name=f"{joint}_moment_r", unit="N m/kg", sign="+", kind="inferred", certainty="normal"
        )
        for joint in ("hip", "knee")
    ]
    spread = Head(name="spread", columns=("spread_hip", "spread_knee"))
    known = Intervals(
        level=0.9, factor=dict.fromkeys(("hip_moment_r", "knee_moment_r"), 1.0), protocol=""
    )
    rows = [[0.7, -0.2, math.log(0.1), math.log(0.7)]]
    forces = presser(rows, outputs=outputs, heads=(spread,), intervals=known)
    pipeline = pipeline_of(tiny_model, upright, forces)
    for tick in walk_ticks[:400]:
        loads = pipeline.step(tick).loads
    assert loads.force_bw == {}
    assert loads.moment_nm_kg["hip_moment_r"] == pytest.approx(0.7)
    assert math.isnan(loads.moment_nm_kg["knee_moment_r"])  # known to 0.7 N m/kg only
    assert loads.moment_interval_nm_kg["hip_moment_r"] == pytest.approx(0.1)
    assert loads.stances == ()


def test_a_moment_that_is_not_shown_makes_no_force_worse(
    tiny_model: Path,
    upright: Calibration,
    walk_ticks: list[Tick],
    presser: Callable[..., Any],
) -> None:
    outputs = [
        Output(name="grf_vertical_r", unit="BW", sign="up +", kind="inferred", certainty="normal"),
        Output(name="hip_moment_r", unit="N m/kg", sign="+", kind="inferred", certainty="normal"),
    ]
    spread = Head(name="spread", columns=("spread_force", "spread_hip"))
    names = ("grf_vertical_r", "hip_moment_r")
    known = Intervals(level=0.9, factor=dict.fromkeys(names, 1.0), protocol="")
    rows = [[0.0, 0.7, math.log(0.05), math.log(2.0)]]
    forces = presser(rows, outputs=outputs, heads=(spread,), intervals=known)
    pipeline = pipeline_of(tiny_model, upright, forces)
    for tick in walk_ticks[:400]:
        loads = pipeline.step(tick).loads
    assert loads.output_validity["hip_moment_r"] is Validity.INVALID
    assert loads.output_validity["grf_vertical_r"] is Validity.GOOD
    assert loads.validity is Validity.GOOD
    assert loads.reason == ""


# Stances


def run(pipeline: Pipeline, ticks: Sequence[Tick]) -> list[GaitState]:
    return [pipeline.step(tick) for tick in ticks]


def test_a_stance_is_given_out_at_its_final_contact_with_what_its_force_did(
    tiny_model: Path,
    worn: Calibration,
    walk_ticks: list[Tick],
    walk: SimulatedWalk,
    presser: Callable[..., Any],
) -> None:
    states = run(pipeline_of(tiny_model, worn, presser(script(walk))), walk_ticks)
    found = [(state.t_s, stance) for state in states for stance in state.loads.stances]
    good = [stance for _, stance in found if stance.validity is Validity.GOOD]
    finals = [e for s in states for e in s.events if e.kind is EventKind.FINAL_CONTACT]
    assert len(good) >= 10
    assert {(stance.side, stance.end_s) for _, stance in found} <= {(e.side, e.t_s) for e in finals}
    assert all(0.0 <= t_s - stance.end_s < 0.1 for t_s, stance in found)
    for stance in good:
        length_s = stance.end_s - stance.start_s
        assert stance.metrics.peak_bw == pytest.approx(1.16, abs=0.01)
        assert stance.metrics.impulse_bw_s == pytest.approx(
            (0.06 + 1.1 * 2 / math.pi) * length_s, rel=0.1
        )
        assert stance.metrics.braking_bw_s == pytest.approx(-0.2 / math.pi * length_s, rel=0.15)
        assert stance.metrics.propulsion_bw_s == pytest.approx(0.2 / math.pi * length_s, rel=0.15)
        assert stance.metrics.lateral_bw_s < 0.0


def test_a_stance_with_a_silent_sensor_in_it_has_no_numbers_but_a_reason(
    tiny_model: Path,
    worn: Calibration,
    walk_ticks: list[Tick],
    walk: SimulatedWalk,
    presser: Callable[..., Any],
) -> None:
    a, b = true_stances(walk, "l")[4]
    middle = round((a + b) / 2 * 100.0)
    ticks = list(walk_ticks)
    for i in range(middle, middle + 4):
        ticks[i] = without(ticks[i], "femur_l")
    forces = presser(script(walk), intervals=None)
    states = run(pipeline_of(tiny_model, worn, forces), ticks)
    stances = [stance for state in states for stance in state.loads.stances]
    hit = [s for s in stances if s.start_s - 0.1 < (a + b) / 2 < s.end_s + 0.1]
    assert {s.validity for s in hit} == {Validity.INVALID}
    assert all(math.isnan(s.metrics.peak_bw) for s in hit)
    assert all("no data from femur_l" in s.reason for s in hit)
    assert any(s.validity is Validity.GOOD for s in stances)


def test_lost_ticks_leave_a_stance_out() -> None:
    from talaria_edge.gait import GaitEvent

    stage = StanceStage(100.0)
    for lost, validity in ((2, "good"), (10, "invalid")):
        stage.reset()
        stage.update(1.0, *quiet(), [GaitEvent(1.0, "r", EventKind.INITIAL_CONTACT)])
        for i in range(1, 60 - lost):
            stage.update(1.0 + 0.01 * i, *quiet(), [])
        (stance,) = stage.update(1.6, *quiet(), [GaitEvent(1.6, "r", EventKind.FINAL_CONTACT)])
        assert stance.validity == validity
        assert stance.reason == ("" if lost == 2 else "15% of the stance is missing")


def quiet() -> tuple[dict[str, tuple[float, float, float]], dict[str, Validity], str]:
    return dict.fromkeys(SIDES, (0.0, 0.0, 1.0)), dict.fromkeys(SIDES, Validity.GOOD), ""


def test_peaks_and_the_rise_are_those_of_the_curve() -> None:
    share = np.linspace(0.0, 1.0, 71)
    vertical = np.interp(share, [0, 0.2, 0.5, 0.8, 1], [0, 1.1, 0.7, 1.2, 0])
    found = measure(np.column_stack([0 * share, 0 * share, vertical]), 100.0)
    assert (found.first_peak_bw, found.second_peak_bw) == pytest.approx((1.1, 1.2))
    assert found.loading_rate_bw_s == pytest.approx(1.1 / 0.14)
    flat = np.minimum(vertical, 1.0)  # a level top is one maximum
    assert measure(np.column_stack([0 * share, 0 * share, flat]), 100.0).first_peak_bw == 1.0
    rise = np.column_stack([0 * share, 0 * share, share])
    assert math.isnan(measure(rise, 100.0).first_peak_bw)


# Force against contact


def test_force_and_contact_that_agree_raise_no_objection(
    tiny_model: Path,
    worn: Calibration,
    walk_ticks: list[Tick],
    walk: SimulatedWalk,
    presser: Callable[..., Any],
) -> None:
    states = run(pipeline_of(tiny_model, worn, presser(script(walk))), walk_ticks)
    assert not any(state.loads.disagreeing for state in states[550:1550])


def test_force_that_contradicts_the_contacts_for_long_says_so_and_is_believed_less(
    tiny_model: Path, worn: Calibration, walk_ticks: list[Tick], presser: Callable[..., Any]
) -> None:
    """The right foot is said to carry half the body even as it swings."""
    states = run(pipeline_of(tiny_model, worn, presser(rows_of())), walk_ticks)
    walking = [s for s in states[400:] if s.legs["r"].phase is Phase.SWING]
    odd = [s for s in walking if "r" in s.loads.disagreeing]
    assert 0.2 < len(odd) / len(walking) < 0.8
    sides = {s.loads.disagreeing for s in odd}
    assert ("r",) in sides
    one = next(s for s in odd if s.loads.disagreeing == ("r",))
    assert one.loads.reason == "force and contact disagree on the right foot"
    assert one.loads.output_validity["grf_vertical_r"] is Validity.DEGRADED
    assert one.loads.output_validity["grf_vertical_l"] is Validity.GOOD
    assert not any("r" in s.loads.disagreeing for s in states[400:] if s not in walking)


# What may be paired


def test_a_model_named_in_the_wrong_place_is_one_sentence(
    tiny_model: Path, tiny_forces: Path
) -> None:
    with pytest.raises(
        ModelContractError, match=r"gives angles .* name it after --model, and after --kin"
    ):
        loaded(tiny_model)
    with pytest.raises(ModelContractError, match=r"gives forces .* name it after --kinetics"):
        StreamingModel.load(tiny_forces, slots=LEG_SLOTS, rate_hz=100.0)


def test_two_models_of_different_sensors_or_rates_are_refused(
    tiny_model: Path, upright: Calibration, presser: Callable[..., Any]
) -> None:
    with pytest.raises(ModelContractError, match=r"tiny-forces takes femur_r, .* at 50 Hz"):
        pipeline_of(tiny_model, upright, presser(rows_of(), rate_hz=50.0))


@pytest.mark.parametrize(
    ("units", "delays", "says"),
    [
        (("rad", "BW"), (0.0, 0.0), "angles or forces"),
        (("BW", "BW"), (0.0, 0.02), "equally far back"),
        (("rad", "rad"), (0.01, 0.01), "of the tick itself"),
    ],
)
def test_a_spec_is_of_one_kind_and_one_instant(
    tiny_model: Path, units: tuple[Any, Any], delays: tuple[float, float], says: str
) -> None:
    spec = StreamingModel.load(tiny_model, slots=LEG_SLOTS, rate_hz=100.0).spec
    outputs = [
        Output(
            name=f"o_{i}", unit=unit, sign="+", kind="inferred", certainty="normal", delay_s=delay
        )
        for i, (unit, delay) in enumerate(zip(units, delays, strict=True))
    ]
    with pytest.raises(ValueError, match=says):
        ModelSpec.model_validate(spec.model_dump() | {"outputs": outputs})
