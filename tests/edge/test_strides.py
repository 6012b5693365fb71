from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.spatial.transform import Rotation

from talaria_bridge.simulator import SensorParams, WalkerParams, simulate_walk
from talaria_edge.features import SegmentState
from talaria_edge.gait import EventKind, GaitClass, GaitEvent
from talaria_edge.strides import Stride, StrideParams, StrideStage
from talaria_edge.travel import TravelParams
from talaria_edge.variability import stride_statistics

RATE = 100.0
FEET = {"r": 0, "l": 1}
ON, OFF = EventKind.INITIAL_CONTACT, EventKind.FINAL_CONTACT
WALKING = GaitClass.WALKING
NOWHERE = SegmentState(np.full((2, 3), np.nan), np.full((2, 3), np.nan), np.full((2, 3), np.nan))


@dataclass
class Feet:
    """Both feet of a walker in segment frames, and the truth."""

    t_s: np.ndarray
    acc: np.ndarray
    gyr: np.ndarray
    up: np.ndarray
    place_m: dict[str, np.ndarray]
    events: list[GaitEvent]
    angles: list[dict[str, float]]

    def turned(self, rotation):
        """The same walk with both segment frames turned by one rotation."""
        acc, gyr, up = (rotation.apply(x.reshape(-1, 3)).reshape(x.shape) for x in self.vectors)
        return replace(self, acc=acc, gyr=gyr, up=up)

    @property
    def vectors(self):
        return self.acc, self.gyr, self.up


@pytest.fixture(scope="module")
def walked():
    params = WalkerParams(sensors=SensorParams.perfect(), seconds=20.0)
    walk = simulate_walk(3, params)
    acc, gyr, up = [], [], []
    for side in FEET:
        slot = f"calcn_{side}"
        to_world = Rotation.from_quat(walk.q_world_sensor[slot], scalar_first=True)
        from_world = Rotation.from_quat(walk.q_world_segment[slot], scalar_first=True).inv()
        i = walk.slots.index(slot)
        acc.append((from_world * to_world).apply(walk.acc_ms2[:, i]))
        gyr.append((from_world * to_world).apply(walk.gyr_rads[:, i]))
        up.append(from_world.apply([0.0, 0.0, 1.0]))
    names = walk.angles_rad
    return Feet(
        walk.t_s,
        *(np.stack(x, axis=1) for x in (acc, gyr, up)),
        {side: walk.sensor_m[f"calcn_{side}"] for side in FEET},
        [GaitEvent(t, side, EventKind(kind)) for t, side, kind in walk.contacts],
        [{name: float(names[name][k]) for name in names} for k in range(len(walk.t_s))],
    )


def run(feet, stage=None, late_s=0.0, ticks=slice(None), present=None):
    stage = stage or StrideStage(RATE, FEET)
    found = []
    for k in range(len(feet.t_s))[ticks]:
        t = float(feet.t_s[k])
        told = [e for e in feet.events if t - 1 / RATE < e.t_s + late_s <= t]
        segment = SegmentState(feet.acc[k], feet.gyr[k], feet.up[k])
        found += stage.update(t, told, segment, feet.angles[k], WALKING, present)
    return found


@pytest.fixture(scope="module")
def strides(walked):
    return run(walked)


def true_length_m(feet, stride):
    """Displacement of the sensor from mid-stance to mid-stance, where it lies still."""

    def place(contact_s):
        k = np.searchsorted(feet.t_s, contact_s + 0.25 * stride.time_s)
        return feet.place_m[stride.side][k, :2]

    return float(np.linalg.norm(place(stride.end_s) - place(stride.start_s)))


def tell(events, until_s=None, segment=NOWHERE, angles=lambda t: {}, classes=lambda t: WALKING):
    """Strides of a list of (t_s, side, kind), ticked at 100 Hz until five seconds after it."""
    stage = StrideStage(RATE, FEET)
    end_s = until_s or max(t for t, _, _ in events) + 5.0
    found = []
    for k in range(round(end_s * RATE) + 1):
        t = k / RATE
        told = [GaitEvent(*e) for e in events if t - 1 / RATE < e[0] <= t]
        found += stage.update(t, told, segment, angles(t), classes(t))
    return found


