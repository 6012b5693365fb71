"""What the commands about personal models print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from talaria_training.spoil import KINDS

_MODELS = {"base": "base", "previous": "previous", "personal": "personal"}


def outcome(document: Mapping[str, Any]) -> Sequence[Table | Text]:
    """Build the decision, the errors by joint, and what failed among the questions to the labels."""
    parts: list[Table | Text] = []
    models = [m for m in _MODELS if m in document["stride_error_deg"]]
    if models:
        table = Table(title=f"RMSE (°) on {document['deciding_strides']} strides kept out")
        table.add_column("angle")
        for model in models:
            table.add_column(model, justify="right")
            table.add_column("offset removed", justify="right")
        for row in document["joints"]:
            cells = [
                f"{row[m][key]:.2f}"
                for m in models
                for key in ("rmse_deg", "rmse_offset_removed_deg")
            ]
            table.add_row(row["joint"], *cells)
        parts.append(table)
    parts.append(Text(document["decision"]))
    if models:
        parts.append(Text(_zero(document)))
    return parts


def _zero(document: Mapping[str, Any]) -> str:
    joint, off = max(document["zero_off_deg"].items(), key=lambda pair: abs(pair[1]))
    whose = "base model's" if document["zero"] == "base" else "labels'"
    said = f"Its zero is the {whose}; the labels' and the base's are up to {abs(off):.1f}° apart ({joint})"
    if document["zero"] == "base":
        said += ", and nothing measured can tell which is right: --trust-zero takes the labels'"
    return said + "."


def gate(document: Mapping[str, Any]) -> Sequence[Table | Text]:
    """Build the table of `talaria_training.gate_study.document`."""
    table = Table(title=f"{document['trials']} fine-tunings on spoiled and sound labels")
    for name in ("labels", "cases", "handed out", "worse", "worst harm (°)", "refused because"):
        table.add_column(name, justify="left" if name in ("labels", "refused because") else "right")
    for kind in ("none", *KINDS, "trial", "person"):
        row = document["by_kind"][kind]
        worst = row["worst_harm_deg"]
        reasons = ", ".join(f"{why}: {count}" for why, count in sorted(row["reasons"].items()))
        table.add_row(
            "sound" if kind == "none" else kind,
            str(row["cases"]),
            str(row["shipped"]),
            str(row["worse"]),
            "" if worst is None else f"{worst:+.2f}",
            reasons,
        )
    worst = document["worst_harm_deg"]
    said = f"{document['shipped']} handed out, {document['worse']} of them worse than the base on clean labels"
    if worst is not None:
        said += f" (the worst by {worst:+.2f}°, on average {-document['mean_gain_deg']:+.2f}°)"
    said += (
        f"; {document['clean_refused']} of {document['clean']} with sound labels were refused. "
        f"{document['steps']} steps each, people: {', '.join(document['people'])}."
    )
    return [table, Text(said)]
