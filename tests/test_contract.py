"""What the repository says about itself is true."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.forces import MOMENT_JOINTS
from talaria_edge.generate.contract import SPEC_FILE
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.walkers import Outing, check_outing
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Gives
from talaria_edge.stances import FORCE_AXES

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in ROOT.glob("models/*/model.onnx"))
GENERATORS = [folder for folder in FOLDERS if (folder / SPEC_FILE).exists()]
MODELS = [folder for folder in FOLDERS if folder not in GENERATORS]


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


@pytest.mark.parametrize("folder", GENERATORS, ids=lambda path: path.name)
def test_released_generative_models_open_here_and_draw_walkers(folder: Path) -> None:
    # Opening compares the files with their checksums and replays the parity windows.
    spec = Generator.open(folder).spec
    assert spec.model_id == folder.name
    assert spec.people
    check_outing(spec, 1, Outing())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_file_of_a_released_model_is_the_one_that_was_released(folder: Path) -> None:
    lines = [line.split() for line in (folder / "SHA256SUMS").read_text().splitlines()]
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert {name for _, name in lines} >= {"card.md", "model.onnx", "model.safetensors"}
    assert folder.name in (folder / "card.md").read_text(encoding="utf-8")


def test_every_local_link_in_the_documentation_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("models/*/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (
                    f"{page.relative_to(ROOT)} links to {target}"
                )
