"""A recorded session once more, as `talaria replay` would run it, with an ear on its network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from talaria_bridge.errors import ConfigError, ModelContractError, RecordingError
from talaria_bridge.receiver import Receiver
from talaria_bridge.recorder import read_session_log
from talaria_edge.again import config_of, walk_of
from talaria_edge.alignment import Alignment, SlotStatus, Tick
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.calibration_walk import CalibrationWalk, look_at_walk
from talaria_edge.config import Config
from talaria_edge.gait import GaitClass
from talaria_edge.grading import grade_calibration
from talaria_edge.hearing import Choose, Listener
from talaria_edge.model import StreamingModel
from talaria_edge.spec import ModelSpec


def hear(folder: Path, model: Path | None, choose: Choose) -> Listener:
    """Replay a recorded session into a listener.

    Parameters
    ----------
    folder : Path
        Session folder.
    model : Path or None
        Another model than it was run with.
    choose : callable

    Raises
    ------
    RecordingError
        If the folder holds no session, or not one instant of data.
    ConfigError
        If no model is named and the session was recorded without one.
    CalibrationError
        If the session ended before its calibration was complete.
    ModelContractError
        If the model does not fit, or tells no two classes apart.
    """
    config, calibration = config_of(folder, model, "fast", display=False)
    walk = walk_of(folder)
    if config.model is None:
        raise ConfigError(
            f"{folder} was recorded without a model, so no class was given: give --model a folder such "
            "as models/talaria-legs-2."
        )
    network = StreamingModel.load(config.model, slots=config.slots, rate_hz=config.rate_hz)
    class_names(network.spec)
    ticks = _ticks(folder, config)
    if calibration is None:
        calibration, walk = _calibrated(ticks, network, config)
    usual_rad = None if walk is None else walk.usual_rad(network.sha256)
    listener = Listener(network, calibration, config.rate_hz, usual_rad, choose)
    for tick in ticks:
        listener.step(tick)
    return listener


def class_names(spec: ModelSpec) -> tuple[str, ...]:
    """Return the classes a model tells apart.

    Raises
    ------
    ModelContractError
        If there are fewer than two.
    """
    head = spec.head("gait_class")
    names = () if head is None else head.columns
    if len(names) < 2:
        knows = f"knows only the class {names[0]}" if names else "has no head for the class of gait"
        raise ModelContractError(
            f"Model {spec.model_id} {knows}, so there is no choice to explain: give --model one that "
            "tells classes apart, such as models/talaria-legs-2."
        )
    return names


def _ticks(folder: Path, config: Config) -> Iterator[Tick]:
    items = read_session_log(folder)
    receiver = Receiver(items.links)
    alignment = Alignment(config.slots, config.rate_hz, config.alignment.params())
    count = 0
    for item in items:
        for sample in receiver.push(item):
            for tick in alignment.push(sample):
                count += 1
                yield tick
    if not count:
        raise RecordingError(
            f"{folder} holds not one instant with data of {', '.join(config.slots)}: record again with "
            "those sensors on."
        )


def _calibrated(
    ticks: Iterator[Tick], model: StreamingModel, config: Config
) -> tuple[Calibration, CalibrationWalk]:
    """Calibrate as the session did on its way, and leave the ticks where its first angles were."""
    collector = CalibrationCollector(config.rate_hz, config.slots)
    for tick in ticks:
        if SlotStatus.GONE in tick.status:
            collector = CalibrationCollector(config.rate_hz, config.slots)
            continue
        stretch = collector.collect(tick.acc_ms2, tick.gyr_rads)
        if stretch is None:
            continue
        calibration = grade_calibration(stretch).calibration
        if calibration is not None:
            gait = GaitClass(config.usual_gait)
            return calibration, look_at_walk(stretch, calibration, model, gait)
        collector = CalibrationCollector(config.rate_hz, config.slots)
    collector.finish()
    raise AssertionError("unreachable: a collector without a stretch refuses to finish")
