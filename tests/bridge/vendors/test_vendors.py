"""Other people's sensors: each family's vectors, and the contract all decoders share."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talaria_bridge.assembler import ReadingAssembler
from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading, Vec3
from talaria_bridge.vendors import FAMILIES, capture2go, dot, witmotion, xbus, ximu3
from talaria_bridge.vendors.metawear import MetaWearDecoder
from talaria_bridge.vendors.virtual.devices import VIRTUAL, started

FOLDER = Path(__file__).parents[3] / "firmware-bridge" / "vectors" / "vendors"
VECTORS = [
    pytest.param(path.stem, vector, id=f"{path.stem}: {vector['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for vector in json.loads(path.read_text())
]
PAIRS = sorted(VIRTUAL)
STREAMS = [pair for pair in PAIRS if pair[1] != "ble"]
DEG = math.pi / 180
ACC, GYR = (1.25, -9.5, 3.0), (0.5, -2.0, 4.0)


def recording(family: str, transport: Transport, count: int = 40) -> list[tuple[str, bytes]]:
    device = started(FAMILIES[family], transport)
    sent = []
    for k in range(count):
        acc = (ACC[0] + 0.01 * k, ACC[1], ACC[2])
        sent += device.sample(k / 100, acc, GYR)
    return sent


@pytest.mark.parametrize(("family", "vector"), VECTORS)
def test_vector_is_read_as_its_document_says(family: str, vector: dict[str, Any]) -> None:
    decoder = FAMILIES[family].decoder(vector["transport"])
    readings = decoder.feed(bytes.fromhex(vector["hex"]), vector["stream"])
    assert +decoder.faults == Counter(vector["faults"])
    assert len(readings) == len(vector["readings"])
    for reading, wanted in zip(readings, vector["readings"], strict=True):
        for name in ("acc_ms2", "gyr_rads", "quat_wxyz", "ticks", "seq", "battery"):
            value = getattr(reading, name)
            if name not in wanted:
                assert value is None, name
            else:
                assert value == pytest.approx(wanted[name], abs=6e-4, rel=2e-4), name


def test_every_family_has_vectors_a_virtual_device_and_something_to_say_of_itself() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert any(pair[0] == name for pair in PAIRS)
        assert ((name, "ble") in PAIRS) == (family.ble is not None)
        assert ((name, "serial") in PAIRS) == (family.serial is not None)
        assert list(family.rates_hz) == sorted(family.rates_hz)
        if family.ticks is None:
            assert "no time" in family.caveat or "no clock" in family.caveat


@pytest.mark.parametrize(("family", "transport"), PAIRS)
def test_a_virtual_device_is_read_as_what_it_measured(family: str, transport: Transport) -> None:
    decoder = FAMILIES[family].decoder(transport)
    assembler = ReadingAssembler("femur_r", FAMILIES[family], 100.0)
    samples = []
    for k, (stream, data) in enumerate(recording(family, transport)):
        samples += assembler.push(decoder.feed(data, stream), 5.0 + k / 100)
    assert len(samples) == 40
    assert [sample.seq for sample in samples] == list(range(40))
    for k, sample in enumerate(samples):
        assert sample.acc_ms2 == pytest.approx((ACC[0] + 0.01 * k, *ACC[1:]), abs=3e-3)
        assert sample.gyr_rads == pytest.approx(GYR, abs=6e-4)
    assert set(+decoder.faults) <= {"unused"}
    assert (assembler.lost, assembler.unpaired) == (0, 0)


@pytest.mark.parametrize(("family", "transport"), PAIRS)
def test_a_device_streams_only_once_it_is_started_the_way_its_family_starts(
    family: str, transport: Transport
) -> None:
    asleep = VIRTUAL[family, transport]()
    if not asleep.streaming:
        assert asleep.sample(0.0, ACC, GYR) == []
    assert started(FAMILIES[family], transport).streaming


@pytest.mark.parametrize(("family", "transport"), STREAMS)
@settings(max_examples=30)
@given(data=st.data())
def test_byte_by_byte_equals_all_at_once(
    family: str, transport: Transport, data: st.DataObject
) -> None:
    valid = b"".join(chunk for _, chunk in recording(family, transport, 6))
    noise = st.binary(max_size=40)
    pieces = data.draw(st.lists(st.one_of(noise, st.just(valid), st.just(valid[7:50])), max_size=6))
    stream = b"".join(pieces)
    whole, single = (FAMILIES[family].decoder(transport) for _ in range(2))
    at_once = whole.feed(stream)
    by_byte = [r for k in range(len(stream)) for r in single.feed(stream[k : k + 1])]
    assert by_byte == at_once
    assert single.faults == whole.faults


@pytest.mark.parametrize(("family", "transport"), PAIRS)
@settings(max_examples=60)
@given(
    chunks=st.lists(
        st.tuples(st.sampled_from(["", "data", "acc", "gyr"]), st.binary(max_size=80)), max_size=20
    )
)
def test_any_bytes_give_readings_or_counted_faults(
    family: str, transport: Transport, chunks: list[tuple[str, bytes]]
) -> None:
    decoder = FAMILIES[family].decoder(transport)
    for stream, data in chunks:
        for reading in decoder.feed(data, stream):
            assert isinstance(reading, Reading)
            values: list[float] = []
            for part in (reading.acc_ms2, reading.gyr_rads, reading.quat_wxyz):
                values += part or ()
            assert all(map(math.isfinite, values))


@pytest.mark.parametrize(("family", "transport"), STREAMS)
def test_a_stream_that_never_ends_a_message_is_not_kept(family: str, transport: Transport) -> None:
    for filler in (b"U", b"\x02", b"\xfa\xff", b"\xc9", b"{", b"\x00", b"\xfa\xff\x36\xff\x07"):
        decoder: Any = FAMILIES[family].decoder(transport)
        for _ in range(200):
            decoder.feed(filler * 100)
        assert len(decoder._buffer) <= 4096


CHECKED = [("witmotion", "serial"), ("capture2go", "serial"), ("xbus", "serial")]


@pytest.mark.parametrize(("family", "transport"), CHECKED)
def test_damage_anywhere_in_a_checked_stream_costs_what_it_hit_and_is_counted(
    family: str, transport: Transport
) -> None:
    rng = random.Random(3)
    sent = [data for _, data in recording(family, transport, 30)]
    clean = [r for data in sent for r in FAMILIES[family].decoder(transport).feed(data)]
    for _ in range(200):
        stream = bytearray(b"".join(sent))
        at = rng.randrange(len(stream))
        stream[at] ^= 1 << rng.randrange(8)
        decoder = FAMILIES[family].decoder(transport)
        readings = decoder.feed(bytes(stream)) + decoder.feed(b"".join(sent))
        lost = 2 * len(clean) - len(readings)
        assert lost <= 3
        assert all(reading in clean for reading in readings)
        assert decoder.faults.total() > 0 or lost == 0


@pytest.mark.parametrize(("family", "transport"), STREAMS)
def test_a_lost_connection_leaves_no_half_message_behind(family: str, transport: Transport) -> None:
    (_, data), *_ = recording(family, transport, 1)
    decoder = FAMILIES[family].decoder(transport)
    decoder.feed(data[:-3])
    decoder.reset()
    assert len(decoder.feed(data)) == len(FAMILIES[family].decoder(transport).feed(data))


def test_dot_messages_sum_to_nothing() -> None:
    good = [
        "010102FC",
        "0103010602F3",
        "010141BD",
        "020108F5",
        "02025109A2",
        "0207 01CCBBAACD22D402",
    ]
    good += ["02020300F9", "020102FB", "030104F8", "01097400010506070809 0A54"]
    for text in good:
        data = bytes.fromhex(text.replace(" ", ""))
        assert dot.is_message(data)
        assert dot.message(data[0], data[2:-1]) == data
    # The start command as the vendor's own document prints it.
    assert not dot.is_message(bytes.fromhex("010740DF503B5B0807E0"))


def test_dot_is_asked_for_the_next_rate_it_has() -> None:
    device = VIRTUAL["dot", "ble"]()
    for asked, given_ in ((1, 1), (25, 30), (60, 60), (100, 60)):
        device.write(dot.set_rate(asked), dot.CONTROL)
        assert device.rate_hz == given_  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("acc_range_g", "payload", "wanted_g"),
    [
        (4, "030416C494A22AD0", [(-1.872, -2.919, -1.495)]),
        (
            8,
            "031C62B7530DE9FD16D04D0E57028AFFA1050A01",
            [(-4.539, 0.833, -0.131), (-2.995, 0.894, 0.146), (-0.029, 0.352, 0.065)],
        ),
    ],
)
def test_metawear_ranges_scale_its_counts(
    acc_range_g: int, payload: str, wanted_g: list[Vec3]
) -> None:
    readings = MetaWearDecoder(acc_range_g=acc_range_g).feed(bytes.fromhex(payload))
    for reading, wanted in zip(readings, wanted_g, strict=True):
        assert reading.acc_ms2 == pytest.approx([v * 9.80665 for v in wanted], abs=6e-3)


def test_metawear_rates_at_500_and_1000_degrees() -> None:
    (one,) = MetaWearDecoder(gyr_range_dps=500).feed(bytes.fromhex("13053E43FF7F0080"))
    assert one.gyr_rads == pytest.approx([v * DEG for v in (262.409, 499.497, -499.512)], abs=1e-5)
    packed = bytes.fromhex("13070915AD2608DE8A1A0D2665E48D20AC2773EC")
    assert len(MetaWearDecoder(gyr_range_dps=1000).feed(packed)) == 3


def test_ximu3_stuffing_is_that_of_the_manual() -> None:
    for plain, stuffed in (
        ("450A414D504C45", "45DBDC414D504C45"),
        ("50DB0A", "50DBDDDBDC"),
    ):
        assert ximu3.stuff(bytes.fromhex(plain)) == bytes.fromhex(stuffed)
        assert ximu3.unstuff(bytes.fromhex(stuffed)) == bytes.fromhex(plain)


def test_commands_are_those_of_the_documents() -> None:
    assert xbus.message(xbus.GO_TO_CONFIG) == bytes.fromhex("FAFF3000D1")
    assert xbus.message(xbus.GO_TO_MEASUREMENT) == bytes.fromhex("FAFF1000F1")
    assert witmotion.set_rate(100) == bytes.fromhex("FFAA030900")
    assert ximu3.divisor(100) == 4


@pytest.mark.parametrize("omitted", range(4))
def test_capture2go_quaternions_survive_their_packing(omitted: int) -> None:
    rng = random.Random(omitted)
    for _ in range(50):
        parts = [rng.uniform(-0.4, 0.4) for _ in range(4)]
        parts[omitted] = 0.9
        norm = math.sqrt(sum(v * v for v in parts))
        quat = [v / norm for v in parts]
        packed = omitted << 60
        for k in range(3):
            # 20 bits each, over ±1/√2, from the one before the omitted downwards.
            level = round(quat[(omitted + 3 - k) % 4] * math.sqrt(2) * 2**19) + 2**19
            packed |= level << 20 * k
        assert capture2go.unpack_quaternion(packed) == pytest.approx(quat, abs=3e-6)
