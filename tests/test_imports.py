"""The edge never loads what only training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "onnx", "pandas", "matplotlib", "safetensors", "scipy", "talaria_training")


def test_running_the_edge_loads_nothing_heavy(tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "models" / "talaria-legs-2"
    program = f"""
import sys
import talaria_edge.__main__
from pathlib import Path
from talaria_edge.app import run_session
from talaria_edge.config import Config
summary = run_session(Config(source="sim:?seed=1&seconds=16", model=Path({str(model)!r}),
                             record_dir=Path({str(tmp_path)!r}), display=False))
assert summary.states > 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_training_without_its_extra_says_what_to_install() -> None:
    program = """
import sys
sys.modules["torch"] = None
from talaria_training.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "training extra" in done.stderr
    assert "Traceback" not in done.stderr
