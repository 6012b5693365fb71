"""Forces and joint moments: `talaria-train kinetics`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import RecordingError
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    JsonOption,
    PeopleOption,
    bar,
    err,
    load_people,
    names_in,
    note,
    out,
)
from talaria_training.commands.files import write_report
from talaria_training.kinetics.opensim_check import check_dynamics
from talaria_training.kinetics.overground import read_steps
from talaria_training.kinetics.target_tables import (
    moments_table,
    step_rows,
    steps_table,
    trial_rows,
    trials_table,
)
from talaria_training.kinetics.targets import force_trial

kinetics_app = typer.Typer(
    no_args_is_help=True, help="Ground reaction forces and joint moments, measured and learned."
)
app.add_typer(kinetics_app, name="kinetics")


@kinetics_app.command()
def targets(
    data: Annotated[Path, typer.Argument(help="Recordings with force plates, such as CapSense.")],
    people: PeopleOption = None,
    json_file: JsonOption = None,
) -> None:
    """Put the force plates on the sensors' clock, and say where they can be trusted."""
    recordings = [r for group in load_people(data, names_in(people)) for r in group]
    measured = [recording for recording in recordings if recording.plates is not None]
    if not measured:
        raise RecordingError(
            f"{data} holds no recording with force plates: give one that has them, or see "
            "'talaria-train kinetics steps' for C3D files."
        )
    rows = []
    with bar("Aligning force plates", len(measured)) as done:
        for recording in measured:
            trial = force_trial(recording, None)
            rows += trial_rows(trial) if trial else []
            done()
    out.print(trials_table(rows))
    for recording_name, said in dict.fromkeys(
        (r["recording"], n) for r in rows for n in r["notes"]
    ):
        note(f"{recording_name}: {said}")
    write_report(json_file, {"trials": rows})


@kinetics_app.command()
def steps(
    data: Annotated[
        Path, typer.Argument(help="C3D files, or *_grf.mot with .trc beside them; a folder or zip.")
    ],
    json_file: JsonOption = None,
) -> None:
    """Read single steps of one foot on one force plate."""
    rows = step_rows(read_steps(data, note))
    out.print(steps_table(rows))
    write_report(json_file, {"steps": rows})


@kinetics_app.command("check-dynamics")
def check(
    data: Annotated[
        Path, typer.Argument(help="Folder or zip with *.osim, NAME_ik.mot and NAME_grf.mot.")
    ],
    json_file: JsonOption = None,
) -> None:
    """Compare the planar joint moments with OpenSim's inverse dynamics (needs pyopensim)."""
    with err.status("Running OpenSim's inverse dynamics …"):
        rows = check_dynamics(data, note)
    out.print(moments_table(rows))
    write_report(json_file, {"moments": [asdict(row) for row in rows]})
