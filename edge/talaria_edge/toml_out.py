"""Plain values as TOML text: the standard library reads TOML but does not write it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def toml_text(data: Mapping[str, Any]) -> str:
    """Write nested mappings of plain values as TOML.

    Parameters
    ----------
    data : mapping
        Strings, booleans, numbers, arrays, lists of these, and mappings of all that. An entry whose
        value is None is left out, because TOML has no word for it.

    Raises
    ------
    TypeError
        If a value has no TOML form: the caller's mistake, not the user's.
    """
    return "\n".join(_table(data, ())).lstrip("\n") + "\n"


def write_toml(path: Path, data: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``data`` in one move, so that no reader ever sees half a file."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(toml_text(data), encoding="utf-8")
    fresh.replace(path)


def _table(data: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in data.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    # A table that only holds tables needs no heading of its own; an empty one has nothing else.
    if path and (lines or not any(isinstance(value, Mapping) for value in data.values())):
        lines.insert(0, f"\n[{'.'.join(map(_key, path))}]")
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += _table(value, (*path, key))
    return lines


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return _string(str(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _float(float(value))
    if isinstance(value, np.ndarray):
        return _value(value.tolist())
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _string(value: str) -> str:
    # JSON escapes are TOML escapes, except that JSON leaves DEL bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