WALK = [
    (1.00, "r", ON),
    (1.15, "l", OFF),
    (1.50, "l", ON),
    (1.65, "r", OFF),
    (2.00, "r", ON),
    (2.15, "l", OFF),
    (2.50, "l", ON),
    (2.65, "r", OFF),
    (3.04, "r", ON),
]


def same(a: list[Stride], b: list[Stride]) -> bool:
    return repr(a) == repr(b)  # NaN is not equal to itself, its name is


def paired(found, strides):
    """The same strides of two runs; one of them may close the very last a tick too late."""
    ends = {(s.side, s.end_s): s for s in strides}
    both = [(s, ends[s.side, s.end_s]) for s in found if (s.side, s.end_s) in ends]
    assert len(both) >= len(strides) - 1
    return both


def test_length_is_the_feets_true_displacement(walked, strides):
    assert len(strides) > 20
    errors = [s.length_m - true_length_m(walked, s) for s in strides]
    assert max(map(abs, errors)) < 0.02, max(errors, key=abs)
    assert {s.side for s in strides} == {"r", "l"}


def test_speed_is_length_over_stride_time(strides):
    for s in strides:
        assert s.speed_ms == pytest.approx(s.length_m / (s.end_s - s.start_s))


def test_length_needs_no_heading_and_no_particular_axes(walked, strides):
    rotation = Rotation.from_euler("xyz", [0.7, -1.2, 2.4])
    turned = [s.length_m for s in run(walked.turned(rotation))]
    assert turned == pytest.approx([s.length_m for s in strides], abs=1e-9)


def test_an_accelerometer_that_is_off_at_rest_does_not_stretch_the_stride(walked, strides):
    off = replace(walked, acc=walked.acc + np.array([0.0, 2.4, 0.0]))  # CapSense's left foot
    wrong = [a.length_m - b.length_m for a, b in paired(run(off), strides)]
    assert max(map(abs, wrong)) < 0.01


def test_a_steady_gyroscope_drift_costs_centimetres_not_metres(walked, strides):
    drifting = replace(walked, gyr=walked.gyr + 0.005)
    wrong = [a.length_m - b.length_m for a, b in paired(run(drifting), strides)]
    assert max(map(abs, wrong)) < 0.03


def test_stream_equals_batch(walked):
    # The batch looks at whole stances, so the stream is made to wait for their ends.
    waiting = StrideParams(travel=TravelParams(settle_s=9.0))
    width = round(waiting.travel.window_s * RATE)
    energy = (walked.gyr[:, 0] ** 2).sum(axis=1)
    mean = np.array([energy[i : i + width].mean() for i in range(len(energy) - width + 1)])
    rests = {}
    for on, off in pairwise(e for e in walked.events if e.side == "r"):
        # A window is complete once its last reading is in, and of equal ones the last counts.
        lo, hi = np.searchsorted(walked.t_s, [on.t_s, off.t_s]) - width + 1
        rests[on.t_s] = lo + int(np.flatnonzero(mean[lo:hi] == mean[lo:hi].min())[-1])
    strides = [s for s in run(walked, StrideStage(RATE, FEET, waiting)) if s.side == "r"]
    assert len(strides) > 10
    for s in strides:
        if s.end_s in rests:
            expected = batch_length_m(walked, rests[s.start_s], rests[s.end_s], width)
            assert s.length_m == pytest.approx(expected, abs=1e-6)


def batch_length_m(feet, first, last, width):
    a, b = first + width // 2, last + width // 2
    part = slice(a, b + 1)
    t, gyr, acc = feet.t_s[part], feet.gyr[part, 0], feet.acc[part, 0]
    up = feet.up[a, 0]
    acc = acc - feet.acc[first : first + width, 0].mean(axis=0) + 9.81 * up
    turn = Rotation.identity()
    free = [acc[0] - 9.81 * up]
    for k in range(1, len(t)):
        turn *= Rotation.from_rotvec(0.5 * (gyr[k] + gyr[k - 1]) * (t[k] - t[k - 1]))
        free.append(turn.apply(acc[k]) - 9.81 * up)
    speed = cumulative_trapezoid(free, t, axis=0, initial=0)
    speed = speed - np.outer((t - t[0]) / (t[-1] - t[0]), speed[-1])
    way = cumulative_trapezoid(speed, t, axis=0, initial=0)[-1]
    return np.linalg.norm(way - (way @ up) * up)


