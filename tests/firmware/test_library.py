"""The C library keeps its claims under sanitizers, and nothing a host sends can hurt it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLAIMS = re.findall(r"^CLAIM\((\w+)\)", (HERE / "library_test.c").read_text(), re.MULTILINE)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Tool = Callable[..., str]


@pytest.fixture(scope="module", params=["gcc", "clang"])
def program(
    request: pytest.FixtureRequest,
    tool: Tool,
    firmware_root: Path,
    sources: list[Path],
    vectors_header: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The claims of library_test.c, built with sanitizers."""
    out = tmp_path_factory.mktemp(request.param) / "library_test"
    includes = (f"-I{firmware_root / 'include'}", f"-I{vectors_header}")
    test = HERE / "library_test.c"
    tool(request.param, *STRICT, *SANITIZED, *includes, *sources, test, "-o", out)
    return out


@pytest.mark.parametrize("claim", CLAIMS)
def test_library(tool: Tool, program: Path, claim: str) -> None:
    tool(str(program), claim)


def test_every_claim_is_run() -> None:
    entries = re.findall(r"^    ENTRY\((\w+)\)", (HERE / "library_test.c").read_text(), re.M)
    assert sorted(entries) == sorted(CLAIMS)


def test_library_needs_no_heap_and_no_c_library(firmware_root: Path) -> None:
    allowed = {"talaria.h", "stdbool.h", "stddef.h", "stdint.h", "string.h"}
    for path in [*firmware_root.glob("src/*.c"), *firmware_root.glob("include/*.h")]:
        used = set(re.findall(r"#include [<\"]([^>\"]+)[>\"]", path.read_text()))
        assert used <= allowed, f"{path.name} includes {used - allowed}"


def test_library_calls_nothing_outside_itself(
    tool: Tool, sources: list[Path], firmware_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "talaria.o"
    include = f"-I{firmware_root / 'include'}"
    # A relocatable whole: what it does not define itself it wants from somebody else.
    objects = []
    for source in sources:
        objects.append(tmp_path / f"{source.stem}.o")
        tool("gcc", "-std=c99", "-O2", "-ffreestanding", include, "-c", source, "-o", objects[-1])
    tool("ld", "-r", *objects, "-o", out)
    wanted = {line.split()[-1] for line in tool("nm", "-u", out).splitlines()}
    # What any compiler may call for copying and clearing.
    assert wanted <= {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}


def test_cppcheck_has_nothing_to_say(tool: Tool, firmware_root: Path) -> None:
    tool(
        "cppcheck",
        "--std=c99",
        "--enable=warning,style,performance,portability",
        "--error-exitcode=1",
        "--quiet",
        "--inline-suppr",
        f"-I{firmware_root / 'include'}",
        firmware_root / "src",
        firmware_root / "boards" / "qemu-mps2" / "walker.c",
    )


def test_fuzzer_finds_nothing(
    tool: Tool, firmware_root: Path, sources: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "fuzz"
    include = f"-I{firmware_root / 'include'}"
    flags = ("-g", "-O2", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
    target = firmware_root / "fuzz" / "command_parser.c"
    tool("clang", *STRICT, *flags, include, *sources, target, "-o", out)
    # The fuzzer keeps what it found in its working folder, if anything.
    told = tool(str(out), "-runs=60000", "-seed=1", "-max_len=256", f"-artifact_prefix={tmp_path}/")
    assert "Done 60000 runs" in told


def test_random_bytes_find_nothing(
    tool: Tool, firmware_root: Path, sources: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "fuzz"
    include = f"-I{firmware_root / 'include'}"
    target = firmware_root / "fuzz" / "command_parser.c"
    compiler = "gcc" if shutil.which("gcc") else "clang"
    tool(compiler, *STRICT, *SANITIZED, "-DPLAIN_MAIN", include, *sources, target, "-o", out)
    tool(str(out), "60000")
