from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, simulate_walk
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.features import FEATURE_VERSION, channels
from talaria_edge.kinematics import ANGLES
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.spec import METADATA_KEY, Head, Intervals, ModelSpec, Output
from talaria_edge.stances import FORCE_AXES

MakeModel = Callable[..., Path]
HIDDEN = 5


def _weights(inputs: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    w_in = rng.normal(0, 0.05, (inputs, HIDDEN)).astype(np.float32)
    w_rec = rng.normal(0, 0.3, (HIDDEN, HIDDEN)).astype(np.float32)
    w_out = rng.normal(0, 0.2, (HIDDEN, width)).astype(np.float32)
    return w_in, w_rec, w_out


def reference_outputs(x: np.ndarray, width: int = len(ANGLES)) -> np.ndarray:
    """What the tiny network must give: h = tanh(x W + h U), y = h V, in plain numpy."""
    w_in, w_rec, w_out = _weights(x.shape[1], width)
    h = np.zeros((1, HIDDEN), np.float32)
    rows = []
    for row in x:
        h = np.tanh(row[None] @ w_in + h @ w_rec)
        rows.append((h @ w_out)[0])
    return np.array(rows)


def write_model(
    path: Path,
    slots: Sequence[str] = LEG_SLOTS,
    rate_hz: float = 100.0,
    *,
    parity_error_rad: float = 0.0,
    graph_inputs: int | None = None,
    **spec_changes: Any,
) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = channels(slots)
    width = len(names) if graph_inputs is None else graph_inputs
    columns = len(ANGLES)
    if "outputs" in spec_changes:
        heads = sum(len(head.columns) for head in spec_changes["heads"])
        columns = len(spec_changes["outputs"]) + heads
    w_in, w_rec, w_out = _weights(width, columns)
    x = np.random.default_rng(3).normal(size=(6, len(names))).astype(np.float32)
    y = reference_outputs(x, columns)[-1].astype(float) + parity_error_rad
    fields: dict[str, Any] = {
        "model_id": "tiny",
        "slots": tuple(slots),
        "rate_hz": rate_hz,
        "feature_version": FEATURE_VERSION,
        "channels": [channel.model_dump() for channel in names],
        "outputs": [
            {"name": n, "sign": "flexion", "kind": "inferred", "certainty": "normal"}
            for n in ANGLES
        ],
        "states": [{"input": "h", "output": "h_out", "shape": (1, HIDDEN)}],
        "calibration": "none",
        "trained_on": "nothing",
        "parity": {"x": x.tolist(), "y": y.tolist()},
    }
    spec = ModelSpec.model_validate(fields | spec_changes)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w_in"], ["a"]),
            helper.make_node("MatMul", ["h", "w_rec"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Tanh", ["c"], ["h_out"]),
            helper.make_node("MatMul", ["h_out", "w_out"], ["y"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, HIDDEN]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns]),
            helper.make_tensor_value_info("h_out", TensorProto.FLOAT, [1, HIDDEN]),
        ],
        [
            numpy_helper.from_array(w_in, "w_in"),
            numpy_helper.from_array(w_rec, "w_rec"),
            numpy_helper.from_array(w_out, "w_out"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {METADATA_KEY: spec.model_dump_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    return write_model


@pytest.fixture(scope="session")
def tiny_outputs() -> Callable[[np.ndarray], np.ndarray]:
    return reference_outputs


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


FORCES = tuple(f"grf_{axis}_{side}" for side in "rl" for axis in FORCE_AXES)


def force_spec_fields() -> dict[str, Any]:
    """What a force model's spec says instead of an angle model's."""
    return {
        "model_id": "tiny-forces",
        "outputs": [
            Output(
                name=name, unit="BW", sign="+", kind="inferred", certainty="normal", delay_s=0.03
            )
            for name in FORCES
        ],
        "heads": (
            Head(name="spread", columns=tuple(f"spread_{name}" for name in FORCES), delay_s=0.03),
            Head(name="contact", columns=("contact_r", "contact_l"), delay_s=0.03),
        ),
        "intervals": Intervals(level=0.9, factor=dict.fromkeys(FORCES, 0.05), protocol="made up"),
    }


@pytest.fixture(scope="session")
def tiny_forces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A force model of made-up weights, in a folder of its own."""
    path = tmp_path_factory.mktemp("forces") / "model.onnx"
    return write_model(path, **force_spec_fields())


class Presser:
    """A force network of tests: gives at each step the next row of a script, heads included."""

    def __init__(self, rows: Sequence[Sequence[float]], **changes: Any) -> None:
        fields = force_spec_fields() | {
            "slots": LEG_SLOTS,
            "rate_hz": 100.0,
            "feature_version": FEATURE_VERSION,
            "channels": channels(LEG_SLOTS),
            "states": [{"input": "n", "output": "n_out", "shape": (1,)}],
            "calibration": "none",
            "trained_on": "nothing",
        }
        self.spec = ModelSpec.model_validate(fields | changes)
        self._rows = [np.asarray(row, np.float32) for row in rows]
        self._at = 0

    def step(self, x: np.ndarray) -> np.ndarray:
        self._at += 1
        return self._rows[min(self._at, len(self._rows)) - 1]

    def reset(self) -> None:
        pass  # the script goes on: a reset must not be mistaken for a fresh walk

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {"n": np.array([self._at], np.float32)}

    @state.setter
    def state(self, value: dict[str, np.ndarray]) -> None:
        self._at = int(value["n"][0])


@pytest.fixture(scope="session")
def presser() -> Callable[..., Presser]:
    return Presser


@pytest.fixture(scope="session")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=4, seconds=16.0)


@pytest.fixture
def upright() -> Calibration:
    """Sensors mounted exactly along their segments, without bias."""
    return Calibration({slot: SlotCalibration(slot, np.eye(3), np.zeros(3)) for slot in LEG_SLOTS})


@pytest.fixture
def walk_ticks(walk: SimulatedWalk) -> list[Tick]:
    count = len(walk.slots)
    return [
        Tick(
            i,
            float(walk.t_s[i]),
            walk.slots,
            walk.acc_ms2[i],
            walk.gyr_rads[i],
            (SlotStatus.MEASURED,) * count,
            (0.0,) * count,
            (0.0,) * count,
            (SlotFlag.NONE,) * count,
        )
        for i in range(len(walk.t_s))
    ]
