"""The application every command registers on."""

from __future__ import annotations

import typer

from talaria_training.data.cli import app as data_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Recordings to models, offline.",
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
