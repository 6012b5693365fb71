"""Height, mass and leg length out of CapSense's ``MetaData.xlsx``, with the standard library.

An ``.xlsx`` file is a zip of XML (ECMA-376): cells of the first sheet, whose texts are numbers
into a table of shared strings.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from xml.etree import ElementTree

from talaria_bridge.errors import RecordingError
from talaria_training.data.files import Member

_NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = "xl/worksheets/sheet1.xml"
_STRINGS = "xl/sharedStrings.xml"


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What the sheet says of one person; None where it is silent."""

    age_years: float | None = None
    height_m: float | None = None
    mass_kg: float | None = None
    leg_m: float | None = None
    speed_ms: float | None = None


def read_people(sheet: Member | None) -> tuple[dict[str, PersonFacts], tuple[str, ...]]:
    """Return facts by person (``Sub01``), and notes on why there are none.

    The sheet is a convenience: absent or unreadable, it costs the facts and not the recordings.
    """
    if sheet is None:
        return {}, ("there is no MetaData.xlsx",)
    try:
        name, raw = sheet.source()
        rows = _rows(raw)
    except RecordingError as err:
        return {}, (str(err).rstrip("."),)
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, ElementTree.ParseError) as err:
        return {}, (f"{name} cannot be read as a spreadsheet ({err})",)
    if not rows:
        return {}, (f"{name} is empty",)
    return dict(filter(None, (_person(rows[0], row) for row in rows[1:]))), ()


def _person(labels: dict[str, str], row: dict[str, str]) -> tuple[str, PersonFacts] | None:
    by_label = {labels[column]: value for column, value in row.items() if column in labels}
    number = re.match(r"\d+", by_label.get("Subject ID", ""))
    if number is None:
        return None
    facts = PersonFacts(
        _number(by_label.get("Age (Years)")),
        _number(by_label.get("Height (m)")),
        _number(by_label.get("Mass (kg)")),
        _number(by_label.get("LegLength (m)")),
        _number(by_label.get("Walking Speed (m/s)")),
    )
    return f"Sub{int(number[0]):02d}", facts


def _rows(raw: bytes) -> list[dict[str, str]]:
    """Return the rows that hold something, as column letters to text."""
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        strings = [
            "".join(t.text or "" for t in item.iter(f"{_NS}t"))
            for item in ElementTree.fromstring(book.read(_STRINGS))
        ]
        cells = ElementTree.fromstring(book.read(_SHEET))
    rows = [_row(row, strings) for row in cells.iter(f"{_NS}row")]
    return [row for row in rows if row]


def _row(row: ElementTree.Element, strings: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for cell in row.iter(f"{_NS}c"):
        value = cell.findtext(f"{_NS}v")
        if value is not None:
            text = strings[int(value)] if cell.get("t") == "s" else value
            found[cell.get("r", "").rstrip("0123456789")] = text
    return found


def _number(cell: str | None) -> float | None:
    try:
        return None if cell is None else float(cell)
    except ValueError:
        return None
