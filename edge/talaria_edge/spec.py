"""The contract a model file carries: what goes in, what comes out, and what it was shown to be worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from talaria_bridge.errors import ModelContractError

METADATA_KEY = "talaria.spec"
"""Key of the JSON text in an ONNX file's ``metadata_props``."""

Unit = Literal["rad", "BW", "N m/kg"]
"""Of an output: an angle; a force in body weights; a joint moment per kilogram of body mass."""
Gives = Literal["angles", "forces"]
"""What a model is for: joint angles, or the forces and moments beside them."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Channel(_Strict):
    """One input channel: name, unit, and the frame it is expressed in."""

    name: str
    unit: str
    frame: str


class Output(_Strict):
    """One output of the network.

    ``sign`` says which movement, or which direction of a force, is positive; ``kind`` is *measured*
    where a worn sensor spans the joint and *inferred* where the network fills in an unworn segment;
    ``certainty`` is *lower* for angles whose reference is itself weak (hip adduction and rotation).
    What the network says at a tick is of ``delay_s`` before it.
    """

    name: str
    unit: Unit = "rad"
    sign: str
    kind: Literal["measured", "inferred"]
    certainty: Literal["normal", "lower"]
    delay_s: float = Field(default=0.0, ge=0)


class Head(_Strict):
    """Further columns of the network's output, after the outputs, in the order of `ModelSpec.heads`.

    ==============  ===========================================================================
    ``spread``      per output, the natural logarithm of its error's scale, in the output's unit
    ``contact``     per side (r, l), log-odds that the foot was on the ground `delay_s` ago
    ``cycle``       per side, cosine and sine of the gait cycle's angle (0 at initial contact)
    ``gait_class``  one log-likelihood per class named in `columns`
    ``novelty``     how far the network's memory is from any it had in training (1 is usual)
    ==============  ===========================================================================
    """

    name: Literal["spread", "contact", "cycle", "gait_class", "novelty"]
    columns: tuple[str, ...]
    delay_s: float = 0.0


def head_columns(heads: Sequence[Head], name: str, start: int) -> slice | None:
    """Where a head's columns lie if the first head's begin at `start`; None if there is no such head."""
    for head in heads:
        if head.name == name:
            return slice(start, start + len(head.columns))
        start += len(head.columns)
    return None


class Intervals(_Strict):
    """How to read ``spread``: half-width = `factor` × scale holds the truth in `level` of the time.

    `protocol` says on whom that was measured.
    """

    level: float = Field(gt=0, lt=1)
    factor: dict[str, float]
    protocol: str


class Familiarity(_Strict):
    """How to read ``novelty``: a stride whose mean is above `limit` is unlike the training walks.

    `protocol` says on whose strides, and at what rate of false alarms, the limit was chosen.
    """

    limit: float = Field(gt=0)
    protocol: str


class StateTensor(_Strict):
    """One recurrent state: fed as ``input``, returned as ``output``, zeros at the start."""

    input: str
    output: str
    shape: tuple[int, ...]


class Parity(_Strict):
    """A short input sequence and the output torch gave for its last step.

    ``x`` has shape (T, channels), ``y`` (width,), heads included. The runtime replays it when it
    loads the model.
    """

    x: list[list[float]]
    y: list[float]
    tolerance: float = 1e-4


class HeldOut(_Strict):
    """Error per output on people or strides the model never saw, and how it was measured.

    Of an angle the root of the mean square, degrees; of a force or a moment the mean of the absolute
    error, in the output's unit.
    """

    protocol: str
    reference: str
    rmse_deg: dict[str, float] = Field(default_factory=dict)
    mae: dict[str, float] = Field(default_factory=dict)


class ModelSpec(_Strict):
    """Everything a runtime must know to run a model, or to refuse it."""

    spec_version: Literal[2] = 2
    model_id: str
    slots: tuple[str, ...]
    rate_hz: float = Field(gt=0)
    feature_version: int
    channels: tuple[Channel, ...]
    outputs: tuple[Output, ...]
    heads: tuple[Head, ...] = ()
    intervals: Intervals | None = None
    familiarity: Familiarity | None = None
    states: tuple[StateTensor, ...]
    calibration: str = Field(description="the calibration procedure the inputs assume")
    trained_on: str = Field(description="data set, licence, source")
    people: tuple[str, ...] = Field((), description="whose recordings it was trained on")
    held_out: HeldOut | None = None
    parity: Parity | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> ModelSpec:
        if len({output.unit == "rad" for output in self.outputs}) > 1:
            raise ValueError("outputs are angles or forces, not both")
        if len({output.delay_s for output in self.outputs}) > 1:
            raise ValueError("all outputs look equally far back")
        if self.gives == "angles" and self.delay_s:
            raise ValueError("angles are those of the tick itself")
        return self

    @property
    def gives(self) -> Gives:
        """What the model is for."""
        return "angles" if all(output.unit == "rad" for output in self.outputs) else "forces"

    @property
    def delay_s(self) -> float:
        """How long before a tick the outputs of that tick were."""
        return self.outputs[0].delay_s if self.outputs else 0.0

    @property
    def width(self) -> int:
        """Columns of the network's output: the outputs, then every head's."""
        return len(self.outputs) + sum(len(head.columns) for head in self.heads)

    def columns(self, name: str) -> slice | None:
        """Where a head's columns lie in the output; None if the model has no such head."""
        return head_columns(self.heads, name, len(self.outputs))

    def head(self, name: str) -> Head | None:
        """Return a head by its name, if the model has it."""
        return next((head for head in self.heads if head.name == name), None)

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], where: str) -> ModelSpec:
        """Read the spec out of an ONNX file's metadata.

        Raises
        ------
        ModelContractError
            If the file carries no spec, or one this version cannot read.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise ModelContractError(
                f"{where} carries no Talaria model spec, so its inputs cannot be known: export it with "
                "'talaria-train export' (a generative model of gait is for 'talaria repair' and "
                "'talaria-train generate')."
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as err:
            first = err.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "spec"
            raise ModelContractError(
                f"{where} carries a model spec this runtime cannot read ({field}: {first['msg']}): "
                "export it again with the same Talaria version as the runtime."
            ) from None
