"""What a classification study found, as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_SAID = {
    "trial": "trial-wise: strides of the same person are learned from and judged",
    "first-last": "first 70 % of each recording in time against its last 30 %, so the same session",
    "across-sessions": "across sessions, each judged by what was learned in the others",
    "person": "by person: nobody is judged who was learned from",
}
_CLASSES_SHOWN = 12
NEAR = 0.05
"""Splits whose balanced accuracies differ by less say the same."""
DOUBTFUL_P = 0.05


def accuracies(task: str, study: Mapping[str, Any]) -> Table:
    """One row per model."""
    first = next(iter(study["models"].values()))
    classes = len(first["classes"])
    table = Table(
        title=f"{task}, {study['split']}: {classes} classes (chance {1 / classes:.3f}), "
        f"{first['strides']} strides of {first['people']} people judged"
    )
    for column in ("model", "accuracy", "balanced", "95 %", "p"):
        left = column == "model"
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for model, found in study["models"].items():
        balanced = found["balanced"]
        table.add_row(
            model,
            f"{found['accuracy']['value']:.3f}",
            f"{balanced['value']:.3f}",
            f"{balanced['low']:.3f} to {balanced['high']:.3f}",
            "" if found["p"] is None else f"{found['p']:.4f}",
        )
    return table


def confusion(model: str, found: Mapping[str, Any]) -> Table:
    """Strides of each class by what was answered, and the share answered right."""
    table = Table(title=f"{model}: true class by answer")
    table.add_column("")
    for name in found["classes"]:
        table.add_column(name, justify="right")
    table.add_column("recall", justify="right", no_wrap=True)
    for name, row, recall in zip(
        found["classes"], found["confusion"], found["recall"], strict=True
    ):
        share = "" if recall is None else f"{recall:.3f}"
        table.add_row(name, *(str(count) for count in row), share)
    return table


def tables(document: Mapping[str, Any]) -> list[Table]:
    """All tables of a document; a confusion matrix where it is small enough to read."""
    study = document["studies"][0]
    shown = [
        confusion(f"{model}, {study['split']}", found)
        for model, found in study["models"].items()
        if len(found["classes"]) <= _CLASSES_SHOWN
    ]
    return [*(accuracies(document["task"], one) for one in document["studies"]), *shown]


def sentences(document: Mapping[str, Any]) -> list[str]:
    """Say how it was split, what was resampled and permuted, and what two splits say together."""
    lines = []
    for study in document["studies"]:
        lines.append(f"{study['split']}: {_SAID[study['split']]}.")
        if study["left_out"]:
            lines.append(
                f"{study['left_out']} strides were left out of {study['split']}: of people with none in one of "
                "the sessions."
            )
    lines.append(_method(document))
    for model, found in document["studies"][0]["models"].items():
        if len(found["classes"]) > _CLASSES_SHOWN:
            lines.append(_worst(model, found))
    if len(document["studies"]) == 2:
        lines += [
            _together(model, *document["studies"]) for model in document["studies"][0]["models"]
        ]
    return lines


def _method(document: Mapping[str, Any]) -> str:
    found = [next(iter(study["models"].values())) for study in document["studies"]]
    times = " and ".join(str(len(one["permuted"])) for one in found)
    if found[0]["resampled"] == "people":
        return (
            "Intervals resample whole people; p from labels dealt anew to people, everything refitted "
            f"({times} times)."
        )
    return (
        "Intervals resample strides within each person, so they speak of these people only; p from the "
        f"people's names swapped ({times} times)."
    )


def _worst(model: str, found: Mapping[str, Any]) -> str:
    judged = [
        (recall, name)
        for recall, name in zip(found["recall"], found["classes"], strict=True)
        if recall is not None
    ]
    wrong = [f"{name} {recall:.2f}" for recall, name in sorted(judged)[:5] if recall < 1.0]
    return f"{model}: {'every stride right' if not wrong else 'least recall ' + ', '.join(wrong)}."


def _together(model: str, by_person: Mapping[str, Any], by_trial: Mapping[str, Any]) -> str:
    held, mixed = by_person["models"][model], by_trial["models"][model]
    fair, easy = held["balanced"]["value"], mixed["balanced"]["value"]
    said = f"{model}: trial-wise {easy:.3f}, with people held out {fair:.3f}"
    if easy - fair < NEAR:
        return f"{said}: the same, so what was learned holds for people nobody has seen."
    dealt = mixed["permuted"]
    if dealt:
        mean = sum(dealt) / len(dealt)
        said += f"; trial-wise with labels dealt at random to people still {mean:.3f}"
    if held["p"] is not None and held["p"] > DOUBTFUL_P:
        return (
            f"{said}: the trial-wise figure comes from recognising the people, and nothing is shown about "
            "the groups."
        )
    return (
        f"{said}: the difference comes from knowing the people already, and only the figure with people held "
        "out speaks of anybody else."
    )
