"""Simulated stride tables that tests of classifiers and of relevance share."""

from __future__ import annotations

import pytest

from talaria_training.strides.simulated import Planted, Population, simulate_strides
from talaria_training.strides.table import StrideTable


@pytest.fixture(scope="session")
def strides() -> StrideTable:
    """Eight people, two sessions of ten strides each, no difference between groups."""
    return simulate_strides(Population(people=8, sessions=2, strides=10, seed=1))


@pytest.fixture(scope="session")
def planted_strides() -> StrideTable:
    """Twenty-four people, half of whom bend their knee more at 20 to 30 % of the stride."""
    return simulate_strides(Population(people=24, strides=10, planted=Planted(), seed=2))
