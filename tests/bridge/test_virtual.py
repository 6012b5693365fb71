"""A recording becomes the frames a device would have sent, at the times it would have sent them."""

from __future__ import annotations

import os
import select

import numpy as np
import pytest

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import Hello, ImuFrame
from talaria_bridge.samples import LEG_SLOTS, ImuSample, SampleFlag
from talaria_bridge.virtual import VirtualSerialDevice, schedule_chunks, schedule_frames

RNG = np.random.default_rng(8)
T_S = 20 + np.arange(350) / 100
ACC = RNG.normal(0, 20, (350, 4, 3))
GYR = RNG.normal(0, 3, (350, 4, 3))


def replayed(frames: list[tuple[float, bytes]]) -> list[ImuSample]:
    decoder, assembler = FrameDecoder(), SampleAssembler()
    samples = [s for t, data in frames for s in assembler.push(decoder.feed(data), t)]
    assert sum(decoder.counters.lost_samples.values()) == 0
    return samples


@pytest.mark.parametrize("samples_per_frame", [1, 2, 7, 18])
def test_recording_survives_its_frames(samples_per_frame: int) -> None:
    samples = replayed(
        schedule_frames(LEG_SLOTS, T_S, ACC, GYR, 100.0, samples_per_frame=samples_per_frame)
    )
    assert len(samples) == 4 * len(T_S)
    for s, slot in enumerate(LEG_SLOTS):
        mine = [sample for sample in samples if sample.slot == slot]
        assert [sample.seq for sample in mine] == list(range(350))
        np.testing.assert_allclose([x.t_s for x in mine], T_S, atol=1e-6)
        np.testing.assert_allclose([x.acc_ms2 for x in mine], ACC[:, s], atol=0.0025)
        np.testing.assert_allclose([x.gyr_rads for x in mine], GYR[:, s], atol=0.0006)


def test_frame_is_sent_when_its_last_sample_is_taken() -> None:
    frames = schedule_frames(("torso",), T_S, ACC[:, :1], GYR[:, :1], 100.0, samples_per_frame=5)
    sent = [t for t, data in frames if isinstance(FrameDecoder().feed(data)[0], ImuFrame)]
    np.testing.assert_allclose(sent, T_S[4::5])


def test_hello_comes_first_and_then_once_a_second() -> None:
    frames = schedule_frames(LEG_SLOTS, T_S, ACC, GYR, 100.0)
    hellos = [t for t, data in frames if isinstance(FrameDecoder().feed(data)[0], Hello)]
    assert hellos == pytest.approx([20.0, 21.0, 22.0, 23.0])
    (hello,) = FrameDecoder().feed(frames[0][1])
    assert isinstance(hello, Hello)
    assert (hello.slots, hello.rate_millihz) == (LEG_SLOTS, 100_000)


def test_device_clock_wraps_on_the_way() -> None:
    samples = replayed(
        schedule_frames(
            LEG_SLOTS, T_S, ACC, GYR, 100.0, samples_per_frame=3, device_us0=2**32 - 1_005_000
        )
    )
    np.testing.assert_allclose([s.t_s for s in samples if s.slot == "femur_l"], T_S, atol=1e-6)


def test_hole_in_the_recording_ends_the_frame_and_is_flagged() -> None:
    t_s = np.concatenate([T_S[:7], T_S[7:] + 0.25])
    samples = replayed(schedule_frames(LEG_SLOTS, t_s, ACC, GYR, 100.0, samples_per_frame=4))
    mine = [s for s in samples if s.slot == "calcn_r"]
    assert [k for k, s in enumerate(mine) if s.flags & SampleFlag.TIME_GAP] == [7]
    np.testing.assert_allclose([s.t_s for s in mine], t_s, atol=1e-6)


def test_clipped_samples_are_flagged_in_their_frame_only() -> None:
    acc, gyr = ACC.copy(), GYR.copy()
    acc[10, 2, 1] = 500.0
    gyr[30, 0, 0] = -99.0
    samples = replayed(schedule_frames(LEG_SLOTS, T_S, acc, gyr, 100.0))
    flagged = [(s.slot, s.seq, s.flags) for s in samples if s.flags]
    assert flagged == [("calcn_r", 10, SampleFlag.ACC_CLIP), ("femur_r", 30, SampleFlag.GYR_CLIP)]


def test_chunk_holds_all_that_is_sent_at_one_instant() -> None:
    chunks = schedule_chunks(LEG_SLOTS, T_S, ACC, GYR, 100.0)
    assert [chunk.t_s for chunk in chunks] == list(T_S)
    frames = schedule_frames(LEG_SLOTS, T_S, ACC, GYR, 100.0)
    assert b"".join(c.data for c in chunks) == b"".join(data for _, data in frames)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"t_s": T_S[:5]}, "shape"),
        ({"t_s": T_S[:0], "acc_ms2": ACC[:0], "gyr_rads": GYR[:0]}, "shape"),
        ({"t_s": T_S[::-1]}, "do not rise"),
        ({"acc_ms2": ACC[:, :2]}, "shape"),
        ({"gyr_rads": np.where(GYR > 3, np.nan, GYR)}, "not finite"),
        ({"samples_per_frame": 19}, "do not fit"),
        ({"slots": ("a", "b", "c", "d")}, "no number on the wire"),
    ],
)
def test_recording_that_cannot_be_sent_is_refused(change: dict[str, object], reason: str) -> None:
    arguments = {"slots": LEG_SLOTS, "t_s": T_S, "acc_ms2": ACC, "gyr_rads": GYR, "rate_hz": 100.0}
    with pytest.raises(FrameFormatError, match=reason):
        schedule_frames(**{**arguments, **change})


def test_virtual_port_changes_no_byte_for_a_reader_that_sets_nothing() -> None:
    data = bytes(range(256))
    with VirtualSerialDevice([(0.0, data)], settle_s=0.05) as device:
        port = os.open(device.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            assert device.wait(10)
            got = b""
            while len(got) < len(data) and select.select([port], [], [], 5)[0]:
                got += os.read(port, 4096)
        finally:
            os.close(port)
    assert got == data
