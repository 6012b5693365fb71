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
from talaria_edge.spec import METADATA_KEY, ModelSpec

MakeModel = Callable[..., Path]
HIDDEN = 5


def _weights(inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    w_in = rng.normal(0, 0.05, (inputs, HIDDEN)).astype(np.float32)
    w_rec = rng.normal(0, 0.3, (HIDDEN, HIDDEN)).astype(np.float32)
    w_out = rng.normal(0, 0.2, (HIDDEN, len(ANGLES))).astype(np.float32)
    return w_in, w_rec, w_out


def reference_outputs(x: np.ndarray) -> np.ndarray:
    """What the tiny network must give: h = tanh(x W + h U), y = h V, in plain numpy."""
    w_in, w_rec, w_out = _weights(x.shape[1])
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
    w_in, w_rec, w_out = _weights(width)
    x = np.random.default_rng(3).normal(size=(6, len(names))).astype(np.float32)
    y = reference_outputs(x)[-1].astype(float) + parity_error_rad
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
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, len(ANGLES)]),
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
