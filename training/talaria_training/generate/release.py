"""A trained denoiser, and a network of forces beside it, as a model folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from talaria_bridge.errors import ExportError, ModelContractError
from talaria_edge.generate.contract import (
    FORCE_INPUTS,
    FORCE_OUTPUT,
    FORCES_FILE,
    INPUTS,
    OUTPUT,
    SPEC_FILE,
    ForceSpec,
    GeneratorSpec,
    SayForces,
    Scale,
    Seen,
    force_parity_of,
    parity_inputs,
    parity_of,
)
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.graphs import open_denoiser, open_forces
from talaria_edge.generate.motion import (
    CHANNELS,
    NUMBERS,
    RATE_HZ,
    STYLES,
    UNITS,
    WINDOW,
    columns,
)
from talaria_edge.generate.sampler import Denoise, Floats
from talaria_edge.generate.schedule import STEPS
from talaria_edge.model import MODEL_FILE
from talaria_training.artefacts import PARITY_TOLERANCE, WEIGHTS_FILE, names_of, publish
from talaria_training.generate.denoiser import KINEMATICS, Denoiser, DenoiserConfig, ForceRefiner
from talaria_training.generate.windows import Windows
from talaria_training.onnx_file import write_onnx

FORCE_WEIGHTS_FILE = "forces.safetensors"
_CHECKED = 5
_CARD = """# {spec.model_id}

Windows of gait, {seconds:g} s at {spec.rate_hz:g} Hz: drawn from nothing, from a part of them, or under other
wishes.

* **Network**: diffusion transformer, {config.layers} layers of width {config.width}, {parameters:,} parameters;
  {spec.steps} steps of noise in training, a few of them visited in sampling.
{forces}* **Channels**: {channels}.
* **Asked for by**: {numbers}; style ({styles}). Each may be left open.
* **Trained on**: {spec.trained_on}.
* **People**: {people}.
* **torch against onnxruntime**: {worst:.1e} standard deviations at most.
* **Licence of the weights**: MIT.

{remarks}## Never seen

{never_seen}

What it draws there is a guess dressed as gait.

## Not for

