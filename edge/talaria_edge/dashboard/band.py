"""How people usually walk: each angle's mean and spread over the gait cycle, beside a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from talaria_bridge.errors import ConfigError

BAND_FILE = "normal_band.json"
BAND_POINTS = 101
"""Percents 0 to 100 of the gait cycle, from one initial contact to the next."""


@dataclass(frozen=True, slots=True)
class NormalBand:
    """One angle over the gait cycle.

    Attributes
    ----------
    mean_deg, sd_deg : tuple of float, length 101
        Over people who walk without complaint; the page draws mean ± 2 SD.
    """

    mean_deg: tuple[float, ...]
    sd_deg: tuple[float, ...]


def load_normal_band(model: Path) -> dict[str, NormalBand]:
    """Read the band that lies beside a model; a model without one has none.

    Parameters
    ----------
    model : Path
        The model's folder, or a file in it.

    Returns
    -------
    dict of angle name to NormalBand
        Empty where there is no file.

    Raises
    ------
    ConfigError
        If the file is there but holds something else.
    """
    file = (model if model.is_dir() else model.parent) / BAND_FILE
    try:
        return {name: _band(entry) for name, entry in _entries(file).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise ConfigError(
            f"{file} is not a normal band ({err}): restore it from the model's release, or delete "
            "it and see the angles without one."
        ) from None


def _entries(file: Path) -> Mapping[str, Mapping[str, list[float]]]:
    data = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise TypeError("no table of angles")
    return data


def _band(entry: Mapping[str, list[float]]) -> NormalBand:
    return NormalBand(*band_curve(entry, "mean_deg", "sd_deg"))


def band_curve(
    entry: Mapping[str, list[float]], mean_key: str, sd_key: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read a mean and its spread, `BAND_POINTS` numbers each.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the entry holds something else.
    """
    mean, sd = (tuple(map(float, entry[key])) for key in (mean_key, sd_key))
    if not len(mean) == len(sd) == BAND_POINTS:
        raise ValueError(f"{len(mean)} means and {len(sd)} spreads instead of {BAND_POINTS}")
    if not all(map(math.isfinite, mean + sd)) or min(sd) < 0:
        raise ValueError("a number that cannot be")
    return mean, sd
