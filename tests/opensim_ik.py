"""Time OpenSim's own IMU inverse kinematics, in a Python that has `pyopensim` and needs nothing else.

    python opensim_ik.py MODEL.osim ORIENTATIONS.sto START_S STOP_S OUT_FOLDER

Prints one line of JSON: frames solved, seconds of the processor they took beyond loading, and the file written.
`make bench` runs it; see `talaria_training.optical` for the recording it is meant for.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

SENSOR_TO_OPENSIM_RAD = (-1.5707963267948966, 0.0, 0.0)
"""The recording's authors' own setting: their world is z up, OpenSim's is y up."""


def solve(model: str, orientations: str, span_s: tuple[float, float], out: str) -> float:
    """Run the tool over `span_s` and return the processor's seconds it took, loading included."""
    import pyopensim
    from pyopensim import common, tools

    common.Logger.setLevelString("Error")
    tool = tools.IMUInverseKinematicsTool()
    tool.set_model_file(model)
    tool.set_orientations_file(orientations)
    for end, at_s in enumerate(span_s):
        tool.set_time_range(end, at_s)
    tool.set_sensor_to_opensim_rotations(pyopensim.Vec3(*SENSOR_TO_OPENSIM_RAD))
    tool.set_results_directory(out)
    start_s = time.process_time()
    if not tool.run(False):
        raise SystemExit("OpenSim gave up on it")
    return time.process_time() - start_s


def main() -> None:
    model, orientations, start, stop, out = sys.argv[1:]
    start_s, stop_s = float(start), float(stop)
    report = os.dup(1)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.dup2(2, 1)  # OpenSim talks on standard output
    loading_s = solve(model, orientations, (start_s, start_s), out)
    took_s = solve(model, orientations, (start_s, stop_s), out)
    (written,) = Path(out).glob("*.mot")
    rows = written.read_text(encoding="utf-8").partition("endheader")[2].strip().splitlines()
    answer = {
        "frames": len(rows) - 2,
        "seconds": took_s - loading_s,
        "loading_s": loading_s,
        "written": str(written),
    }
    os.write(report, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
