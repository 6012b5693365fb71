"""One onnxruntime step per tick, with the network's memory carried in the open.

The only file that knows onnxruntime. A model is believed only after it has shown that it fits: its
spec names the slots, the rate and the features; its graph has the inputs and outputs the spec says;
and its parity vector gives here what it gave in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError
from talaria_edge.features import FEATURE_VERSION, channels
from talaria_edge.spec import Gives, ModelSpec

if TYPE_CHECKING:
    import onnxruntime as ort

MODEL_FILE = "model.onnx"


class StreamingModel:
    """A recurrent network advanced by one tick at a time.

    Build one with `StreamingModel.load`.

    Attributes
    ----------
    spec : ModelSpec
        What the file says about itself.
    path : Path
        The ``.onnx`` file.
    output_names : tuple of str
        Order of the values `step` returns.
    """

    def __init__(self, session: ort.InferenceSession, spec: ModelSpec, path: Path) -> None:
        self.spec = spec
        self.path = path
        self.output_names = tuple(output.name for output in spec.outputs)
        self._session = session
        self._channels = len(spec.channels)
        self._x = np.zeros((1, self._channels), np.float32)
        self._y = np.zeros((1, spec.width), np.float32)
        # Bound once, to arrays that take turns: to hand them over anew takes a third of a step.
        here, there = ([np.zeros(s.shape, np.float32) for s in spec.states] for _ in range(2))
        self._memories = (here, there)
        self._steps = (self._bound(here, there), self._bound(there, here))
        self._turn = 0

    @classmethod
    def load(
        cls, path: Path | str, *, slots: Sequence[str], rate_hz: float, gives: Gives = "angles"
    ) -> StreamingModel:
        """Open a model and make sure that it fits this session.

        Parameters
        ----------
        path : path
            The ``.onnx`` file, or the folder that holds ``model.onnx``.
        slots : sequence of str
            The worn sensors, in the order of the ticks.
        rate_hz : float
            Rate of the ticks.
        gives : {"angles", "forces"}
            What it is wanted for.

        Raises
        ------
        ModelContractError
            If the file is missing, is not ONNX, carries no spec, gives something else, was made for
            other slots, another rate or other features, has other inputs or outputs than it says, or
            computes something else here than it did where it was trained.
        """
        file = model_file(path)
        session = open_session(file)
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        spec = ModelSpec.from_metadata(metadata, str(file))
        _check_purpose(spec, file, gives)
        _check_session(spec, file, tuple(slots), rate_hz)
        _check_features(spec, file)
        _check_graph(session, spec, file)
        model = cls(session, spec, file)
        model._check_parity()
        return model

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Advance by one tick.

        Parameters
        ----------
        x : (C,) array
            The features of this tick, in the order of ``spec.channels``.

        Returns
        -------
        (W,) array
            The outputs in the spec's units, in the order of `output_names`, then its heads.
        """
        self._x[0] = x
        self._session.run_with_iobinding(self._steps[self._turn])
        self._turn = 1 - self._turn
        y: NDArray[np.float32] = self._y[0].copy()
        return y

    def reset(self) -> None:
        """Forget everything: zeros in every state, as at the start of training."""
        for memory in self._memories[self._turn]:
            memory.fill(0.0)

    @property
    def state(self) -> dict[str, NDArray[np.float32]]:
        """The network's memory by input name; assign it back to resume."""
        now = zip(self.spec.states, self._memories[self._turn], strict=True)
        return {state.input: memory.copy() for state, memory in now}

    @state.setter
    def state(self, value: Mapping[str, NDArray[np.float32]]) -> None:
        for state, memory in zip(self.spec.states, self._memories[self._turn], strict=True):
            memory[:] = np.reshape(value[state.input], state.shape)

    def _bound(
        self, before: Sequence[NDArray[np.float32]], after: Sequence[NDArray[np.float32]]
    ) -> ort.IOBinding:
        """Prepare a step that reads one set of memories and writes the other."""
        states = self.spec.states
        read = {"x": self._x} | {s.input: m for s, m in zip(states, before, strict=True)}
        written = {"y": self._y} | {s.output: m for s, m in zip(states, after, strict=True)}
        binding = self._session.io_binding()
        for name, array in read.items():
            binding.bind_ortvalue_input(name, _in_place(array))
        for name, array in written.items():
            binding.bind_ortvalue_output(name, _in_place(array))
        return binding

    @property
    def sha256(self) -> str:
        """Checksum of the file, so that a recording can name the model it was made with."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def _check_parity(self) -> None:
        parity = self.spec.parity
        if parity is None:
            return
        if any(len(row) != self._channels for row in parity.x) or not parity.x:
            raise ModelContractError(
                f"{self.path} carries a parity vector that does not fit its own "
                f"{self._channels} channels: export it again with 'talaria-train export'."
            )
        y = [self.step(np.array(row, np.float32)) for row in parity.x][-1]
        self.reset()
        worst = float(np.max(np.abs(y - np.array(parity.y)))) if len(y) == len(parity.y) else np.inf
        if not worst <= parity.tolerance:
            raise ModelContractError(
                f"{self.path} does not compute here what it computed in training (off by "
                f"{worst:.2g}, allowed {parity.tolerance:.2g}), so the file is damaged or "
                "onnxruntime is: copy the model again and compare it with its SHA256SUMS."
            )


def model_file(path: Path | str) -> Path:
    """Return the ``.onnx`` file that ``path``, a file or a model's folder, stands for.

    Raises
    ------
    ModelContractError
        If there is none.
    """
    file = Path(path)
    if file.is_dir():
        file = file / MODEL_FILE
    if not file.is_file():
        raise ModelContractError(
            f"There is no model at {file}: give --model or --kinetics a folder that holds {MODEL_FILE}, or "
            "the .onnx file itself."
        )
    return file


def read_spec(path: Path | str) -> ModelSpec:
    """Read a model's spec without asking whether it fits anything.

    Raises
    ------
    ModelContractError
        If the file is missing, is not ONNX, or carries no readable spec.
    """
    file = model_file(path)
    return ModelSpec.from_metadata(
        open_session(file).get_modelmeta().custom_metadata_map, str(file)
    )


def open_session(file: Path, made_by: str = "talaria-train export") -> ort.InferenceSession:
    """Open any ONNX file, with one thread.

    Parameters
    ----------
    file : Path
    made_by : str
        Command that writes such files, for the message.

    Raises
    ------
    ModelContractError
        If onnxruntime cannot open it.
    """
    # On a processor its wheel was not built for this kills the process: 'talaria doctor' must be able
    # to say so first.
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    # One small step per tick: more threads, or threads that spin, only take from the radio.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(
            str(file), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as err:  # noqa: BLE001  (onnxruntime's errors share no root but Exception)
        reason = " ".join(str(err).split())[:160]
        raise ModelContractError(
            f"{file} cannot be opened as an ONNX model ({reason}): copy it again, or export it "
            f"with '{made_by}'."
        ) from None


def _in_place(array: NDArray[np.float32]) -> ort.OrtValue:
    """Let onnxruntime use an array's own memory; on a processor it makes no copy of it."""
    import onnxruntime as ort  # noqa: PLC0415

    return ort.OrtValue.ortvalue_from_numpy(array)