Medical decisions; proof of what a person did while no sensor looked. A filled gap is drawn and not measured.
"""
_FORCES = """* **Forces** from kinematics, whole or with gaps, not drawn: {parameters:,} parameters.
"""
_Net = TypeVar("_Net", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class About:
    """What a card must say and the network cannot know.

    Attributes
    ----------
    model_id : str
    trained_on : str
        Data sets, licences and sources, in one line.
    people : tuple of str
        Whose recordings were used.
    never_seen : tuple of str
        Ways of moving, people and channels that it knows nothing of.
    remarks : str
        What was measured on people held out, as Markdown.
    seen : tuple of Seen
        As `seen_in` gives it; without it no walkers can be drawn.
    widening : mapping of channel to float
        Of the draws' intervals, as `talaria_training.generate.widening.widening_of` reads it.
    force_widening : mapping of channel to float
        The same of the forces that a network tells from each draw's kinematics.
    """

    model_id: str
    trained_on: str
    people: tuple[str, ...]
    never_seen: tuple[str, ...]
    remarks: str = ""
    seen: tuple[Seen, ...] = ()
    widening: Mapping[str, float] = field(default_factory=dict)
    force_widening: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Forces:
    """A network of forces, as `talaria_training.generate.fit.fit_refiner` returns it.

    Attributes
    ----------
    net : ForceRefiner
    scale : Scale
    """

    net: ForceRefiner
    scale: Scale


def release(
    net: Denoiser, scale: Scale, about: About, folder: Path, forces: Forces | None = None
) -> float:
    """Write a model folder that `Generator.open` takes; what was in it is replaced once all is checked.

    Parameters
    ----------
    net : Denoiser
    scale : Scale
    about : About
    folder : Path
        Created if need be.
    forces : Forces, optional
        The network of forces that goes with it.

    Returns
    -------
    float
        The largest difference between torch and onnxruntime, standard deviations.

    Raises
    ------
    ExportError
        If they differ by more than 1e-4.
    """
    net = net.cpu().eval()
    spec = generator_spec(net, scale, about, forces)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch)
        worst = _write_denoiser(net, spec, draft)
        names = ["card.md", MODEL_FILE, WEIGHTS_FILE, SPEC_FILE]
        if forces is not None:
            worst = max(worst, _write_forces(forces.net, spec, draft))
            names += [FORCES_FILE, FORCE_WEIGHTS_FILE]
        (draft / SPEC_FILE).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        card = _card(net, spec, about, forces, worst)
        (draft / "card.md").write_text(card, encoding="utf-8")
        publish(draft, names, draft / "checked")
        Generator.open(draft / "checked")
        publish(draft, names, folder)
    return worst


def _write_denoiser(net: Denoiser, spec: GeneratorSpec, draft: Path) -> float:
    """Write graph and weights, and return how far torch and onnxruntime differ."""
    traced = dict(zip(INPUTS, example(2), strict=True))
    texts = {"model_id": spec.model_id}
    write_onnx(net, traced, (OUTPUT,), texts, draft / MODEL_FILE, any_batch=True)
    _save_weights(net, spec, draft / WEIGHTS_FILE)
    return compare(denoise_of(net), open_denoiser(draft / MODEL_FILE))


def _write_forces(net: ForceRefiner, spec: GeneratorSpec, draft: Path) -> float:
    """Do the same for the network of forces."""
    traced = dict(zip(FORCE_INPUTS, example_kinematics(2), strict=True))
    texts = {"model_id": spec.model_id}
    net = net.cpu().eval()
    write_onnx(net, traced, (FORCE_OUTPUT,), texts, draft / FORCES_FILE, any_batch=True)
    _save_weights(net, spec, draft / FORCE_WEIGHTS_FILE)
    return compare_forces(forces_of(net), open_forces(draft / FORCES_FILE))


def _save_weights(net: Denoiser | ForceRefiner, spec: GeneratorSpec, file: Path) -> None:
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    about = {"config": json.dumps(asdict(net.config)), "spec": spec.model_dump_json(indent=1)}
    save_file(weights, file, metadata=about)


def load_denoiser(folder: Path) -> tuple[Denoiser, GeneratorSpec]:
    """Read a folder's weights back into torch.

    Raises
    ------
    ModelContractError
        If the folder holds no readable denoiser of this version.
    """
    return _load(folder / WEIGHTS_FILE, Denoiser)


def load_forces(folder: Path) -> tuple[ForceRefiner, GeneratorSpec]:
    """Read the weights of a folder's network of forces back into torch.

    Raises
    ------
    ModelContractError
        If the folder holds no readable network of forces of this version.
    """
    return _load(folder / FORCE_WEIGHTS_FILE, ForceRefiner)


def _load(file: Path, kind: Callable[[DenoiserConfig], _Net]) -> tuple[_Net, GeneratorSpec]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        spec = GeneratorSpec.model_validate_json(metadata["spec"])
        net = kind(DenoiserConfig(**json.loads(metadata["config"])))
        net.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelContractError(
            f"{file} holds no generative model of this version ({reason}): give a folder that 'talaria-train "
            "generate train' has written."
        ) from None
    return net.eval(), spec


def denoise_of(net: Denoiser) -> Denoise:
    """Return a network as the function that a sampler asks."""
    return _function_of(net)


def forces_of(net: ForceRefiner) -> SayForces:
    """Return a network of forces as the function that a generator asks."""
    return _function_of(net)


def _function_of(net: nn.Module) -> Callable[..., Floats]:
    device = next(net.parameters()).device

    def said(*inputs: NDArray[np.generic]) -> Floats:
        with torch.no_grad():
            told: Floats = net(*(torch.from_numpy(a).to(device) for a in inputs)).cpu().numpy()
        return told

    return said


def generator_of(
    net: Denoiser, scale: Scale, about: About, forces: Forces | None = None
) -> Generator:
    """Return networks as a generator without writing them, for studies."""
    say = None if forces is None else forces_of(forces.net)
    return Generator(denoise_of(net), generator_spec(net, scale, about, forces), say)


def generator_spec(
    net: Denoiser, scale: Scale, about: About, forces: Forces | None = None
) -> GeneratorSpec:
    """Describe networks for the runtime that will sample from them."""
    return GeneratorSpec(
        model_id=about.model_id,
        rate_hz=RATE_HZ,
        window=WINDOW,
        channels=CHANNELS,
        units=tuple(UNITS[name] for name in CHANNELS),
        numbers=NUMBERS,
        styles=STYLES,
        steps=STEPS,
        trained_on=about.trained_on,
        people=names_of(about.people),
        never_seen=about.never_seen,
        seen=about.seen,
        forces=None if forces is None else _force_spec(forces, about),
        **_network(scale, parity_of(denoise_of(net)), about.widening),
    )


def _force_spec(forces: Forces, about: About) -> ForceSpec:
    parity = force_parity_of(forces_of(forces.net))
    return ForceSpec(**_network(forces.scale, parity, about.force_widening))


def _network(scale: Scale, parity: Floats, widening: Mapping[str, float]) -> dict[str, Any]:
    """Say what specs of both networks say."""
    return {
        "mean": tuple(scale.mean.tolist()),
        "std": tuple(scale.std.tolist()),
        "numbers_mean": tuple(scale.numbers_mean.tolist()),
        "numbers_std": tuple(scale.numbers_std.tolist()),
        "widening": dict(widening),
        "parity": tuple(tuple(map(tuple, window)) for window in parity.tolist()),
        "tolerance": PARITY_TOLERANCE,
    }


def seen_in(windows: Windows) -> tuple[Seen, ...]:
    """Say how each person moved in each style: the medians of their windows, to three digits."""
    found = []
    for person in dict.fromkeys(windows.person.tolist()):
        mine = windows.of([person])
        for style in sorted(set(mine.style.tolist()) - {-1}):
            numbers = mine.numbers[mine.style == style]
            known = np.isfinite(numbers).any(axis=0)
            middle = [
                float(f"{np.nanmedian(c):.3g}") if k else None
                for c, k in zip(numbers.T, known, strict=True)
            ]
            found.append(Seen(style=STYLES[style], numbers=tuple(middle)))
    return tuple(found)


def compare(one: Denoise, other: Denoise) -> float:
    """Ask two denoisers the same, for windows and steps all over the range.

    Returns
    -------
    float
        Their largest difference, standard deviations.

    Raises
    ------
    ExportError
        If it exceeds 1e-4.
    """
    x, held, step, asked = parity_inputs()
    made_up = (x, held.given, held.known, step, asked.numbers, asked.numbers_known, asked.style)
    # Another number of windows than the graph was traced with.
    noise = tuple(tensor.numpy() for tensor in example(_CHECKED))
    return _small(max(float(np.abs(one(*a) - other(*a)).max()) for a in (made_up, noise)))


def compare_forces(one: SayForces, other: SayForces) -> float:
    """Ask two networks of forces the same; see `compare`.

    Raises
    ------
    ExportError
        If they differ by more than 1e-4.
    """
    noise = tuple(tensor.numpy() for tensor in example_kinematics(_CHECKED))
    made_up = force_parity_of(one) - force_parity_of(other)
    return _small(
        max(float(np.abs(made_up).max()), float(np.abs(one(*noise) - other(*noise)).max()))
    )


def _small(worst: float) -> float:
    """Return a difference that is small enough."""
    if not worst <= PARITY_TOLERANCE:
        raise ExportError(
            f"torch and onnxruntime differ by {worst:.1e} standard deviations, more than "
            f"{PARITY_TOLERANCE:g}, so the model is not released: report it with the versions of torch, onnx "
            "and onnxruntime."
        )
    return worst


def example(count: int) -> tuple[torch.Tensor, ...]:
    """Make up so many inputs, in the order of the network's arguments."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(count, WINDOW, len(CHANNELS), generator=random)
    known = (torch.rand(x.shape, generator=random) < 0.5).float()
    step = torch.arange(count) * (STEPS - 1) // max(1, count - 1)
    numbers = torch.randn(count, len(NUMBERS), generator=random)
    style = torch.arange(count) % (len(STYLES) + 1)
    return x, x * known, known, step, numbers, torch.ones_like(numbers), style


def example_kinematics(count: int) -> tuple[torch.Tensor, ...]:
    """Make up so many inputs of a network of forces, in the order of its arguments."""
    _, given, known, _, *asked = example(count)
    at = columns(KINEMATICS)
    return given[..., at], known[..., at], *asked


def _card(
    net: Denoiser, spec: GeneratorSpec, about: About, forces: Forces | None, worst: float
) -> str:
    return _CARD.format(
        spec=spec,
        config=net.config,
        parameters=_parameters(net),
        forces="" if forces is None else _FORCES.format(parameters=_parameters(forces.net)),
        seconds=spec.window / spec.rate_hz,
        channels=", ".join(f"{c} ({u})" for c, u in zip(spec.channels, spec.units, strict=True)),
        numbers=", ".join(spec.numbers),
        styles=", ".join(spec.styles),
        people=", ".join(spec.people),
        never_seen="\n".join(f"* {what}" for what in about.never_seen),
        remarks=f"{about.remarks}\n\n" if about.remarks else "",
        worst=worst,
    )


def _parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
