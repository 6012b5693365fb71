"""The acceptance report: one page that needs nothing else and says what was decided and why."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from talaria_edge.svg import Band, Line, Plot, draw, ticks
from talaria_training.acceptance import About, document
from talaria_training.acceptance_page import page
from talaria_training.networks import GaitNet
from talaria_training.personal import Outcome, personalise
from talaria_training.train import FINETUNE, MULTI_USER, train
from talaria_training.trials import Trial

ABOUT = About(
    "ann-1",
    "legs",
    "Ann <b>",
    "2026-11-21 12:00",
    ("ann/walk",),
    "a file",
    others=(("Bob", 3.0, 4.5),),
)
VOID = {"meta", "path", "br", "link"}


class Balance(HTMLParser):
    """Collects elements, and complains where one is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def outcomes(trials: list[Trial]) -> dict[str, Outcome]:
    small = replace(
        MULTI_USER, hidden=12, layers=2, dropout=0.0, steps=150, batch=8, window=128, absent=0.0
    )
    base: GaitNet = train(trials, small)
    quick = replace(FINETUNE, steps=20, batch=8, window=128, dropout=0.0, watch_every=10)
    mine = trials[1].part(0.1, 0.6)
    late = replace(mine, angles_rad=np.roll(mine.angles_rad, 25, axis=0))
    few = replace(mine.part(0.0, 0.45), reference="full_chain")
    return {
        "judged": personalise(base, [mine], quick, previous=base),
        "refused": personalise(base, [late], quick),
        "few": personalise(base, [few], quick),
    }


@pytest.mark.parametrize("name", ["judged", "refused", "few"])
def test_every_outcome_makes_plain_json_and_a_whole_page(
    outcomes: dict[str, Outcome], name: str
) -> None:
    found = document(outcomes[name], ABOUT)
    text = json.dumps(found, allow_nan=False)
    html = page(json.loads(text))  # the page needs nothing that the file does not say
    parsed(html)
    assert html == page(found)


def test_the_page_fetches_nothing_and_runs_nothing(outcomes: dict[str, Outcome]) -> None:
    html = page(document(outcomes["judged"], ABOUT))
    parser = parsed(html)
    assert not {tag for tag, _ in parser.seen} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\bon\w+=", html)


def test_the_page_says_the_decision_and_escapes_what_people_typed(
    outcomes: dict[str, Outcome],
) -> None:
    html = page(document(outcomes["judged"], ABOUT))
    assert outcomes["judged"].decision in unescape(html)
    assert escape("Ann <b>") in html
    assert "Ann <b>" not in html
    for section in ("Over the gait cycle", "What is left", "Learning", "Other people", "believed"):
        assert section in html
    assert html.count("<svg") == 6 + 6 + 1


def test_a_refused_reference_is_named_with_its_number(outcomes: dict[str, Outcome]) -> None:
    found = document(outcomes["refused"], ABOUT)
    assert not found["shipped"]
    html = page(found)
    assert "cannot be believed" in html
    failed = [c for c in found["checks"] if not c["passed"]]
    assert failed
    assert html.count('<td class="no">') == len(
        [c for c in failed if not c["name"].endswith("_zero_deg")]
    )


def test_curves_over_the_cycle_are_those_of_the_deciding_strides(
    outcomes: dict[str, Outcome],
) -> None:
    outcome = outcomes["judged"]
    (kept,) = outcome.division.decide
    curves = document(outcome, ABOUT)["cycles"]["knee_angle_r"]
    strides = [s for s in kept.strides if s.side == "r"]
    first = np.mean([np.degrees(kept.trial.angles_rad[s.start, 1]) for s in strides])
    assert curves["labels"][0] == pytest.approx(float(first), abs=1e-3)
    assert len(curves["labels"]) == len(curves["personal"]) == 101


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 10.0) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert ticks(-0.31, 0.42) == pytest.approx([-0.2, 0.0, 0.2, 0.4])
    assert ticks(1e-4, 3e-4)[0] >= 1e-4


def test_a_gap_in_a_curve_stays_a_gap() -> None:
    line = Line("a", [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, float("nan"), 1.0, 0.0])
    (path,) = [a["d"] for t, a in parsed(draw(Plot("t", "x", "y", [line]))).seen if _is_line(t, a)]
    assert path is not None
    assert path.count("M") == 2
    assert "nan" not in path


def _is_line(tag: str, attributes: dict[str, str | None]) -> bool:
    return tag == "path" and (attributes.get("class") or "").startswith("line")


def test_a_flat_curve_and_a_band_can_be_drawn() -> None:
    flat = Line("a", [0.0, 1.0], [3.0, 3.0])
    drawn = draw(Plot("t", "x", "y", [flat], [Band("b", [0.0, 1.0], [3.0, 3.0], [3.0, 3.0])]))
    assert "nan" not in drawn
