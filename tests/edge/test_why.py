"""Whoever asks why gets the movement that did it, and changes nothing by asking."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.__main__ import app
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.config import Config
from talaria_edge.features import channels
from talaria_edge.gait import EventKind, GaitClass
from talaria_edge.heard_session import hear
from talaria_edge.hearing import HeardStride, Listener, Span
from talaria_edge.kinematics import ANGLES
from talaria_edge.model import read_spec
from talaria_edge.occlusion import Part
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.profile import UserProfile, save_profile
from talaria_edge.spec import METADATA_KEY, Familiarity, Head, ModelSpec
from talaria_edge.why import why_session, why_stride
from talaria_edge.why_words import named, remarks, sentence

NAMES = [channel.name for channel in channels()]
CLASSES = Head(name="gait_class", columns=("walking", "stiff_knee"))
CONTACT = Head(name="contact", columns=("r", "l"))
NOVELTY = Head(name="novelty", columns=("novelty",))


class Planted:
    """A network that hears a stiff knee in the movement of one channel, and novelty in that of another."""

    def __init__(self, spec: ModelSpec, heard: str, strange: str = "calcn_r.acc_y") -> None:
        familiar = Familiarity(limit=3.0, protocol="made up")
        self.spec = spec.model_copy(
            update={"heads": (CONTACT, CLASSES, NOVELTY), "familiarity": familiar}
        )
        self._columns = [NAMES.index(heard), NAMES.index(strange)]
        self.novelty_gain, self.keeps = 0.0, 0.9
        self.reset()

    def reset(self) -> None:
        self._memory = np.zeros(5, np.float32)  # ticks, then each channel's last value and energy

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {"memory": self._memory.copy()}

    @state.setter
    def state(self, value: dict[str, np.ndarray]) -> None:
        self._memory = value["memory"].copy()

    def step(self, x: np.ndarray, /) -> np.ndarray:
        before = self._memory
        ticks, now = before[0] + 1, x[self._columns]
        energy = self.keeps * before[3:5] + (now - before[1:3]) ** 2
        self._memory = np.array([ticks, *now, *energy], np.float32)
        phases = (ticks % 110, (ticks + 55) % 110)
        knee = 0.5 * (1 - math.cos(2 * math.pi * phases[0] / 110))
        down = [5.0 if phase < 66 else -5.0 for phase in phases]
        strange = 1.0 + self.novelty_gain * energy[1]
        return np.array([*[knee] * len(ANGLES), *down, 0.0, 0.1 + energy[0], strange], np.float32)


@pytest.fixture
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


def listen(
    model: Planted,
    calibration: Calibration,
    ticks: list[Tick],
    usual: dict[str, float] | None = None,
) -> HeardStride:
    listener = Listener(model, calibration, 100.0, usual, lambda span: span.number == 8)
    for tick in ticks[:600]:
        listener.step(tick)
    assert listener.kept is not None
    return listener.kept


def falls(parts: tuple[Part, ...]) -> dict[str, float]:
    return {part.name: part.fall for part in parts if part.fall != 0.0}


@pytest.mark.parametrize("heard", ["femur_r.gyr_z", "calcn_l.acc_x"])
def test_a_class_heard_in_one_channel_is_explained_by_that_channel_alone(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick], heard: str
) -> None:
    model = Planted(spec, heard)
    why = why_stride(model, listen(model, upright, walk_ticks), None, 20)
    vector = heard.rpartition("_")[0]
    (share,) = [part.share for part in why.parts if part.name == vector]
    assert share == 1.0
    assert set(falls(why.parts)) == {vector}
    assert set(falls(why.channels)) == {heard}
    assert falls(why.parts)[vector] == falls(why.channels)[heard]
    assert why.lead_held == pytest.approx(0.1, abs=1e-3)  # what is said of anybody
    assert why.lead > 0.2
    assert sentence(why) == f"stiff_knee, because of the {named(vector)} (100%)."


def test_what_the_network_remembers_of_the_stride_before_is_taken_out_with_it(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Planted(spec, "femur_r.gyr_z")
    model.keeps = 0.97
    stride = listen(model, upright, walk_ticks)
    assert stride.lead_in == len(stride.x) - stride.lead_in == 110
    why = why_stride(model, stride, None, 20)
    assert why.lead_held - 0.1 < 0.03 * (why.lead - 0.1)
    model.state = dict(stride.memory)
    for x in stride.x[: stride.lead_in]:
        model.step(x)
    short = replace(stride, x=stride.x[stride.lead_in :], lead_in=0, memory=model.state)
    alone = why_stride(model, short, None, 20)
    assert alone.lead == why.lead
    assert alone.lead_held - 0.1 > 0.2 * (why.lead - 0.1)


class Posture(Planted):
    """Another, that hears a stiff knee in the level of its channel."""

    def step(self, x: np.ndarray, /) -> np.ndarray:
        y = super().step(x)
        y[-2] = 2.0 * x[self._columns[0]]
        return y


def test_posture_is_left_as_it_is(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Posture(spec, "femur_r.up_x")
    why = why_stride(model, listen(model, upright, walk_ticks), None, 20)
    assert why.lead > 1.0
    assert why.lead_held == pytest.approx(why.lead, rel=0.05)  # two strides' mean for one's


def test_a_leg_that_takes_over_the_other_s_movement_takes_over_what_was_heard_in_it(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    lame = [replace(tick, gyr_rads=tick.gyr_rads.copy()) for tick in walk_ticks[:600]]
    for tick in lame:
        tick.gyr_rads[LEG_SLOTS.index("femur_l")] = 0.0
    model = Planted(spec, "femur_r.gyr_z")
    why = why_stride(model, listen(model, upright, lame), None, 20)
    right, left = why.legs
    assert (right.name, left.name) == ("r", "l")
    assert right.fall == pytest.approx(why.lead - 0.1, abs=1e-3)
    assert left.fall == 0.0
    told = [text for text in remarks(why) if text.startswith("Had the right leg moved as the left")]
    assert told == [
        "Had the right leg moved as the left did half a stride earlier, 0.10 of the lead would be left."
    ]


def test_the_lead_is_the_one_the_verdict_was_made_of(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Planted(spec, "femur_r.gyr_y")
    stride = listen(model, upright, walk_ticks)
    why = why_stride(model, stride, None, 20)
    assert stride.gait_class is GaitClass.STIFF_KNEE
    assert 0.5 < stride.confidence < 0.99
    assert 1.0 / (1.0 + math.exp(-why.lead)) == pytest.approx(stride.confidence, abs=1e-9)


def test_asking_changes_nothing_of_what_comes_after(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    plain = Pipeline(Planted(spec, "femur_r.gyr_z"), upright, 100.0)
    ticks = walk_ticks[:700]
    expected = [plain.step(tick) for tick in ticks]
    model = Planted(spec, "femur_r.gyr_z")
    listener = Listener(model, upright, 100.0, None, lambda span: True)
    seen = []
    for i, tick in enumerate(ticks):
        seen.append(listener.step(tick))
        if i == 600:
            assert listener.kept is not None
            before = model.state
            why_stride(model, listener.kept, None, 20)
            np.testing.assert_array_equal(model.state["memory"], before["memory"])
    assert seen == expected


def away(tick: Tick, slot: str) -> Tick:
    i = tick.slots.index(slot)
    status = tuple(SlotStatus.GONE if k == i else how for k, how in enumerate(tick.status))
    return replace(tick, status=status)


def test_a_sensor_that_was_not_there_is_called_absent_and_not_irrelevant(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Planted(spec, "femur_r.gyr_z")
    stride = listen(model, upright, [away(tick, "calcn_l") for tick in walk_ticks])
    why = why_stride(model, stride, None, 20)
    absent = {part.name for part in why.parts if part.absent}
    assert absent == {"calcn_l.acc", "calcn_l.gyr", "calcn_l.up"}
    assert set(falls(why.parts)) - absent == {"femur_r.gyr"}
    assert why.legs == ()
    assert "No data in this stride from the left foot." in remarks(why)


def test_a_sensor_that_came_back_within_the_stride_is_held_only_where_it_was_there(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Planted(spec, "femur_r.gyr_z")
    start, stop = (round(100 * t) for t in span_s(listen(model, upright, walk_ticks)))
    ticks = [
        away(tick, "calcn_l") if start + 30 <= i < start + 40 else tick
        for i, tick in enumerate(walk_ticks)
    ]
    quiet = Planted(spec, "calcn_l.present")  # whose going and coming must outlive the holding
    why = why_stride(quiet, listen(quiet, upright, ticks), None, 20)
    assert why.lead > 0.1 + 1.0 / (stop - start)
    assert falls(why.parts) == {}
    assert "no movement of any one sensor speaks for it" in sentence(why)


def span_s(stride: HeardStride) -> tuple[float, float]:
    return stride.span.start_s, stride.span.end_s


def test_knees_that_overrule_the_network_are_named_with_their_degrees(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model, usual = Planted(spec, "femur_r.gyr_z"), {"r": 1.0, "l": 1.02}
    why = why_stride(model, listen(model, upright, walk_ticks, usual), usual, 20)
    assert (why.gait_class, why.said) == (GaitClass.WALKING, GaitClass.STIFF_KNEE)
    assert sentence(why) == (
        "walking, because even the left knee moved 57° where 58° is usual (98%), and a stiff one "
        "moves less than 85%."
    )
    assert "The network alone favoured stiff_knee over walking" in remarks(why)[0]
    assert "right thigh's angular rate (100%)" in remarks(why)[0]


def test_a_stride_like_none_known_is_explained_by_its_novelty(
    spec: ModelSpec, upright: Calibration, walk_ticks: list[Tick]
) -> None:
    model = Planted(spec, "femur_r.gyr_z", strange="calcn_r.acc_y")
    model.novelty_gain = 1.0
    why = why_stride(model, listen(model, upright, walk_ticks), None, 20)
    assert why.gait_class is GaitClass.UNKNOWN
    assert why.novelty > why.limit == 3.0
    least = min(why.parts, key=lambda part: part.novelty)
    assert least.name == "calcn_r.acc"
    assert sentence(why) == (
        f"unknown, because its novelty of {why.novelty:.2f} is above 3.00, beyond which a stride is "
        "unlike those the model learned from; the right foot's specific force held still lowers it "
        f"most, to {least.novelty:.2f}."
    )


def write_listener(path: Path, spec: ModelSpec, heard: str) -> Path:
    """Export a network whose stiff-knee column is the leaky sum of one channel's squares."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    told = spec.model_copy(
        update={
            "model_id": "listener",
            "heads": (CLASSES,),
            "states": (spec.states[0].model_copy(update={"shape": (1, 1)}),),
            "parity": None,
        }
    )
    pick = np.zeros((len(NAMES), 1), np.float32)
    pick[NAMES.index(heard)] = 1.0
    out = np.zeros((1, told.width), np.float32)
    out[0] = 1e-3  # knees that move at all
    out[0, -1] = 0.1
    shapes = {"x": len(NAMES), "h": 1, "y": told.width, "h_out": 1}
    info = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
        for name, width in shapes.items()
    }
    nodes = [
        ("MatMul", ["x", "pick"], "one"),
        ("Mul", ["one", "one"], "square"),
        ("Mul", ["h", "keep"], "kept"),
        ("Add", ["square", "kept"], "h_out"),
        ("MatMul", ["h_out", "out"], "y"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, takes, [gives]) for kind, takes, gives in nodes],
        "listener",
        [info["x"], info["h"]],
        [info["y"], info["h_out"]],
        [
            numpy_helper.from_array(pick, "pick"),
            numpy_helper.from_array(np.full((1, 1), 0.8, np.float32), "keep"),
            numpy_helper.from_array(out, "out"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {METADATA_KEY: told.model_dump_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def listener_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("listener") / "model.onnx"
    return write_listener(path, read_spec(tiny_model), "calcn_l.gyr_z")


def keep(
    out: Path, model: Path, t_s: np.ndarray, acc: np.ndarray, gyr: np.ndarray, user: str | None
) -> tuple[Path, list[GaitState]]:
    """Record a session of these readings; its knees are made up, so nothing is compared with them."""
    states: list[GaitState] = []
    with SessionLogWriter(out / "raw.mcap") as log:
        for sent_s, data in schedule_frames(LEG_SLOTS, t_s, acc, gyr, 100.0):
            log.write(Chunk(sent_s, data))
    settings = Config(
        source=f"replay:{out / 'raw.mcap'}",
        model=model,
        user=user,
        usual_gait="stiff_knee",
        record_dir=out / "sessions",
        display=False,
    )
    run_session(settings, states.append)
    (folder,) = (out / "sessions").iterdir()
    return folder, states


@pytest.fixture(scope="module")
def anna(walk: SimulatedWalk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated walker, calibrated to perfection."""

    def seat(slot: str) -> SlotCalibration:
        segment = Rotation.from_quat(walk.q_world_segment[slot][0], scalar_first=True)
        sensor = Rotation.from_quat(walk.q_world_sensor[slot][0], scalar_first=True)
        return SlotCalibration(slot, (segment.inv() * sensor).as_matrix(), np.zeros(3))

    seats = {slot: seat(slot) for slot in LEG_SLOTS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALARIA_HOME", str(tmp_path_factory.mktemp("home")))
        save_profile(UserProfile("anna", Calibration(seats)))
        yield "anna"


@pytest.fixture(scope="module")
def recorded(
    listener_model: Path, walk: SimulatedWalk, anna: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Seven seconds, half of them walked."""
    rows = slice(0, 700)
    readings = walk.t_s[rows], walk.acc_ms2[rows], walk.gyr_rads[rows]
    return keep(tmp_path_factory.mktemp("walk"), listener_model, *readings, anna)[0]


def test_the_strides_of_a_session_that_calibrated_itself_are_those_it_judged(
    listener_model: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    readings = walk.t_s, walk.acc_ms2, walk.gyr_rads
    folder, states = keep(tmp_path, listener_model, *readings, None)
    spans: list[Span] = []
    heard = hear(folder, None, lambda span: spans.append(span) is None)
    assert heard.states == len(states)
    assert heard.spans == spans
    assert len(spans) >= 2
    begun = states[0].t_s
    ends = {state.t_s - begun: state for state in states}
    for span in spans:
        events = ends[span.end_s].events
        assert (span.side, EventKind.INITIAL_CONTACT) in [(e.side, e.kind) for e in events]
    assert heard.kept is not None
    last = ends[spans[-1].end_s]
    said = (heard.kept.gait_class, heard.kept.confidence)
    assert said == (last.gait_class, last.class_confidence)


def test_an_exported_model_is_asked_about_the_stride_one_names(recorded: Path) -> None:
    third = why_session(recorded, stride=3)
    assert third.span.number == 3
    assert set(falls(third.parts)) == {"calcn_l.gyr"}
    at = why_session(recorded, at_s=third.span.end_s - 0.01)
    assert at.span.start_s <= third.span.end_s - 0.01 < at.span.end_s
    assert why_session(recorded).span.number == third.strides


def test_the_command_says_it_in_words_and_as_json(recorded: Path) -> None:
    result = CliRunner().invoke(app, ["why", str(recorded), "--stride", "2"])
    assert result.exit_code == 0, result.output
    assert "stiff_knee, because of the left foot's angular rate (100%)." in result.stdout
    assert "all movement" in result.stdout
    told = json.loads(CliRunner().invoke(app, ["why", str(recorded), "--json"]).stdout)
    assert told["gait_class"] == "stiff_knee"
    assert {part["name"] for part in told["channels"] if part["fall"]} == {"calcn_l.gyr_z"}
    assert told["limit"] is None  # the model does not say


def complaint(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["why", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("talaria: ")
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def test_what_cannot_be_asked_is_said_in_one_sentence(
    recorded: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = str(recorded)
    assert "has no stride 99" in complaint(folder, "--stride", "99")
    assert "holds the instant 500 s" in complaint(folder, "--at", "500")
    assert "both given" in complaint(folder, "--stride", "1", "--at", "2")
    assert "no head for the class of gait" in complaint(folder, "--model", str(tiny_model))
    assert "holds no session" in complaint(str(tmp_path))


def test_of_who_stood_still_there_is_no_stride_to_ask_about(
    listener_model: Path, anna: str, tmp_path: Path
) -> None:
    rng, shape = np.random.default_rng(1), (400, len(LEG_SLOTS), 3)
    acc = rng.normal([0.0, 9.81, 0.0], 0.02, shape)
    gyr = rng.normal(0.0, 0.002, shape)
    folder, _ = keep(tmp_path, listener_model, np.arange(400) / 100.0, acc, gyr, anna)
    said = complaint(str(folder))
    assert "holds no whole stride" in said
    assert "standing still" in said
