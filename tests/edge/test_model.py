from __future__ import annotations

import numpy as np
import pytest

from talaria_bridge.errors import ModelContractError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import FEATURE_VERSION, channels
from talaria_edge.model import StreamingModel, read_spec

WIDTH = len(channels(LEG_SLOTS))


def load(path, **changes):
    return StreamingModel.load(path, **({"slots": LEG_SLOTS, "rate_hz": 100.0} | changes))


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(40, WIDTH)).astype(np.float32)


def test_steps_agree_with_the_network_written_in_numpy(tiny_model, inputs, tiny_outputs):
    model = load(tiny_model)
    y = np.array([model.step(x) for x in inputs])
    assert y.dtype == np.float32
    assert np.allclose(y, tiny_outputs(inputs), atol=1e-5)


def test_a_folder_stands_for_the_model_in_it(tiny_model):
    assert load(tiny_model.parent).path == tiny_model


def test_resumed_equals_continuous(tiny_model, inputs):
    model = load(tiny_model)
    whole = [model.step(x) for x in inputs]
    first = load(tiny_model)
    for x in inputs[:17]:
        first.step(x)
    saved = first.state
    first.step(inputs[0])  # what happens after saving must not reach the saved state
    second = load(tiny_model)
    second.state = saved
    assert np.array_equal([second.step(x) for x in inputs[17:]], whole[17:])


def test_what_a_step_returned_is_not_touched_by_the_next(tiny_model, inputs):
    model = load(tiny_model)
    first = model.step(inputs[0])
    kept = first.copy()
    model.step(inputs[1])
    assert np.array_equal(first, kept)


def test_two_models_of_one_file_share_no_memory(tiny_model, inputs):
    whole, other = load(tiny_model), load(tiny_model)
    alone = [whole.step(x) for x in inputs]
    whole.reset()
    between = []
    for x in inputs:
        between.append(whole.step(x))
        other.step(-x)
    assert np.array_equal(between, alone)


def test_reset_equals_new(tiny_model, inputs):
    model = load(tiny_model)
    fresh = [model.step(x) for x in inputs]
    model.reset()
    assert np.array_equal([model.step(x) for x in inputs], fresh)


def test_loading_leaves_no_trace_of_the_parity_check(tiny_model):
    assert all((value == 0).all() for value in load(tiny_model).state.values())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slots": ("femur_r", "calcn_r")}, "femur_r, calcn_r"),
        ({"slots": LEG_SLOTS[::-1]}, "in that order"),
        ({"rate_hz": 200.0}, "set rate_hz = 100"),
    ],
)
def test_a_session_the_model_was_not_made_for_is_refused(tiny_model, changes, says):
    with pytest.raises(ModelContractError, match=says):
        load(tiny_model, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"feature_version": FEATURE_VERSION + 1}, "features"),
        ({"channels": ({"name": "odd", "unit": "1", "frame": "?"},) * WIDTH}, "odd instead of"),
        ({"channels": ({"name": "odd", "unit": "1", "frame": "?"},)}, "channels"),
        ({"states": ()}, "unexpected tensor h"),
        ({"states": ({"input": "h", "output": "h_out", "shape": (1, 9)},)}, r"\[1, 9\]"),
        ({"states": ({"input": "g", "output": "g_out", "shape": (1, 5)},)}, "no tensor g"),
        ({"graph_inputs": WIDTH - 1}, "contradicts its own spec"),
        ({"parity_error_rad": 0.01}, "does not compute here"),
        ({"parity": {"x": [[1.0]], "y": [0.0]}}, "parity vector"),
        ({"parity": {"x": [[0.0] * WIDTH], "y": [0.0]}}, "does not compute here"),
    ],
)
def test_a_model_that_contradicts_this_runtime_is_refused(tmp_path, make_model, changes, says):
    path = make_model(tmp_path / "model.onnx", **changes)
    with pytest.raises(ModelContractError, match=says) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"these are not the weights you are looking for")
    with pytest.raises(ModelContractError, match="cannot be opened as an ONNX model"):
        load(tmp_path)


def test_a_missing_model_says_what_to_give(tmp_path):
    with pytest.raises(ModelContractError, match="--model"):
        load(tmp_path)
    with pytest.raises(ModelContractError, match="--model"):
        load(tmp_path / "nowhere")


def test_an_onnx_file_without_a_spec_is_refused(tmp_path, tiny_model):
    import onnx

    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelContractError, match="no Talaria model spec"):
        load(tmp_path)


def test_the_spec_can_be_read_without_a_session(tiny_model):
    assert read_spec(tiny_model.parent).model_id == "tiny"


def test_the_checksum_is_the_files_own(tiny_model):
    import hashlib

    assert load(tiny_model).sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
