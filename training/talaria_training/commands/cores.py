"""What the network's memories cost: `talaria-train cores`."""

from __future__ import annotations

import json
from dataclasses import asdict

from talaria_training import core_figures
from talaria_training.commands.app import app
from talaria_training.commands.common import JsonOption, bar, out
from talaria_training.commands.files import writing
from talaria_training.cores import CORES


@app.command()
def cores(json_file: JsonOption = None) -> None:
    """Compare the cores a network can have: parameters, step time, training speed, file size."""
    figures = []
    with bar("Exporting and timing", len(CORES)) as done:
        for row in core_figures.measure():
            figures.append(row)
            done()
    out.print(core_figures.table(figures))
    if json_file:
        with writing(json_file):
            json_file.write_text(json.dumps([asdict(row) for row in figures], indent=2))