def _check_purpose(spec: ModelSpec, file: Path, gives: Gives) -> None:
    if spec.gives == gives:
        return
    option = {"angles": "--model", "forces": "--kinetics"}
    raise ModelContractError(
        f"{file} gives {spec.gives} and was named where a model that gives {gives} belongs: name it "
        f"after {option[spec.gives]}, and after {option[gives]} another."
    )


def _check_session(spec: ModelSpec, file: Path, slots: tuple[str, ...], rate_hz: float) -> None:
    if spec.slots != slots:
        raise ModelContractError(
            f"{file} was trained for sensors on {', '.join(spec.slots)} but this session has "
            f"{', '.join(slots)}: wear and list those sensors in that order, or choose a model "
            "made for yours."
        )
    if spec.rate_hz != rate_hz:
        raise ModelContractError(
            f"{file} was trained at {spec.rate_hz:g} Hz but this session runs at {rate_hz:g} Hz: "
            f"set rate_hz = {spec.rate_hz:g}, or choose a model made for {rate_hz:g} Hz."
        )


def _check_features(spec: ModelSpec, file: Path) -> None:
    if spec.feature_version != FEATURE_VERSION:
        raise ModelContractError(
            f"{file} expects version {spec.feature_version} of the input features but this "
            f"runtime computes version {FEATURE_VERSION}: install the Talaria version the model "
            "was made with, or train it again."
        )
    ours = channels(spec.slots)
    if spec.channels != tuple(ours):
        pairs = zip(spec.channels, ours, strict=False)
        odd = next((f"{a.name} instead of {b.name}" for a, b in pairs if a != b), None)
        odd = odd or f"{len(spec.channels)} instead of {len(ours)} channels"
        raise ModelContractError(
            f"{file} expects other input channels than this runtime computes ({odd}): export it "
            "again with this Talaria version."
        )


def _check_graph(session: ort.InferenceSession, spec: ModelSpec, file: Path) -> None:
    """Compare the graph's inputs and outputs, by name and shape, with what the spec promises."""
    has = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    wants: dict[str, list[int]] = {
        "x": [1, len(spec.channels)],
        "y": [1, spec.width],
        **{state.input: list(state.shape) for state in spec.states},
        **{state.output: list(state.shape) for state in spec.states},
    }
    problems = (_mismatch(name, has.get(name), wants.get(name)) for name in (*wants, *has))
    problem = next((text for text in problems if text), None)
    if problem is not None:
        raise ModelContractError(
            f"{file} has a graph that contradicts its own spec ({problem}): export it again with "
            "'talaria-train export'."
        )


def _mismatch(name: str, has: list[Any] | None, wants: list[int] | None) -> str | None:
    if has is None:
        return f"no tensor {name}"
    if wants is None:
        return f"unexpected tensor {name}"
    # A symbolic dimension (a string, or None) fits any size.
    fits = len(has) == len(wants) and all(
        not isinstance(dim, int) or dim == want for dim, want in zip(has, wants, strict=True)
    )
    return None if fits else f"{name} is {has}, not {wants}"