def test_resumed_equals_continuous(walked, strides):
    for cut in (734, 1371):
        first, second = StrideStage(RATE, FEET), StrideStage(RATE, FEET)
        a = run(walked, first, ticks=slice(cut))
        second.state = first.state
        run(walked, first, ticks=slice(cut, cut + 200))  # the saved state must not move with it
        assert same(a + run(walked, second, ticks=slice(cut, None)), strides)


def test_a_reset_stage_is_a_new_one(walked, strides):
    stage = StrideStage(RATE, FEET)
    run(walked, stage, ticks=slice(1000))
    stage.reset()
    assert same(run(walked, stage), strides)


def test_late_announcements_change_nothing(walked, strides):
    late = run(walked, late_s=0.06)
    assert [s.end_s for s in late] == [s.end_s for s in strides]
    for a, b in zip(late, strides, strict=True):
        assert a.length_m == pytest.approx(b.length_m, abs=0.005)
        assert a.double_support_ratio == b.double_support_ratio
        assert a.rom_rad == b.rom_rad


def test_a_stride_is_given_out_within_its_next_stance(walked):
    stage = StrideStage(RATE, FEET)
    offs = [e for e in walked.events if e.kind is OFF]
    count = 0
    for k in range(len(walked.t_s)):
        for s in run(walked, stage, ticks=slice(k, k + 1)):
            count += 1
            lift = min((e.t_s for e in offs if e.side == s.side and e.t_s > s.end_s), default=99.0)
            assert s.end_s + 0.1 <= walked.t_s[k] <= lift + 0.01
    assert count > 20


def test_the_last_stride_of_somebody_who_stops_is_not_waited_for(walked, strides):
    last = next(s for s in strides if s.side == "r" and s.start_s > 10.0)
    stop = round((last.end_s + 0.25 * last.time_s) * RATE)
    stage = StrideStage(RATE, FEET)
    found = run(walked, stage, ticks=slice(stop))
    assert last.end_s not in [s.end_s for s in found if s.side == "r"]
    up = walked.up[stop]
    flat = SegmentState(9.81 * up, np.zeros((2, 3)), up)
    for k in range(stop, stop + round(0.5 * RATE)):
        found += stage.update(k / RATE, (), flat, walked.angles[stop], WALKING)
        flat = replace(flat, gyr_rads=flat.gyr_rads + 1e-5)  # never as calm again
    (stride,) = (s for s in found if s.side == "r" and s.end_s == last.end_s)
    assert stride.length_m == pytest.approx(last.length_m, abs=0.01)


def test_memory_is_bounded(walked):
    stage = StrideStage(RATE, FEET)
    sizes = []
    for turn in range(3):
        run(replace(walked, t_s=walked.t_s + 20 * turn, events=shifted(walked, 20 * turn)), stage)
        m = stage.state
        sizes.append((len(m.events), len(m.moments), len(m.travel["r"].recent)))
    assert len(set(sizes)) == 1, sizes
    assert sizes[0][1] < 7 * RATE


def shifted(feet, by_s):
    return [replace(e, t_s=e.t_s + by_s) for e in feet.events]


def test_time_may_begin_anywhere(walked, strides):
    later = run(replace(walked, t_s=walked.t_s + 1e6, events=shifted(walked, 1e6)))
    assert [s.length_m for s in later] == pytest.approx([s.length_m for s in strides], abs=1e-5)


def test_times_follow_from_the_contacts():
    right = [s for s in tell(WALK) if s.side == "r"]
    first, second = right
    assert (first.start_s, first.end_s) == (1.0, 2.0)
    assert first.time_s == 1.0
    assert first.stance_s == pytest.approx(0.65)
    assert first.stance_ratio == pytest.approx(0.65)
    assert first.step_time_s == pytest.approx(0.5)
    assert first.cadence_spm == pytest.approx(120.0)
    assert first.double_support_ratio == pytest.approx(0.3)  # 0.15 s early and 0.15 s late
    assert second.step_time_s == pytest.approx(0.54)
    assert second.cadence_spm == pytest.approx(120 / 1.04)


