"""What the repository says about itself is true."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.forces import MOMENT_JOINTS
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Gives
from talaria_edge.stances import FORCE_AXES

ROOT = Path(__file__).parents[1]
MODELS = sorted(path.parent for path in ROOT.glob("models/*/model.onnx"))


def test_changelog_and_package_agree_on_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_there_is_a_released_model() -> None:
    assert MODELS


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_released_models_fit_this_runtime_and_their_checksums(folder: Path) -> None:
    gives: Gives = "forces" if folder.name.startswith("talaria-forces") else "angles"
    # Loading replays the parity vector.
    model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0, gives=gives)
    forces = tuple(f"grf_{axis}_{side}" for side in SIDES for axis in FORCE_AXES)
    moments = tuple(f"{joint}_moment_{side}" for side in SIDES for joint in MOMENT_JOINTS)
    names = {"angles": ANGLES, "forces": forces + moments}
    assert tuple(output.name for output in model.spec.outputs) == names[gives]
    assert model.spec.held_out is not None
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_every_local_link_in_the_documentation_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("models/*/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (
                    f"{page.relative_to(ROOT)} links to {target}"
                )
