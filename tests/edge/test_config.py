"""A device's TOML is taken at its word, and a wrong word is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from talaria_bridge.errors import ConfigError
from talaria_edge.config import AlignmentConfig, Config, load_config


def write(folder: Path, text: str) -> Path:
    path = folder / "device.toml"
    path.write_text(text)
    return path


def test_a_key_nearly_right_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'modle' in .*device\.toml: did you mean 'model'\?"):
        load_config(write(tmp_path, 'source = "sim:"\nmodle = "x"\n'))
    with pytest.raises(ConfigError, match=r"alignment\.max_wait.*did you mean 'max_wait_s'"):
        load_config(write(tmp_path, 'source = "sim:"\n[alignment]\nmax_wait = 1\n'))


def test_a_key_unlike_any_gets_the_list_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'zzz' .*known: source, sensors, model"):
        load_config(write(tmp_path, 'source = "sim:"\nzzz = 1\n'))


def test_options_override_the_file_and_absent_options_do_not(tmp_path: Path) -> None:
    path = write(tmp_path, 'source = "sim:"\nuser = "anna"\nrate_hz = 50\n')
    config = load_config(path, source="replay:x.mcap", user=None, rate_hz=200.0)
    assert (config.source, config.user, config.rate_hz) == (("replay:x.mcap",), "anna", 200.0)


def test_paths_are_meant_from_the_files_folder(tmp_path: Path) -> None:
    path = write(tmp_path, 'source = "sim:"\nmodel = "m/base"\nrecord_dir = "/var/gait"\n')
    config = load_config(path)
    assert config.model == tmp_path / "m" / "base"
    assert config.record_dir == Path("/var/gait")
    assert load_config(path, model=Path("other")).model == Path("other")


def test_false_records_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, 'source = "sim:"\nrecord_dir = false\n')
    assert load_config(path).record_dir is None
    assert load_config(None, source="sim:", record_dir=False).record_dir is None
    assert load_config(None, source="sim:").record_dir is not None


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('slots = ["femur_r", "hat"]', "slots.*'hat'"),
        ('slots = ["femur_r", "femur_r"]', "slots"),
        ("slots = []", "slots"),
        ("rate_hz = 0", "rate_hz"),
        ('rate_hz = "fast"', "rate_hz"),
        ("seconds = -5", "seconds"),
        ("alignment = 3", "alignment"),
        ("[alignment]\nmax_hold_s = -1", r"alignment\.max_hold_s"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, line: str, names: str) -> None:
    with pytest.raises(ConfigError, match=rf"{names}.*device\.toml") as caught:
        load_config(write(tmp_path, f'source = "sim:"\n{line}\n'))
    assert "\n" not in str(caught.value)


def test_a_session_without_a_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="--source"):
        load_config(None)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml"):
        load_config(tmp_path / "no.toml")
    (tmp_path / "device.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"device\.toml"):
        load_config(tmp_path / "device.toml")


def test_the_alignment_table_reaches_the_stage() -> None:
    params = AlignmentConfig(max_wait_s=0.2, max_hold_s=0.3).params()
    assert (params.max_wait_s, params.max_hold_s) == (0.2, 0.3)
    assert Config(source="sim:").alignment.params().max_wait_s == 0.045


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ('":9464"', ("127.0.0.1", 9464)),
        ('"0.0.0.0:9464"', ("0.0.0.0", 9464)),
        ('"[::1]:9464"', ("::1", 9464)),
        ("false", None),
    ],
)
def test_metrics_are_for_this_machine_unless_told_otherwise(
    tmp_path: Path, told: str, meant: tuple[str, int] | None
) -> None:
    config = load_config(write(tmp_path, f'source = "sim:"\nmetrics = {told}\n'))
    assert config.metrics_address == meant
    assert Config(source="sim:").metrics_address is None


@pytest.mark.parametrize("told", ['"here"', "true", "70000", '"http://here:80"', '""'])
def test_metrics_nobody_could_reach_are_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics.*write host:port"):
        load_config(write(tmp_path, f'source = "sim:"\nmetrics = {told}\n'))


def test_the_disk_table_is_checked_and_removes_nothing_by_default(tmp_path: Path) -> None:
    assert Config(source="sim:").disk.max_gb is None
    path = write(tmp_path, 'source = "sim:"\n[disk]\nmax_gb = 4\n')
    assert load_config(path).disk.max_gb == 4
    with pytest.raises(ConfigError, match=r"disk\.max_gb"):
        load_config(write(tmp_path, 'source = "sim:"\n[disk]\nmax_gb = 0\n'))
    with pytest.raises(ConfigError, match=r"disk\.max_bg.*did you mean 'max_gb'"):
        load_config(write(tmp_path, 'source = "sim:"\n[disk]\nmax_bg = 4\n'))
