"""A released generative model, opened: gait drawn from nothing, from a part of it, or under other wishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_edge.generate.contract import (
    FORCES_FILE,
    GeneratorSpec,
    SayForces,
    check_parity,
    check_sums,
    force_parity_of,
    parity_of,
    read_generator_spec,
)
from talaria_edge.generate.forces import ForceNetwork, lifted, window_starts
from talaria_edge.generate.graphs import open_denoiser, open_forces
from talaria_edge.generate.motion import (
    CHANNELS,
    FORCES,
    STYLES,
    WINDOW,
    Conditions,
    check_size,
    check_values,
    columns,
    mirrored,
)
from talaria_edge.generate.sampler import (
    VISITED,
    Asked,
    Denoise,
    Floats,
    Held,
    Sampling,
    invert,
    redraw,
    sample,
)
from talaria_edge.model import MODEL_FILE

_AT_ONCE = 8
"""Windows sampled together: more fill the caches of a small processor, fewer leave it idle."""
_ANY_HEIGHT_M, _ANY_MASS_KG = 1.7, 70.0


class Generator:
    """A generative model of gait. Build one with `Generator.open`.

    Attributes
    ----------
    spec : GeneratorSpec
        What it says of itself.
    """

    def __init__(
        self, denoise: Denoise, spec: GeneratorSpec, say_forces: SayForces | None = None
    ) -> None:
        self.spec = spec
        self._denoise = denoise
        self._scale = spec.scale
        self._forces = None
        if say_forces is not None and spec.forces is not None:
            self._forces = ForceNetwork(say_forces, spec.forces)

    @classmethod
    def open(cls, folder: Path | str) -> Generator:
        """Open a model's folder and make sure that it is what it says.

        Raises
        ------
        ModelContractError
            If files are missing or damaged, the model was made for other windows, or it computes something
            else here than where it was trained.
        """
        folder = Path(folder)
        spec = read_generator_spec(folder)
        check_sums(folder, (MODEL_FILE,) if spec.forces is None else (MODEL_FILE, FORCES_FILE))
        denoise = open_denoiser(folder / MODEL_FILE)
        check_parity(parity_of(denoise), spec, folder / MODEL_FILE)
        if spec.forces is None:
            return cls(denoise, spec)
        say = open_forces(folder / FORCES_FILE)
        check_parity(force_parity_of(say), spec.forces, folder / FORCES_FILE)
        return cls(denoise, spec, say)

    @property
    def widening(self) -> Mapping[str, float]:
        """By what the draws' own intervals must be widened, by channel; empty where nobody measured it."""
        return self.spec.widening

    @property
    def tells_forces(self) -> bool:
        """Whether a network of forces came with it; older folders have none."""
        return self._forces is not None

    def generate(
        self,
        conditions: Conditions | Sequence[Conditions],
        count: int,
        rng: np.random.Generator,
        samples: int = WINDOW,
        sampling: Sampling | None = None,
    ) -> Floats:
        """Draw people who do not exist.

        Parameters
        ----------
        conditions : Conditions or sequence of Conditions
            For all alike, or one for each of `count`; a body size is needed.
        count : int
        rng : Generator
        samples : int
            Length, `WINDOW` at least.
        sampling : Sampling, optional

        Returns
        -------
        ndarray of float32, shape (count, samples, len(CHANNELS))
            In the channels' units.

        Raises
        ------
        RecordingError
            If a body size is missing or impossible, or the length is too short.
        """
        each = [conditions] * count if isinstance(conditions, Conditions) else list(conditions)
        if len(each) != count:
            raise RecordingError(
                f"{len(each)} conditions were given for {count} people: give one for all, or one for each."
            )
        for i, one in enumerate(each):
            check_size(one, f"person {i + 1}")
        nothing = np.full((count, samples, len(CHANNELS)), np.nan, np.float32)
        return self._draw(nothing, self._asked(each), rng, sampling)

    def fill(
        self,
        values: NDArray[np.floating],
        conditions: Conditions,
        count: int,
        rng: np.random.Generator,
        steps: int = VISITED,
        guidance: float = 0.0,
    ) -> Floats:
        """Draw what a window lacks.

        Parameters
        ----------
        values : ndarray, shape (WINDOW, len(CHANNELS))
            In the channels' units, NaN where not known.
        conditions : Conditions
        count : int
            Draws.
        rng : Generator
        steps, guidance
            As in `talaria_edge.generate.sampler.Sampling`.

        Returns
        -------
        ndarray of float32, shape (count, WINDOW, len(CHANNELS))
            What was known is as it was.

        Raises
        ------
        RecordingError
            If it is no window of gait, or a body size is impossible.
        """
        if len(values) != WINDOW:
            raise RecordingError(
                f"The window has {len(values)} samples and not {WINDOW}: cut it to 1.5 s at 100 Hz, or fill "
                "it as a longer recording."
            )
        return self.fill_long(values, conditions, count, rng, steps, guidance)

    def fill_long(
        self,
        values: NDArray[np.floating],
        conditions: Conditions,
        count: int,
        rng: np.random.Generator,
        steps: int = VISITED,
        guidance: float = 0.0,
    ) -> Floats:
        """Draw what a recording of any length from `WINDOW` on lacks, window by window; see `fill`.

        A window begins in the middle of the one before: it keeps the first half of what they share, and is
        faded into over the second, whose end the earlier window has drawn without knowing what follows.

        Returns
        -------
        ndarray of float32, shape (count, T, len(CHANNELS))

        Raises
        ------
        RecordingError
            As `fill`, or if the recording is shorter than a window.
        """
        self._check(values, conditions)
        repeated = np.repeat(np.asarray(values, np.float32)[None], count, axis=0)
        asked = [conditions] * count
        # Every other draw is the mirror image's: what the model takes for right or left by chance cancels.
        repeated[1::2] = mirrored(repeated[1::2])
        asked[1::2] = [conditions.mirrored()] * (count // 2)
        drawn = self._draw(repeated, self._asked(asked), rng, Sampling(steps, guidance))
        drawn[1::2] = mirrored(drawn[1::2])
        return drawn

    def forces(self, values: NDArray[np.floating], conditions: Conditions) -> Floats:
        """Tell the forces under both feet from whatever is known of the kinematics, without drawing.

        Parameters
        ----------
        values : ndarray, shape (T, len(CHANNELS))
            `WINDOW` samples or more, in the channels' units, NaN where not known; forces are not looked at.
        conditions : Conditions

        Returns
        -------
        ndarray of float32, shape (T, len(FORCES))
            In body weights; none under a foot in the air.

        Raises
        ------
        RecordingError
            As `fill_long`.
        ModelContractError
            If the model came without a network of forces.
        """
        self._check(values, conditions)
        unknown = np.array(values, np.float32)
        unknown[:, columns(FORCES)] = np.nan
        told: Floats = self.with_forces(unknown[None], unknown, conditions)[0, :, columns(FORCES)].T
        return told

    def with_forces(
        self, drawn: Floats, values: NDArray[np.floating], conditions: Conditions
    ) -> Floats:
        """Replace the forces of draws by those that a network tells from each draw's kinematics.

        Parameters
        ----------
        drawn : ndarray, shape (count, T, len(CHANNELS))
            As `fill_long` gave them.
        values : ndarray, shape (T, len(CHANNELS))
            What `fill_long` was given: forces that are known there stay.
        conditions : Conditions

        Returns
        -------
        ndarray of float32, shape (count, T, len(CHANNELS))

        Raises
        ------
        RecordingError
            If the draws are shorter than a window, or the way of moving is nobody's.
        ModelContractError
            If the model came without a network of forces.
        """
        if self._forces is None:
            raise ModelContractError(
                f"{self.spec.model_id} came without a network of forces ({FORCES_FILE}), so none can be told "
                "from kinematics: draw them, or train it again with 'talaria-train generate train'."
            )
        _check_style(conditions)
        _check_length(drawn.shape[1])
        told = drawn.copy()
        told[..., columns(FORCES)] = self._forces(drawn, [conditions] * len(drawn))
        known = np.broadcast_to(np.isfinite(values), drawn.shape)
        return lifted(np.where(known, values, told).astype(np.float32), known)

    def edit(
        self,
        values: NDArray[np.floating],
        before: Conditions,
        after: Conditions,
        count: int,
        rng: np.random.Generator,
        held: NDArray[np.floating] | None = None,
        sampling: Sampling | None = None,
    ) -> tuple[Floats, Floats]:
        """Say what a window would be if something about it were different.

        Gaps are drawn first, under `before`. Each draw is then taken back to the noise that it comes from,
        and that noise is made a window again under `after`; what does not depend on the change stays.

        Parameters
        ----------
        values : ndarray, shape (WINDOW, len(CHANNELS))
            NaN where not known.
        before, after : Conditions
            What the window is, and what it should be.
        count : int
            Draws; without gaps in the window all are the same.
        rng : Generator
        held : ndarray, shape (WINDOW, len(CHANNELS)), optional
            Values that the new windows must have, NaN where they are free.
        sampling : Sampling, optional

        Returns
        -------
        before, after : ndarray of float32, shape (count, WINDOW, len(CHANNELS))
            Before with its gaps filled. The same if nothing is asked to change.

        Raises
        ------
        RecordingError
            If it is no window of gait, or a body size is impossible.
        """
        sampling = sampling or Sampling()
        was = self.fill(values, before, count, rng, sampling.steps, sampling.guidance)
        wanted = np.full(np.shape(values), np.nan) if held is None else held
        self._check(wanted, after)
        if len(wanted) != WINDOW:
            raise RecordingError(
                f"The held values have {len(wanted)} samples and the window has {WINDOW}: give as many."
            )
        hold = self._held(np.repeat(wanted[None], count, axis=0))
        ways = (self._asked([before] * count), self._asked([after] * count))
        path = invert(self._denoise, self._scale.normalised(was), ways[0], sampling)
        drawn = redraw(self._denoise, path, *ways, hold, sampling)
        after_si = self._scale.restored(drawn)
        known = np.broadcast_to(np.isfinite(wanted), was.shape)
        return was, lifted(np.where(known, wanted, after_si).astype(np.float32), known)

    def _check(self, values: NDArray[np.floating], conditions: Conditions) -> None:
        check_values(values, "the window")
        # A size that nobody knows may stay unknown; one that is known must be somebody's.
        known = replace(
            conditions,
            height_m=conditions.height_m if np.isfinite(conditions.height_m) else _ANY_HEIGHT_M,
            mass_kg=conditions.mass_kg if np.isfinite(conditions.mass_kg) else _ANY_MASS_KG,
        )
        check_size(known, "the person")

    def _asked(self, conditions: Sequence[Conditions]) -> Asked:
        for one in conditions:
            _check_style(one)
        return self._scale.asked_of(conditions)

    def _held(self, values: NDArray[np.floating]) -> Held:
        known = np.isfinite(values)
        given = np.where(known, self._scale.normalised(values), 0.0)
        return Held(given.astype(np.float32), known.astype(np.float32))

    def _draw(
        self, values: Floats, asked: Asked, rng: np.random.Generator, sampling: Sampling | None
    ) -> Floats:
        """Draw what recordings of one length, shape (B, T, channels), lack."""
        length = values.shape[1]
        _check_length(length)
        whole = self._held(values)
        drawn, stop = whole.given.copy(), 0
        for start in window_starts(length):
            span = slice(start, start + WINDOW)
            shared = max(0, stop - start)
            flags = whole.known[:, span].copy()
            flags[:, : shared // 2] = 1.0
            if not flags.all():
                held = Held(np.where(flags > 0, drawn[:, span], 0.0).astype(np.float32), flags)
                new = self._sample(asked, held, rng, sampling)
                fade = np.clip(
                    (np.arange(WINDOW) - shared // 2 + 1) / (shared - shared // 2 + 1), 0, 1
                )
                weight = np.where(np.arange(WINDOW) < shared, fade, 1.0)[:, None]
                drawn[:, span] += weight * (new - drawn[:, span])
            stop = start + WINDOW
        restored = self._scale.restored(drawn)
        known: NDArray[np.bool_] = np.isfinite(values)
        return lifted(np.where(known, values, restored).astype(np.float32), known)

    def _sample(
        self, asked: Asked, held: Held, rng: np.random.Generator, sampling: Sampling | None
    ) -> Floats:
        parts = []
        for first in range(0, len(held.given), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            parts.append(
                sample(
                    self._denoise,
                    Asked(asked.numbers[some], asked.numbers_known[some], asked.style[some]),
                    Held(held.given[some], held.known[some]),
                    rng,
                    sampling,
                )
            )
        return np.concatenate(parts)


class ForcesTold:
    """Fills as a generator does, with forces that its network tells from each draw's kinematics.

    Parameters
    ----------
    model : Generator
        With a network of forces.
    """

    def __init__(self, model: Generator) -> None:
        self._model = model

    @property
    def widening(self) -> Mapping[str, float]:
        """By what the intervals must be widened, by channel; those of forces are the network's own."""
        spec = self._model.spec
        drawn = {name: by for name, by in spec.widening.items() if name not in FORCES}
        return drawn if spec.forces is None else drawn | spec.forces.widening

    def fill_long(
        self,
        values: NDArray[np.floating],
        conditions: Conditions,
        count: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Draw what a recording lacks, and tell the forces that it lacks; see `Generator.fill_long`.

        Raises
        ------
        RecordingError
            As `Generator.fill_long`.
        ModelContractError
            If the model came without a network of forces.
        """
        drawn = self._model.fill_long(values, conditions, count, rng)
        return self._model.with_forces(drawn, values, conditions)


def _check_style(conditions: Conditions) -> None:
    if conditions.style is not None and conditions.style not in STYLES:
        raise RecordingError(
            f"There is no way of moving {conditions.style!r}: ask for {', '.join(STYLES)}, or for none."
        )


def _check_length(samples: int) -> None:
    if samples < WINDOW:
        raise RecordingError(
            f"The recording has {samples} samples, and the model knows windows of {WINDOW} (1.5 s at 100 "
            "Hz): give a longer one."
        )