def test_running_has_no_double_support():
    contacts = [
        (1.0, "r", ON),
        (1.2, "r", OFF),
        (1.4, "l", ON),
        (1.6, "l", OFF),
        (1.8, "r", ON),
        (2.0, "r", OFF),
    ]
    (stride,) = tell(contacts)
    assert stride.double_support_ratio == 0.0
    assert stride.stance_ratio == pytest.approx(0.25)


def test_one_leg_alone_has_strides_but_no_double_support():
    strides = tell([e for e in WALK if e[1] == "r"])
    assert [s.stance_ratio for s in strides] == pytest.approx([0.65, 0.65 / 1.04])
    assert all(math.isnan(s.double_support_ratio + s.step_time_s) for s in strides)


def test_a_lift_off_that_was_missed_leaves_only_stance_unknown():
    strides = tell([e for e in WALK if e != (1.65, "r", OFF)])
    stride = next(s for s in strides if s.side == "r")
    assert stride.time_s == 1.0
    assert math.isnan(stride.stance_s)
    assert math.isnan(stride.stance_ratio)
    assert math.isnan(stride.double_support_ratio)
    assert stride.step_time_s == pytest.approx(0.5)


def test_a_landing_that_was_missed_makes_no_double_stride():
    strides = tell([e for e in WALK if e != (2.00, "r", ON)])
    assert [s.side for s in strides] == ["l"]


def test_a_contact_of_the_other_foot_that_came_twice_is_not_chosen_from():
    strides = tell([*WALK[:3], (1.55, "l", ON), *WALK[3:]])
    first = next(s for s in strides if s.side == "r")
    assert math.isnan(first.step_time_s)
    assert math.isnan(first.double_support_ratio)
    assert first.stance_ratio == pytest.approx(0.65)


def test_a_pause_is_no_stride():
    assert tell([(1.0, "r", ON), (4.0, "r", OFF), (4.5, "r", ON)]) == []


def test_two_contacts_too_close_are_no_stride():
    assert tell([(1.0, "r", ON), (1.3, "r", ON)]) == []


def test_an_unseen_foot_has_strides_without_length(walked, strides):
    blind = replace(walked, acc=walked.acc.copy())
    blind.acc[:, FEET["r"]] = np.nan
    found = run(blind)
    assert same([s for s in found if s.side == "l"], [s for s in strides if s.side == "l"])
    right = [s for s in found if s.side == "r"]
    assert len(right) > 10
    for s in right:
        assert math.isnan(s.length_m)
        assert math.isnan(s.speed_ms)
        assert s.stance_ratio == pytest.approx(0.62, abs=0.01)


def test_no_segment_and_no_row_are_an_unseen_foot(walked):
    for stage, segment in ((StrideStage(RATE, {}), NOWHERE), (StrideStage(RATE, FEET), None)):
        found = []
        for k, t in enumerate(walked.t_s[:1500].tolist()):
            told = [e for e in walked.events if t - 1 / RATE < e.t_s <= t]
            found += stage.update(t, told, segment, walked.angles[k], WALKING)
        assert len(found) > 10
        assert all(math.isnan(s.length_m) for s in found)


def test_a_stand_in_is_not_taken_for_a_foot_at_rest(walked):
    found = run(walked, present=[False, True])
    assert all(math.isnan(s.length_m) == (s.side == "r") for s in found)


@pytest.mark.parametrize("phase", [0.8, 0.2])  # in swing, and in stance
def test_a_short_loss_costs_the_stride_it_falls_into_and_no_other(walked, strides, phase):
    hit = next(s for s in strides if s.side == "r" and s.start_s > 10.0)
    first = round((hit.start_s + phase * hit.time_s) * RATE)
    torn = replace(walked, acc=walked.acc.copy())
    torn.acc[first : first + 5, FEET["r"]] = np.nan
    for found, whole in paired(run(torn), strides):
        touched = found.side == "r" and found.start_s <= first / RATE < found.end_s + 0.5
        if touched:
            assert math.isnan(found.length_m) or abs(found.length_m - whole.length_m) < 0.03
        else:
            assert found.length_m == pytest.approx(whole.length_m, abs=1e-9)
        if whole is hit and phase > 0.5:
            assert math.isnan(found.length_m)


