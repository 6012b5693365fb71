"""What a released generative model says of itself, and what is checked before it is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from talaria_bridge.errors import ModelContractError
from talaria_edge.generate.motion import (
    CHANNELS,
    FORCES,
    NUMBERS,
    RATE_HZ,
    STYLES,
    UNITS,
    WINDOW,
    Conditions,
    columns,
)
from talaria_edge.generate.sampler import Asked, Denoise, Floats, Held
from talaria_edge.generate.schedule import STEPS
from talaria_edge.model import MODEL_FILE

SPEC_FILE = "spec.json"
SUMS_FILE = "SHA256SUMS"
FORCES_FILE = "forces.onnx"
"""A second graph, which a folder may lack: forces from kinematics."""
KINEMATICS = tuple(name for name in CHANNELS if name not in FORCES)
"""The channels that it is shown."""
INPUTS = ("x", "given", "known", "step", "numbers", "numbers_known", "style")
"""Of the graph, in the order of `Denoise`."""
OUTPUT = "x0"
FORCE_INPUTS = ("given", "known", "numbers", "numbers_known", "style")
"""Of the second graph, in the order of `SayForces`."""
FORCE_OUTPUT = "forces"
PARITY_STEPS = (40, 700)
_PARITY_SAMPLES = (0, 50, WINDOW - 1)
_COPY = "copy the model's folder again, or release it again with 'talaria-train generate train'"


class SayForces(Protocol):
    """Tells forces from kinematics; everything normalised."""

    def __call__(
        self,
        given: Floats,
        known: Floats,
        numbers: Floats,
        numbers_known: Floats,
        style: NDArray[np.int64],
        /,
    ) -> Floats:
        """Return forces, shape (B, WINDOW, len(FORCES)), for given and known (B, WINDOW, len(KINEMATICS))."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Means and standard deviations that windows and numbers are normalised by.

    Attributes
    ----------
    mean, std : ndarray of float32, shape (len(CHANNELS),)
    numbers_mean, numbers_std : ndarray of float32, shape (len(NUMBERS),)
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    numbers_mean: NDArray[np.float32]
    numbers_std: NDArray[np.float32]

    def normalised(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return values (..., len(CHANNELS)) in standard deviations, NaN where they are."""
        return ((values - self.mean) / self.std).astype(np.float32)

    def restored(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return normalised values in the channels' units."""
        return (values * self.std + self.mean).astype(np.float32)

    def asked(self, numbers: NDArray[np.floating], style: NDArray[np.integer]) -> Asked:
        """Put conditions as a denoiser takes them.

        Parameters
        ----------
        numbers : ndarray, shape (B, len(NUMBERS))
            NaN where not known.
        style : ndarray of int, shape (B,)
            Index into `STYLES`, -1 where not known.
        """
        known = np.isfinite(numbers)
        scaled = np.where(known, (numbers - self.numbers_mean) / self.numbers_std, 0.0)
        return Asked(
            scaled.astype(np.float32), known.astype(np.float32), style.astype(np.int64) + 1
        )

    def asked_of(self, conditions: Sequence[Conditions]) -> Asked:
        """Put one set of conditions per window as a denoiser takes them."""
        numbers = np.array([[getattr(one, name) for name in NUMBERS] for one in conditions])
        styles = [-1 if one.style is None else STYLES.index(one.style) for one in conditions]
        return self.asked(numbers.reshape(-1, len(NUMBERS)), np.array(styles, np.int64))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seen(_Strict):
    """How one of the people moved that a model was trained on: `NUMBERS`, None where not known."""

    style: str
    numbers: tuple[float | None, ...]


class _NetworkSpec(_Strict):
    """What windows are normalised by before a graph sees them, and how the graph is checked.

    ``parity`` is what torch gave for `parity_inputs`, at a few samples of each window, shape
    (windows, samples, what it gives).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    numbers_mean: tuple[float, ...]
    numbers_std: tuple[float, ...]
    widening: dict[str, float] = Field(
        default_factory=dict,
        description="of the intervals, by channel, from people held out",
    )
    parity: tuple[tuple[tuple[float, ...], ...], ...]
    tolerance: float = 1e-4

    @model_validator(mode="after")
    def _spread(self) -> _NetworkSpec:
        if not all(value > 0 for value in (*self.std, *self.numbers_std)):
            raise ValueError("a standard deviation is not positive")
        return self

    @property
    def scale(self) -> Scale:
        """What windows are normalised by."""
        return Scale(
            np.array(self.mean, np.float32),
            np.array(self.std, np.float32),
            np.array(self.numbers_mean, np.float32),
            np.array(self.numbers_std, np.float32),
        )


class ForceSpec(_NetworkSpec):
    """What a runtime must know of the second graph, `FORCES_FILE`."""


class GeneratorSpec(_NetworkSpec):
    """Everything a runtime must know to sample from a model, or to refuse it."""

    spec_version: Literal[1] = 1
    gives: Literal["windows of gait"] = "windows of gait"
    model_id: str
    rate_hz: float = Field(gt=0)
    window: int = Field(gt=0)
    channels: tuple[str, ...]
    units: tuple[str, ...]
    numbers: tuple[str, ...]
    styles: tuple[str, ...]
    schedule: Literal["cosine"] = "cosine"
    steps: int = STEPS
    trained_on: str = Field(description="data sets, licences, sources")
    people: tuple[str, ...] = Field(description="whose recordings it was trained on")
    never_seen: tuple[str, ...] = Field(description="what it knows nothing of")
    seen: tuple[Seen, ...] = Field(default=(), description="whom walkers are drawn after")
    forces: ForceSpec | None = Field(default=None, description=f"of {FORCES_FILE}, if it is there")

    @model_validator(mode="after")
    def _of_one_length(self) -> GeneratorSpec:
        of = {"": self} | ({} if self.forces is None else {"forces.": self.forces})
        pairs: list[tuple[str, Sequence[object], Sequence[str]]]
        pairs = [("units", self.units, self.channels)]
        for where, network in of.items():
            pairs += [
                (f"{where}mean", network.mean, self.channels),
                (f"{where}std", network.std, self.channels),
                (f"{where}numbers_mean", network.numbers_mean, self.numbers),
                (f"{where}numbers_std", network.numbers_std, self.numbers),
            ]
        for name, value, like in pairs:
            if len(value) != len(like):
                raise ValueError(f"{name} has {len(value)} entries and not {len(like)}")
        return self


def read_generator_spec(folder: Path) -> GeneratorSpec:
    """Read what a model says of itself, and refuse one made for other windows than this runtime's.

    Raises
    ------
    ModelContractError
    """
    file = folder / SPEC_FILE
    try:
        spec = GeneratorSpec.model_validate_json(file.read_bytes())
    except OSError:
        raise ModelContractError(
            f"There is no generative model in {folder} (no readable {SPEC_FILE}): give a folder that "
            "'talaria-train generate train' has written."
        ) from None
    except ValidationError as err:
        first = err.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "spec"
        raise ModelContractError(
            f"{file} is no spec that this runtime can read ({field}: {first['msg']}): use the Talaria "
            f"version that wrote it, or {_COPY}."
        ) from None
    ours = {
        "rate_hz": RATE_HZ,
        "window": WINDOW,
        "channels": CHANNELS,
        "units": tuple(UNITS[name] for name in CHANNELS),
        "numbers": NUMBERS,
        "styles": STYLES,
        "steps": STEPS,
    }
    other = next((name for name, value in ours.items() if getattr(spec, name) != value), None)
    if other is not None:
        raise ModelContractError(
            f"{folder} was made for windows with other {other} ({_short(getattr(spec, other))}) than this "
            f"runtime's ({_short(ours[other])}): use the Talaria version that wrote it, or train it again."
        )
    return spec


def check_sums(folder: Path, graphs: Sequence[str] = (MODEL_FILE,)) -> None:
    """Compare a model's files, the named graphs among them, with their checksums.

    Raises
    ------
    ModelContractError
        With the file that is missing, damaged or not listed.
    """
    sums = folder / SUMS_FILE
    try:
        listed = dict(line.split("  ", 1)[::-1] for line in sums.read_text("utf-8").splitlines())
    except (OSError, ValueError):
        raise ModelContractError(
            f"{sums} is missing or not a list of checksums, so the model beside it cannot be believed: {_COPY}."
        ) from None
    for name in sorted({*listed, SPEC_FILE, *graphs}):
        file = folder / name
        if not file.is_file():
            raise ModelContractError(f"{folder} lacks {name}, which {SUMS_FILE} names: {_COPY}.")
        if listed.get(name) != hashlib.sha256(file.read_bytes()).hexdigest():
            raise ModelContractError(
                f"{file} is not the file that {SUMS_FILE} speaks of, so it was damaged or changed: {_COPY}."
            )


def parity_inputs() -> tuple[NDArray[np.float32], Held, NDArray[np.int64], Asked]:
    """Make up noisy windows, what is held of them, their steps and what is asked of them."""
    count = len(PARITY_STEPS)
    shape = (count, WINDOW, len(CHANNELS))
    x = np.sin(0.7 * np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
    known = np.zeros(shape, np.float32)
    known[0, :, ::2] = 1.0
    numbers = np.linspace(-1.0, 1.0, count * len(NUMBERS)).reshape(count, -1).astype(np.float32)
    numbers_known = np.ones_like(numbers)
    numbers_known[1, 0] = numbers[1, 0] = 0.0
    asked = Asked(numbers, numbers_known, np.arange(count, dtype=np.int64))
    return x, Held(x[::-1] * known, known), np.array(PARITY_STEPS, np.int64), asked


def parity_of(denoise: Denoise) -> NDArray[np.float32]:
    """Return what a denoiser says of `parity_inputs`, at the few samples that a spec keeps."""
    x, held, step, asked = parity_inputs()
    said = denoise(x, held.given, held.known, step, asked.numbers, asked.numbers_known, asked.style)
    return said[:, list(_PARITY_SAMPLES)]


def force_parity_of(say: SayForces) -> NDArray[np.float32]:
    """Return what a network of forces says of the kinematics of `parity_inputs`, at those samples."""
    _, held, _, asked = parity_inputs()
    at = columns(KINEMATICS)
    said = say(
        held.given[..., at],
        held.known[..., at],
        asked.numbers,
        asked.numbers_known,
        asked.style,
    )
    return said[:, list(_PARITY_SAMPLES)]


def check_parity(said: NDArray[np.float32], spec: GeneratorSpec | ForceSpec, file: Path) -> None:
    """Make sure that a graph said here what torch said where it was released.

    Raises
    ------
    ModelContractError
    """
    wanted = np.array(spec.parity)
    worst = float(np.abs(said - wanted).max()) if said.shape == wanted.shape else np.inf
    if not worst <= spec.tolerance:
        raise ModelContractError(
            f"{file} does not compute here what it computed in training (off by {worst:.2g}, allowed "
            f"{spec.tolerance:.2g}), so the file is damaged or onnxruntime is: {_COPY}."
        )


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
