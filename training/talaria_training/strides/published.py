"""Stride sets as the relevance papers publish them: MATLAB files of one array and one-hot targets.

Three layouts are read, told apart by the arrays that are there.

* Horst et al. 2019: several features (``Feature_GRF_AV``, ``Feature_JA_Full`` …, N x 101 x channels) beside
  ``Target_SubjectID`` and ``Target_Gender``.
* Slijepcevic et al. 2021: ``Feature`` (N x 6 x 101) beside ``Target_Injury`` and ``Target_Subject``.
* Aeles et al. 2021: ``Feature`` (eight muscles at 200 points) beside ``Target_Subject``.

Channel names are the file's own (``…_Label``) where it has them. No file is downloaded: these sets are
their authors' to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.strides.table import Channel, StrideTable, running_number

Array = NDArray[Any]

POINT_COUNTS = (101, 200)
"""Points of a stride or stance in the published sets: which axis is time is told by them."""
_AXES = 3
_PERSON_TARGETS = ("Target_SubjectID", "Target_Subject")
_TARGET = "Target_"
_LABEL = "_Label"
_CLINICAL = tuple(
    Channel(f"{leg}_GRF_{axis}", f"{leg} force", direction, "1")
    for leg in ("affected", "unaffected")
    for axis, direction in (
        ("AP", "anterior-posterior"),
        ("ML", "medio-lateral"),
        ("V", "vertical"),
    )
)
_JOINTS = (
    "ankle",
    "knee",
    "hip",
    "pelvis",
    "trunk",
    "shoulder",
    "elbow",
    "wrist",
    "neck",
    "head",
    "spine",
)
_PLANES = ("sagittal", "frontal", "transverse")


def read_mat(path: Path, feature: str = "") -> StrideTable:
    """Read one published set.

    Parameters
    ----------
    path : Path
    feature : str
        Which array, with or without ``Feature_``, where the file has several.

    Returns
    -------
    StrideTable
        People are named P001 …, classes of ``Target_X`` in column ``x`` are ``x 1`` …: the files do not
        say what their columns stand for.

    Raises
    ------
    RecordingError
        If the file is none of the layouts, the feature is not there or must be chosen, or a target
        is not one-hot.
    """
    arrays = _loaded(path)
    try:
        return _table(arrays, feature)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def _loaded(path: Path) -> dict[str, Array]:
    from scipy.io import loadmat  # noqa: PLC0415  slow to import, and only needed here
    from scipy.io.matlab import MatReadError  # noqa: PLC0415

    if not path.is_file():
        what = (
            "is a folder: give a .mat file in it"
            if path.is_dir()
            else "does not exist: check the path"
        )
        raise RecordingError(f"{path} {what}.")
    try:
        found = loadmat(path)
    except (OSError, ValueError, TypeError, MatReadError, NotImplementedError) as error:
        raise RecordingError(
            f"{path} cannot be read as a MATLAB file ({str(error).splitlines()[0]}): download it again, or "
            "save it as version 7 where it is version 7.3."
        ) from None
    return {name: np.asarray(value) for name, value in found.items() if not name.startswith("__")}


def _table(arrays: Mapping[str, Array], feature: str) -> StrideTable:
    name = _chosen(arrays, feature)
    values = _time_last(name, arrays[name])
    columns = _targets(arrays, len(values))
    if "person" not in columns:
        raise RecordingError(
            f"there is neither {' nor '.join(_PERSON_TARGETS)}, so nobody knows whose strides these are: "
            "give the set as it was published."
        )
    columns |= {c: np.full(len(values), "") for c in ("session", "side", "condition")}
    return StrideTable(
        values,
        _channels(arrays, name, values.shape[1]),
        columns,
        running_number(columns["person"]),
        "stance" if "GRF" in name or _is_clinical(arrays, name) else "stride",
        f"Array {name} of a published MATLAB file, scaled as it was published.",
    )


def _chosen(arrays: Mapping[str, Array], asked: str) -> str:
    """Name the array to read."""
    features = [n for n, a in arrays.items() if a.ndim == _AXES and a.dtype.kind in "fiu"]
    if not features:
        raise RecordingError(
            f"there is no array of strides x channels x points among {', '.join(arrays) or 'nothing'}: give a "
            "set laid out as the papers' are."
        )
    if not asked and len(features) == 1:
        return features[0]
    wanted = [n for n in features if asked and asked in {n, n.removeprefix("Feature_")}]
    if not wanted:
        problem = f"there is no feature {asked!r}" if asked else "there are several features"
        raise RecordingError(f"{problem}: choose one of {', '.join(features)} with --feature.")
    return wanted[0]


def _time_last(name: str, array: Array) -> NDArray[np.float32]:
    times = [axis for axis in (1, 2) if array.shape[axis] in POINT_COUNTS]
    if len(times) != 1:
        raise RecordingError(
            f"{name} has shape {array.shape}, of which {'no' if not times else 'more than one'} axis is "
            f"{' or '.join(map(str, POINT_COUNTS))} points long: resample the strides to 101 points."
        )
    return np.ascontiguousarray(np.moveaxis(array, times[0], 2), np.float32)


def _targets(arrays: Mapping[str, Array], count: int) -> dict[str, NDArray[np.str_]]:
    columns: dict[str, NDArray[np.str_]] = {}
    for name, array in arrays.items():
        if not name.startswith(_TARGET) or name.endswith(_LABEL):
            continue
        number = _class_number(name, array, count)
        if name in _PERSON_TARGETS:
            columns["person"] = np.array([f"P{i + 1:03d}" for i in number.tolist()])
        else:
            column = name.removeprefix(_TARGET).lower()
            columns[column] = np.array([f"{column} {i + 1}" for i in number.tolist()])
    return columns


def _class_number(name: str, array: Array, count: int) -> NDArray[np.int64]:
    """Read one-hot rows, or one column of 0 and 1, as class numbers from 0."""
    if array.ndim != 2 or len(array) != count:
        raise RecordingError(
            f"{name} has shape {array.shape} for {count} strides: give one row of classes per stride."
        )
    wrong = ~np.isin(array, (0, 1)).all(axis=1)
    if array.shape[1] == 1 and not wrong.any():
        return array[:, 0].astype(np.int64)
    wrong |= (array != 0).sum(axis=1) != 1
    if wrong.any():
        first = int(wrong.argmax()) + 1
        raise RecordingError(
            f"{name} is not one-hot in {wrong.sum()} of {count} rows (row {first} is the first): every stride "
            "needs exactly one 1."
        )
    return np.asarray(array.argmax(axis=1), np.int64)


def _is_clinical(arrays: Mapping[str, Array], name: str) -> bool:
    return "Target_Injury" in arrays and len(_CLINICAL) in arrays[name].shape[1:]


def _channels(arrays: Mapping[str, Array], name: str, count: int) -> tuple[Channel, ...]:
    if _is_clinical(arrays, name):
        return _CLINICAL
    given = [n for n in arrays if n.startswith(name) and n.endswith(_LABEL)]
    labels = _texts(arrays[given[0]]) if given else []
    if len(set(labels)) != count:
        labels = [f"channel_{i + 1}" for i in range(count)]
    kind = given[0] if given else name
    return tuple(_channel(label, kind) for label in labels)


def _channel(label: str, kind: str) -> Channel:
    """Tell joint and plane from a label in words; a label that says neither is its own group."""
    said = label.casefold()
    plane = next((p for p in _PLANES if p in said), "")
    if "GRF" in kind:
        return Channel(label, "force", plane, "1")
    joint = next((j for j in _JOINTS if j in said), label)
    return Channel(label, joint, plane, "deg" if "JA" in kind else "1")


def _texts(array: Array) -> list[str]:
    """Flatten MATLAB's cells of cells into the texts they hold."""
    if array.dtype == object:
        return [text for item in array.ravel() for text in _texts(np.asarray(item))]
    return [str(text).strip() for text in array.ravel()]
