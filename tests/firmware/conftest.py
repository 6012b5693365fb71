"""The C library as a program, as a shared object and as a board in qemu."""

from __future__ import annotations

import ctypes
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2] / "firmware-bridge"
HERE = Path(__file__).parent
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
TYPES = {"hello": 1, "data": 2, "status": 3, "pong": 4, "ack": 5, "nack": 6}
COMMANDS = {
    "ask_hello": 0x81,
    "ping": 0x82,
    "set_rate": 0x83,
    "start": 0x84,
    "stop": 0x85,
    "identify": 0x86,
}


def run(*command: str | Path, timeout_s: float = 50) -> str:
    """Run a tool to its end; its own words are the failure."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def firmware_root() -> Path:
    """Folder of the C sources."""
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """Run a tool; the test is skipped, with a reason, where it is not installed."""

    def call(name: str, *arguments: str | Path, timeout_s: float = 50) -> str:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed, so what it would check stays unchecked here")
        return run(name, *arguments, timeout_s=timeout_s)

    return call


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """The library, whole."""
    return sorted((ROOT / "src").glob("*.c"))


@pytest.fixture(scope="session")
def vectors_header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with vectors.h: the golden vectors as C."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "vectors.h").write_text(vectors_as_c())
    return folder


@pytest.fixture(scope="session")
def shared_object(
    tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., ctypes.CDLL]:
    """Build C files into a shared object and load it."""

    def build(name: str, *files: Path) -> ctypes.CDLL:
        out = tmp_path_factory.mktemp("so") / f"{name}.so"
        includes = (f"-I{ROOT / 'include'}", f"-I{ROOT / 'boards' / 'qemu-mps2'}")
        compiler = shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            pytest.skip("there is no C compiler here, so the library cannot be built")
        tool(compiler, *STRICT, "-O1", "-shared", "-fPIC", *includes, *files, "-o", out)
        return ctypes.CDLL(str(out))

    return build


@pytest.fixture(scope="session")
def talaria_c(shared_object: Callable[..., ctypes.CDLL], sources: list[Path]) -> ctypes.CDLL:
    """The library for ctypes."""
    library = shared_object("talaria", *sources, HERE / "shim.c")
    for name, kind in (
        ("talaria_crc32", ctypes.c_uint32),
        ("talaria_seal", ctypes.c_size_t),
        ("talaria_encode_hello", ctypes.c_size_t),
        ("talaria_encode_data", ctypes.c_size_t),
        ("talaria_encode_status", ctypes.c_size_t),
        ("talaria_encode_pong", ctypes.c_size_t),
        ("talaria_encode_ack", ctypes.c_size_t),
        ("talaria_encode_nack", ctypes.c_size_t),
        ("talaria_parser_feed", ctypes.c_bool),
        ("talaria_init", ctypes.c_bool),
        ("talaria_push", ctypes.c_bool),
        ("shim_device_size", ctypes.c_size_t),
        ("shim_sample_size", ctypes.c_size_t),
        ("shim_parser_size", ctypes.c_size_t),
        ("shim_refused", ctypes.c_uint16),
    ):
        getattr(library, name).restype = kind
    return library


# ---- vectors as C


def vectors_as_c() -> str:
    """Write the golden vectors as C structs."""
    valid = json.loads((ROOT / "vectors" / "valid.json").read_text())["vectors"]
    commands = json.loads((ROOT / "vectors" / "commands.json").read_text())["vectors"]
    arrays: list[str] = []
    messages = [_message_as_c(arrays, i, v) for i, v in enumerate(valid)]
    asked = [_command_as_c(arrays, i, v) for i, v in enumerate(commands)]
    return "\n".join(
        [
            '#include "talaria.h"',
            "typedef struct { const char *name; const uint8_t *wire; size_t length; int type;",
            "  talaria_hello hello; talaria_data data; const int16_t (*counts)[6];",
            "  talaria_status status; uint64_t host_us; uint32_t device_us, hold_us;",
            "  uint8_t command, tag, reason; } golden_message;",
            "typedef struct { const char *name; const uint8_t *wire; size_t length; int answered;",
            "  uint16_t refused; uint8_t type, tag, reason; uint64_t host_us;",
            "  uint32_t rate_millihz; uint8_t duration_s; } golden_command;",
            *arrays,
            f"#define GOLDEN_MESSAGES {len(messages)}u",
            f"static const golden_message golden_messages[] = {{{', '.join(messages)}}};",
            f"#define GOLDEN_COMMANDS {len(asked)}u",
            f"static const golden_command golden_commands[] = {{{', '.join(asked)}}};",
            "",
        ]
    )


def _bytes_as_c(arrays: list[str], name: str, wire: str) -> str:
    data = bytes.fromhex(wire)
    arrays.append(f"static const uint8_t {name}[] = {{{', '.join(map(str, data))}}};")
    return f".wire = {name}, .length = {len(data)}"


def _message_as_c(arrays: list[str], i: int, vector: dict[str, Any]) -> str:
    fields = dict(vector["message"])
    kind = fields.pop("type")
    parts = [f'.name = "{vector["name"]}"', _bytes_as_c(arrays, f"wire_{i}", vector["wire"])]
    parts.append(f".type = {TYPES[kind]}")
    if kind == "hello":
        fields["slot_mask"] = fields.pop("slots")
        fields["device_id"] = f"0x{fields['device_id']}u"
        fields["name"] = json.dumps(fields["name"])
        parts.append(_struct_as_c("hello", fields))
    elif kind == "data":
        rows = [f"{{{', '.join(map(_int16, row))}}}" for row in fields.pop("counts")]
        arrays.append(f"static const int16_t counts_{i}[][6] = {{{', '.join(rows)}}};")
        parts += [_struct_as_c("data", {**fields, "count": len(rows)}), f".counts = counts_{i}"]
    elif kind == "status":
        parts.append(_struct_as_c("status", fields))
    else:
        parts += [f".{key} = {value}u" for key, value in fields.items()]
    return f"{{{', '.join(parts)}}}"


def _int16(value: int) -> str:
    return str(value) if value > -32768 else "(-32767 - 1)"


def _struct_as_c(name: str, fields: dict[str, Any]) -> str:
    values = (f".{k} = {v}{'u' if isinstance(v, int) else ''}" for k, v in fields.items())
    return f".{name} = {{{', '.join(values)}}}"


def _command_as_c(arrays: list[str], i: int, vector: dict[str, Any]) -> str:
    message = dict(vector.get("message", {}))
    kind = message.pop("type", None)
    fields = {"answered": 0 if kind is None else 1, "refused": 1 if kind in (None, "nack") else 0}
    if kind == "nack":
        fields["type"] = message.pop("command")
    elif kind is not None:
        fields["type"] = COMMANDS[kind]
        # A PING has no tag; what stands in its place is the first byte of the host's time.
        fields["tag"] = message.get("host_us", 0) & 0xFF
    values = [f".{k} = {v}u" for k, v in {**fields, **message}.items()]
    wire = _bytes_as_c(arrays, f"command_{i}", vector["wire"])
    return f'{{.name = "{vector["name"]}", {wire}, {", ".join(values)}}}'


# ---- a board in qemu


class QemuBoard:
    """The firmware of boards/qemu-mps2 in qemu, its UART on a TCP port of this machine.

    Attributes
    ----------
    host, port : str, int
        Where its UART listens, for one client at a time; the same after `restart`.
    """

    host = "127.0.0.1"

    def __init__(self, elf: Path, serial: str = "tcp") -> None:
        self._elf = elf
        self._serial = serial
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.tty = ""
        self.restart()

    @property
    def spec(self) -> str:
        """The source spec of its UART."""
        return f"tcp:{self.host}:{self.port}"

    def kill(self) -> None:
        """Cut its power; clients see the connection end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def restart(self) -> None:
        """Cut its power if it has any, and give it back."""
        self.kill()
        if self._serial == "pty":
            self._start("pty")
            assert self._process is not None
            assert self._process.stdout is not None
            line = self._process.stdout.readline()  # "char device redirected to /dev/pts/3 (...)"
            self.tty = next(word for word in line.split() if word.startswith("/dev/"))
            return
        # The listening socket is ours, so a client may connect before qemu has come up.
        with socket.create_server((self.host, self.port)) as listener:
            self.port = listener.getsockname()[1]
            self._start(f"chardev:uart,{listener.fileno()}")

    def _start(self, serial: str) -> None:
        command = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none"]
        pass_fds: tuple[int, ...] = ()
        if serial == "pty":
            command += ["-serial", "pty"]
        else:
            fd = int(serial.split(",")[1])
            pass_fds = (fd,)
            chardev = f"socket,id=uart,fd={fd},server=on,wait=off"
            command += ["-chardev", chardev, "-serial", "chardev:uart"]
        self._process = subprocess.Popen(
            [*command, "-kernel", str(self._elf)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=pass_fds,
        )


@pytest.fixture(scope="session")
def board_elf(
    tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """Build the qemu firmware for a clock that starts at so many microseconds."""
    built: dict[int, Path] = {}

    def build(clock_start_us: int = 0) -> Path:
        if clock_start_us not in built:
            if shutil.which("arm-none-eabi-gcc") is None:
                pytest.skip("arm-none-eabi-gcc is not installed, so no firmware can be built here")
            folder = tmp_path_factory.mktemp("board")
            start = f"CLOCK_START_US={clock_start_us}u"
            tool("make", "-C", ROOT / "boards" / "qemu-mps2", f"BUILD={folder}", start)
            built[clock_start_us] = folder / "talaria.elf"
        return built[clock_start_us]

    return build


@pytest.fixture
def start_board(board_elf: Callable[[int], Path]) -> Iterator[Callable[..., QemuBoard]]:
    """Start boards that end with the test."""
    boards: list[QemuBoard] = []

    def start(clock_start_us: int = 0, serial: str = "tcp") -> QemuBoard:
        if shutil.which("qemu-system-arm") is None:
            pytest.skip("qemu-system-arm is not installed, so the firmware cannot be run here")
        boards.append(QemuBoard(board_elf(clock_start_us), serial))
        return boards[-1]

    yield start
    for board in boards:
        board.kill()


@pytest.fixture
def qemu_board(start_board: Callable[..., QemuBoard]) -> QemuBoard:
    """A board that has just been switched on: `host`, `port`, `spec`, `kill()`, `restart()`."""
    return start_board()