def test_a_foot_that_never_rests_gives_no_length(walked):
    restless = replace(walked, gyr=walked.gyr + np.array([0.0, 1.5, 0.0]))
    found = run(restless)
    assert len(found) > 20
    assert all(math.isnan(s.length_m) for s in found)


def test_standing_between_two_walks_stretches_no_stride(walked, strides):
    # Ten seconds of the first stance, still, in front of the walk that follows.
    wait = 1000
    still = [np.concatenate([np.repeat(x[:1], wait, axis=0), x]) for x in walked.vectors]
    t_s = np.arange(len(walked.t_s) + wait) / RATE
    longer = Feet(
        t_s,
        *still,
        {
            side: np.concatenate([np.repeat(p[:1], wait, axis=0), p])
            for side, p in walked.place_m.items()
        },
        [GaitEvent(0.5, "r", ON), GaitEvent(0.5, "l", ON), *shifted(walked, wait / RATE)],
        [walked.angles[0]] * wait + walked.angles,
    )
    found = run(longer)
    assert len(found) == len(strides)
    assert all(abs(s.length_m - true_length_m(longer, s)) < 0.02 for s in found)


def test_range_of_motion_is_of_the_stride_and_of_its_side():
    def angles(t):
        swing = 5.0 if t > 2.5 else 0.4 * math.sin(2 * math.pi * t)
        return {"knee_angle_r": swing, "hip_flexion_r": 0.1, "knee_angle_l": 9.0}

    first = next(s for s in tell(WALK, angles=angles) if s.side == "r")
    assert first.rom_rad == pytest.approx({"knee_angle_r": 0.8, "hip_flexion_r": 0.0})


def test_an_angle_that_was_lost_for_an_instant_has_no_range():
    def angles(t):
        return {"knee_angle_r": math.nan if t == 1.5 else t, "hip_flexion_r": t}

    first = next(s for s in tell(WALK, angles=angles) if s.side == "r")
    assert math.isnan(first.rom_rad["knee_angle_r"])
    assert first.rom_rad["hip_flexion_r"] == pytest.approx(1.0)


def test_a_stride_is_of_its_commonest_class():
    def classes(t):
        return GaitClass.STIFF_KNEE if 1.2 < t < 2.3 else WALKING

    found = [s.gait_class for s in tell(WALK, classes=classes) if s.side == "r"]
    assert found == [GaitClass.STIFF_KNEE, WALKING]


def stride(side="r", length_m=1.0, time_s=1.0, **changes):
    made = Stride(
        side=side,
        start_s=0.0,
        end_s=time_s,
        stance_s=0.6,
        step_time_s=0.5,
        cadence_spm=120 / time_s,
        stance_ratio=0.6,
        double_support_ratio=0.2,
        length_m=length_m,
        speed_ms=length_m / time_s,
        rom_rad={f"knee_angle_{side}": 1.0 if side == "r" else 0.9},
        gait_class=WALKING,
    )
    return replace(made, **changes)


def test_statistics_are_the_textbooks():
    rows = [stride(length_m=x) for x in (1.0, 1.1, 1.2)] + [stride("l", length_m=1.0)] * 2
    s = stride_statistics(rows)
    assert s.strides == {"r": 3, "l": 2}
    right = s.spread["length_m"]["r"]
    assert (right.count, right.mean, right.sd) == pytest.approx((3, 1.1, 0.1))
    assert right.cv_percent == pytest.approx(100 * 0.1 / 1.1)
    assert s.symmetry_percent["length_m"] == pytest.approx(100 * (1.1 - 1.0) / 1.05)
    assert s.symmetry_percent["knee_angle_rom_rad"] == pytest.approx(100 * (1.0 - 0.9) / 0.95)
    assert s.symmetry_percent["stance_ratio"] == 0.0


def test_statistics_pass_over_what_is_unknown():
    s = stride_statistics([stride(), stride(length_m=math.nan), stride("l", length_m=math.nan)])
    right = s.spread["length_m"]["r"]
    assert (right.count, right.mean) == (1, 1.0)
    assert math.isnan(right.sd)
    assert math.isnan(s.spread["length_m"]["l"].mean)
    assert math.isnan(s.symmetry_percent["length_m"])


def test_statistics_of_nothing_are_nothing():
    s = stride_statistics([])
    assert s.strides == {"r": 0, "l": 0}
    assert s.spread == {}
