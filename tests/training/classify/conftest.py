"""Simulated stride tables, and a recorded session, that tests of classifiers and of relevance share."""

from __future__ import annotations

from pathlib import Path

import pytest

from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual import schedule_frames
from talaria_edge.app import record_session
from talaria_edge.config import Config
from talaria_training.data.recording import Recording
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


@pytest.fixture(scope="session")
def session_folder(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ann's session: thirty seconds of a simulated walk, as a device sends them and the app records them."""
    place, walk = tmp_path_factory.mktemp("sessions"), recordings[0].part(0.0, 30.0)
    with SessionLogWriter(place / "all.mcap") as log:
        for at_s, data in schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, 100.0):
            log.write(Chunk(at_s, data))
    source = f"replay:{place / 'all.mcap'}?pace=fast"
    record_session(
        Config(source=(source,), record_dir=place / "s", display=False, slots=LEG_SLOTS, user="ann")
    )
    (folder,) = (place / "s").iterdir()
    return folder
