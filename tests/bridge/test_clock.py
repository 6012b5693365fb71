"""Device time becomes host time: wraps and restarts are seen, jitter of arrival is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talaria_bridge.clock import DeviceClock, Ticks

WRAP = 2**32
Schedule = tuple[np.ndarray, np.ndarray]


def serve(clock: DeviceClock, device_us: np.ndarray, arrival_s: np.ndarray) -> np.ndarray:
    """Host seconds the clock gives for each frame as it arrives."""
    return np.array(
        [
            clock.to_host_s(clock.update(int(us) % WRAP, float(t)))
            for us, t in zip(device_us, arrival_s, strict=True)
        ]
    )


def device(seconds: float, drift: float = 0.0, start_us: int = 5_000_000) -> Schedule:
    """Device microseconds and true host seconds of a 100 Hz device that runs slow by `drift`."""
    true_s = np.arange(int(seconds * 100)) / 100
    return np.rint(start_us + true_s * 1e6 / (1 + drift)).astype(np.int64), true_s + 1000.0


def test_first_frame_already_has_a_usable_time() -> None:
    clock = DeviceClock()
    assert clock.to_host_s(clock.update(123_456_789, 50.0)) == pytest.approx(50.0, abs=1e-9)
    assert clock.epoch == 0


def test_clean_device_keeps_its_own_spacing() -> None:
    device_us, true_s = device(120)
    served = serve(DeviceClock(), device_us, true_s + 0.004)
    np.testing.assert_allclose(np.diff(served), np.diff(device_us) * 1e-6, rtol=1e-6)


@pytest.mark.parametrize("drift", [-80e-6, 20e-6, 80e-6])
def test_drifting_device_keeps_its_spacing_and_is_followed(drift: float) -> None:
    device_us, true_s = device(120, drift)
    clock = DeviceClock()
    served = serve(clock, device_us, true_s)
    spacing = np.diff(served) / (np.diff(device_us) * 1e-6)
    assert np.abs(spacing - (1 + drift)).max() < 1e-4  # never further than it was uncorrected
    np.testing.assert_allclose(served, true_s, atol=1e-3)
    np.testing.assert_allclose(served[6000:], true_s[6000:], atol=1e-4)
    assert clock.drift == pytest.approx(drift, abs=5e-6)


def test_half_a_percent_of_drift_is_followed() -> None:
    device_us, true_s = device(180, 5e-3)
    served = serve(DeviceClock(), device_us, true_s)
    np.testing.assert_allclose(served, true_s, atol=0.06)
    np.testing.assert_allclose(served[12_000:], true_s[12_000:], atol=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_jitter_of_arrival_does_not_reach_the_signal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    device_us, true_s = device(120, 30e-6)
    arrival_s = np.maximum.accumulate(true_s + 0.002 + rng.exponential(0.008, len(true_s)))
    served = serve(DeviceClock(), device_us, arrival_s)
    settled = slice(3000, None)
    assert np.std(arrival_s - true_s) > 5e-3
    np.testing.assert_allclose(served[settled], true_s[settled] + 0.002, atol=6e-4)
    assert np.abs(np.diff(served) / 0.01 - 1)[settled].max() < 4e-4
    assert np.diff(served).min() > 0.0098  # a glide, never a step


def test_late_first_frame_is_forgotten_in_seconds() -> None:
    device_us, true_s = device(20)
    arrival_s = true_s.copy()
    arrival_s[:10] = true_s[9] + 0.05
    served = serve(DeviceClock(), device_us, arrival_s)
    assert served[0] - true_s[0] == pytest.approx(0.14)
    assert abs(served[-1] - true_s[-1]) < 0.06
    assert np.diff(served).min() > 0.0098


def test_time_goes_on_through_the_32_bit_wrap() -> None:
    device_us, true_s = device(20, start_us=WRAP - 10_000_000)
    clock = DeviceClock()
    served = serve(clock, device_us, true_s)
    assert clock.epoch == 0
    np.testing.assert_allclose(served, true_s, atol=1e-6)


def test_multi_hour_run_wraps_more_than_once() -> None:
    device_us, true_s = device(0.1)
    hours = np.arange(0, 4 * 3600, 60.0)  # a frame a minute
    clock = DeviceClock()
    served = serve(clock, device_us[0] + (hours * 1e6).astype(np.int64), true_s[0] + hours)
    assert clock.epoch == 0
    np.testing.assert_allclose(served, true_s[0] + hours, atol=1e-6)


@pytest.mark.parametrize("silence_s", [30.0, 2000.0, 4400.0, 10_000.0])
def test_silence_of_any_length_is_no_restart(silence_s: float) -> None:
    device_us, true_s = device(30, 20e-6)
    later = true_s[-1] + silence_s + true_s - true_s[0]
    later_us = device_us + round((later[0] - true_s[0]) * 1e6 / (1 + 20e-6))
    clock = DeviceClock()
    serve(clock, device_us, true_s)
    served = serve(clock, later_us, later)
    assert clock.epoch == 0
    np.testing.assert_allclose(served, later, atol=2e-3 + 5e-6 * silence_s)


@pytest.mark.parametrize("uptime_s", [3.0, 1200.0, 3600.0, 4290.0])
def test_device_time_falling_back_is_a_restart(uptime_s: float) -> None:
    clock = DeviceClock()
    before_us, true_s = device(5, start_us=round(uptime_s * 1e6))
    serve(clock, before_us, true_s)
    after_us, _ = device(5, start_us=0)
    later_s = true_s + 8.0
    flagged = uptime_s > 4200  # so near the wrap only the device itself can tell
    first = clock.update(int(after_us[0]), later_s[0], restarted=flagged)
    assert clock.epoch == 1
    assert clock.to_host_s(first) == pytest.approx(later_s[0])
    np.testing.assert_allclose(serve(clock, after_us[1:], later_s[1:]), later_s[1:], atol=1e-6)


def test_every_slot_saying_it_restarted_is_one_restart() -> None:
    clock = DeviceClock()
    for k in range(300):
        clock.update(10_000_000 + 10_000 * k, k / 100)
    for slot in range(4):
        clock.update(20_000_000 + slot, 10.0, restarted=True)
    assert clock.epoch == 1


def test_backlog_that_arrives_late_is_no_restart() -> None:
    device_us, true_s = device(40)
    arrival_s = true_s.copy()
    stalled = (true_s > 1010) & (true_s < 1025)
    arrival_s[stalled] = 1025.0
    clock = DeviceClock()
    served = serve(clock, device_us, arrival_s)
    assert clock.epoch == 0
    np.testing.assert_allclose(served, true_s, atol=5e-3)


def test_slots_may_overtake_each_other_a_little() -> None:
    clock = DeviceClock()
    for k in range(200):
        clock.update(1_000_000 + 10_000 * k, k / 100)
        us = clock.update(1_000_000 + 10_000 * k - 300_000, k / 100)
        assert clock.to_host_s(us) == pytest.approx(k / 100 - 0.3, abs=1e-6)
    assert clock.epoch == 0


def test_same_input_gives_the_same_time_and_reset_is_as_new() -> None:
    rng = np.random.default_rng(0)
    device_us, true_s = device(30)
    arrival_s = true_s + rng.exponential(0.01, len(true_s))
    clock = DeviceClock()
    first = serve(clock, device_us, arrival_s)
    clock.reset()
    np.testing.assert_array_equal(serve(clock, device_us, arrival_s), first)
    np.testing.assert_array_equal(serve(DeviceClock(), device_us, arrival_s), first)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, WRAP - 1), st.floats(-1e6, 1e6), st.booleans()), max_size=60)
)
def test_no_device_time_and_no_arrival_breaks_the_clock(
    frames: list[tuple[int, float, bool]],
) -> None:
    clock = DeviceClock()
    for device_us, arrival_s, restarted in frames:
        us = clock.update(device_us, arrival_s, restarted)
        assert us % WRAP == device_us
        assert np.isfinite(clock.to_host_s(us))


def test_correction_does_not_run_on_through_a_silence() -> None:
    device_us, true_s = device(3)
    arrival_s = true_s.copy()
    arrival_s[:100] = true_s[99]  # the first second comes late, so the clock is gliding back
    clock = DeviceClock()
    before = serve(clock, device_us, arrival_s)
    after = serve(clock, device_us + 60_000_000, true_s + 60.0)
    late_s = before[-1] - true_s[-1]
    assert 0.5 < late_s < 1.0
    assert after[0] - true_s[0] - 60.0 == pytest.approx(late_s, abs=0.01)


def jittered(true_s: np.ndarray, seed: int = 1) -> np.ndarray:
    """Arrival over a radio: 2 ms at best, 8 ms more on average, in order."""
    rng = np.random.default_rng(seed)
    return np.maximum.accumulate(true_s + 0.002 + rng.exponential(0.008, len(true_s)))


@pytest.mark.parametrize("drift", [-500e-6, 500e-6])
def test_500_ppm_are_followed_to_a_millisecond_through_jitter(drift: float) -> None:
    device_us, true_s = device(180, drift)
    clock = DeviceClock()
    served = serve(clock, device_us, jittered(true_s))
    settled = slice(6000, None)
    assert clock.epoch == 0
    assert np.sqrt(np.mean((served - true_s - 0.002)[settled] ** 2)) < 1e-3
    assert np.abs(np.diff(served) / 0.01 - 1)[settled].max() < 0.01


@pytest.mark.parametrize("drift", [-0.08, 0.08])
@pytest.mark.parametrize("seed", range(3))
def test_a_rate_8_percent_wrong_is_found_in_seconds_and_is_no_restart(
    drift: float, seed: int
) -> None:
    device_us, true_s = device(120, drift)
    clock = DeviceClock()
    served = serve(clock, device_us, jittered(true_s, seed))
    error_s = served - true_s - 0.002
    assert clock.epoch == 0
    assert clock.drift == pytest.approx(drift, abs=1e-3)
    assert np.abs(error_s).max() < 0.3
    assert np.abs(error_s[1000:]).max() < 0.03  # after ten seconds
    assert np.abs(error_s[4000:]).max() < 5e-3
    assert np.diff(served).min() > 0.0


def test_24_bit_ticks_wrap_every_512_seconds_and_in_silences_too() -> None:
    ticks = Ticks(1 / 32768, 24)
    true_s = 1000.0 + np.concatenate([np.arange(0, 1200, 0.02), 3000 + np.arange(0, 100, 0.02)])
    counts = np.rint(true_s * 32768 * (1 + 100e-6)).astype(np.int64) % 2**24
    clock = DeviceClock(ticks=ticks)
    served = np.array(
        [clock.to_host_s(clock.update(int(c), t)) for c, t in zip(counts, true_s, strict=True)]
    )
    assert clock.epoch == 0
    np.testing.assert_allclose(served, true_s, atol=0.05)
    np.testing.assert_allclose(served[-1000:], true_s[-1000:], atol=5e-3)


def test_a_wrong_rate_known_before_a_silence_is_used_to_count_its_wraps() -> None:
    ticks = Ticks(1 / 32768, 24)
    true_s = np.concatenate([np.arange(0, 60, 0.02), 4000 + np.arange(0, 60, 0.02)])
    counts = np.rint(true_s * 32768 * 1.08).astype(np.int64) % 2**24
    clock = DeviceClock(ticks=ticks)
    served = np.array(
        [clock.to_host_s(clock.update(int(c), t)) for c, t in zip(counts, true_s, strict=True)]
    )
    assert clock.epoch == 0
    np.testing.assert_allclose(served[-100:], true_s[-100:], atol=0.5)


def test_a_silence_after_which_wraps_cannot_be_counted_is_a_restart() -> None:
    clock = DeviceClock(ticks=Ticks(1 / 32768, 24))
    clock.update(0, 0.0)
    late_s = 10_000.0  # of a clock whose rate nobody knows yet to 12 %: more than one wrap of doubt
    assert clock.to_host_s(clock.update(5, late_s)) == pytest.approx(late_s)
    assert clock.epoch == 1


def test_pings_take_the_constant_delay_out_without_a_step() -> None:
    device_us, true_s = device(120, 20e-6)
    arrival_s = true_s + 0.020
    clock = DeviceClock()
    served = []
    for k, (us, t) in enumerate(zip(device_us, arrival_s, strict=True)):
        served.append(clock.to_host_s(clock.update(int(us) % WRAP, float(t))))
        if k % 100 == 50:
            sent_s = float(true_s[k]) - 0.020
            clock.note_pong(round(sent_s * 1e6), int(us) % WRAP, 3000, sent_s + 0.040 + 0.003)
    error_s = np.array(served) - true_s
    assert error_s[0] == pytest.approx(0.020, abs=1e-3)
    assert np.abs(error_s[8000:]).max() < 2e-3
    assert np.diff(served).min() > 0.0098


def test_nonsense_pongs_change_nothing() -> None:
    device_us, true_s = device(30)
    one, other = DeviceClock(), DeviceClock()
    first = serve(one, device_us[:1500], true_s[:1500])
    other.note_pong(0, 0, 0, 1.0)  # before anything is known
    second = serve(other, device_us[:1500], true_s[:1500])
    other.note_pong(round(true_s[1500] * 1e6), 5, 0, float(true_s[1400]))  # answered before asked
    other.note_pong(0, 5, 0, float(true_s[1500]))  # a quarter of an hour under way
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(
        serve(one, device_us[1500:], true_s[1500:]), serve(other, device_us[1500:], true_s[1500:])
    )


def test_jitter_is_told() -> None:
    device_us, true_s = device(60)
    quiet, restless = DeviceClock(), DeviceClock()
    serve(quiet, device_us, true_s + 0.01)
    serve(restless, device_us, jittered(true_s))
    assert quiet.jitter_s < 1e-5
    assert 4e-3 < restless.jitter_s < 16e-3


def test_a_day_leaves_no_drift_and_takes_no_memory() -> None:
    hours_s = np.arange(0, 86_400, 4.0)
    device_us = np.rint(hours_s * 1e6 * (1 - 40e-6)).astype(np.int64)
    clock = DeviceClock()
    served = serve(clock, device_us, hours_s + 0.003)
    assert clock.epoch == 0
    np.testing.assert_allclose(served[100:], hours_s[100:] + 0.003, atol=1e-3)
    assert len(clock._minima) <= 20
