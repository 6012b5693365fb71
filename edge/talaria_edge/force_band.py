"""How people usually load their feet: forces over the stance and the numbers of a stance, beside a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talaria_bridge.errors import ConfigError
from talaria_edge.dashboard.band import band_curve
from talaria_edge.stances import FORCE_AXES, METRICS

FORCE_BAND_FILE = "force_band.json"


@dataclass(frozen=True, slots=True)
class Curve:
    """One force over the stance, body weights: mean and spread over people, 0 to 100 % in 101 points."""

    mean_bw: tuple[float, ...]
    sd_bw: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ForceBand:
    """How people usually load their feet.

    Attributes
    ----------
    protocol : str
        Who they were and how they walked.
    curves : dict of axis to Curve
        Axes as in `talaria_edge.stances.FORCE_AXES`.
    metrics : dict of metric to (mean, SD)
        In the units of `talaria_edge.stances.StanceMetrics`; one that nobody showed is absent.
    """

    protocol: str
    curves: dict[str, Curve]
    metrics: dict[str, tuple[float, float]]


def load_force_band(model: Path) -> ForceBand | None:
    """Read the band that lies beside a force model; None where there is none.

    Parameters
    ----------
    model : Path
        The model's folder, or a file in it.

    Raises
    ------
    ConfigError
        If the file is there but holds something else.
    """
    file = (model if model.is_dir() else model.parent) / FORCE_BAND_FILE
    try:
        return _band(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise ConfigError(
            f"{file} is not a band of forces ({err}): restore it from the model's release, or delete it and "
            "have the report without one."
        ) from None


def _band(data: Mapping[str, Any]) -> ForceBand:
    curves = {axis: _curve(data["curves"][axis]) for axis in FORCE_AXES}
    metrics = {name: _pair(entry) for name, entry in data["metrics"].items()}
    if not set(metrics) <= set(METRICS):
        raise ValueError("a number of a stance that does not exist")
    return ForceBand(str(data["protocol"]), curves, metrics)


def _curve(entry: Mapping[str, list[float]]) -> Curve:
    return Curve(*band_curve(entry, "mean_bw", "sd_bw"))


def _pair(entry: Mapping[str, float]) -> tuple[float, float]:
    mean, sd = float(entry["mean"]), float(entry["sd"])
    if not (math.isfinite(mean) and math.isfinite(sd)) or sd < 0:
        raise ValueError("a number that cannot be")
    return mean, sd
