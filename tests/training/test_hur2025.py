"""The published recipe: its shapes, its split, and the wall between people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_edge.calibration import Calibration
from talaria_edge.kinematics import ANGLES
from talaria_training import hur2025, hur2025_data
from talaria_training.data.recording import Recording
from talaria_training.hur2025 import HurSettings, Passes
from talaria_training.hur2025_data import Take, windows
from talaria_training.hur2025_net import HurNet, stitched
from talaria_training.splits import first_walk
from talaria_training.trials import Trial

TINY = HurSettings(
    kinds=("cnn",),
    budgets_s=(4.0,),
    cnn=Passes(1, 1, 1),
    single=Passes(2, 1, 2),
    tune=Passes(2, 1, 2),
    batch=8,
    personal_batch=4,
)


def recording(person: str, seed: int, seconds: float = 15.0) -> Recording:
    """Swinging devices: angles follow from what they read."""
    t_s = np.arange(round(100 * seconds)) / 100
    random = np.random.default_rng(seed)
    phase = 2 * np.pi * t_s[:, None] + np.arange(len(SLOTS))
    gyr = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], axis=-1)
    acc = np.stack([np.cos(phase), 9.8 + 0 * phase, np.sin(phase)], axis=-1)
    turned = {
        slot: Rotation.from_euler("z", 0.3 * np.sin(phase[:, i : i + 1])).as_quat(scalar_first=True)
        for i, slot in enumerate(SLOTS)
    }
    noise = 0.05 * random.standard_normal(gyr.shape)
    return Recording(
        person, "walk", f"{person}/walk", 100.0, t_s, SLOTS, acc + noise, gyr + noise, turned
    )


def trial(of: Recording) -> Trial:
    angles = 0.5 * of.gyr_rads[:, 2, :1] + 0.1 * np.arange(len(ANGLES))
    nothing = np.full((len(of.t_s), 2), np.nan, np.float32)
    return Trial(
        person=of.person,
        condition=of.condition,
        name=of.name,
        rate_hz=of.rate_hz,
        features=np.zeros((len(of.t_s), 40), np.float32),
        angles_rad=angles.astype(np.float32),
        reference="full_chain",
        calibration=Calibration({}),
        contact=nothing,
        cycle=nothing,
    )


@pytest.fixture(scope="module")
def people() -> list[Recording]:
    return [recording(name, seed) for seed, name in enumerate(("A", "B", "C", "D"))]


@pytest.fixture(scope="module")
def labels(people: list[Recording]) -> list[Trial]:
    return [trial(one) for one in people]


@pytest.fixture(scope="module")
def takes(people: list[Recording], labels: list[Trial]) -> list[Take]:
    return hur2025_data.takes_of(people, labels, LEG_SLOTS)


def same_weights(a: HurNet, b: HurNet) -> bool:
    other = b.state_dict()
    return all(torch.equal(v, other[k]) for k, v in a.state_dict().items())


def spoiled(take: Take, start: float) -> Take:
    """The same take with everything after a share of it gone mad."""
    x, y = take.x.copy(), take.y.copy()
    cut = round(start * len(x))
    x[cut:] *= -30.0
    y[cut:] += 5.0
    return replace(take, x=x, y=y)


def test_the_networks_have_the_published_shapes() -> None:
    lstm, cnn = HurNet("lstm", 72), HurNet("cnn", 72)
    assert sum(p.numel() for p in lstm.parameters()) == pytest.approx(369_000, rel=0.01)
    layers = [m for m in cnn.modules() if isinstance(m, torch.nn.Conv1d)]
    widths = [(m.in_channels, m.out_channels, m.kernel_size) for m in layers]
    assert widths == [(72, 24, (5,)), (24, 8, (5,)), (8, len(ANGLES), (5,))]
    for net in (lstm, cnn):
        assert net(torch.zeros(3, 50, 72)).shape == (3, 50, len(ANGLES))


def test_channels_are_force_rate_and_yaw_last(people: list[Recording]) -> None:
    one = people[0]
    yaw = np.radians(30.0)
    turned = Rotation.from_euler("z", [[yaw]] * len(one.t_s)).as_quat(scalar_first=True)
    known = replace(one, orientation={"calcn_l": turned})
    x = hur2025_data.device_channels(known, ("calcn_l",))
    assert x[:, :3] == pytest.approx(one.acc("calcn_l"), abs=1e-6)
    assert x[:, 3:6] == pytest.approx(one.gyr("calcn_l"), abs=1e-6)
    assert x[:, 6:] == pytest.approx(np.tile([0, 0, yaw], (len(x), 1)), abs=1e-6)


def test_no_window_spans_two_recordings() -> None:
    a, b = (
        Take(p, p, np.full((120, 3), i, np.float32), np.full((120, 10), i, np.float32))
        for i, p in enumerate("AB")
    )
    x, y = windows([a, b])
    assert x.shape == (6, 50, 3)
    assert y.shape == (6, 50, 10)
    assert all(len(one.unique()) == 1 for one in x)


class Echo(HurNet):
    """Says the first input, and where in its window a sample stands."""

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[1], dtype=torch.float32).expand(len(x), -1)
        return torch.cat([x[..., :1], place[..., None], x[..., :1].expand(-1, -1, 8)], dim=-1)


@pytest.mark.parametrize("length", [50, 51, 74, 75, 100, 137])
def test_every_sample_gets_one_prediction_the_mean_of_its_windows(length: int) -> None:
    x = np.random.default_rng(0).normal(size=(length, 3)).astype(np.float32)
    out = stitched(Echo("cnn", 3), x)
    assert out.shape == (length, len(ANGLES))
    assert out[:, 0] == pytest.approx(x[:, 0], abs=1e-6)
    if length == 100:  # windows at 0, 25, 50: sample 30 is number 30 of one and number 5 of another
        assert out[30, 1] == pytest.approx((30 + 5) / 2)
        assert out[10, 1] == 10


def test_a_recording_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(RecordingError, match="shorter than the window"):
        stitched(HurNet("cnn", 3), np.zeros((49, 3), np.float32))
    with pytest.raises(RecordingError, match="as long as one window"):
        windows([Take("A", "A", np.zeros((49, 3), np.float32), np.zeros((49, 10), np.float32))])


def test_nothing_of_the_test_person_reaches_the_multi_user_net(takes: list[Take]) -> None:
    mad = [spoiled(t, 0.0) if t.person == "A" else t for t in takes]
    honest = hur2025.multi_user("cnn", ("A",), takes, TINY)
    assert same_weights(honest, hur2025.multi_user("cnn", ("A",), mad, TINY))
    other = [spoiled(t, 0.0) if t.person == "C" else t for t in takes]
    assert not same_weights(honest, hur2025.multi_user("cnn", ("A",), other, TINY))


def test_nobody_left_out_watches_or_teaches(
    takes: list[Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def spy(net: HurNet, learn: list[Take], watch: list[Take], *_: object) -> HurNet:
        seen.append(({t.person for t in learn}, {t.person for t in watch}))
        return net

    monkeypatch.setattr(hur2025, "_learn", spy)
    hur2025.multi_user("cnn", ("D",), takes, TINY)
    hur2025.multi_user("cnn", ("A", "B"), takes, TINY)
    assert seen == [({"B", "C"}, {"A"}), ({"D"}, {"C"})]


def test_personal_approaches_learn_from_the_same_seconds_as_ours(
    takes: list[Take], labels: list[Trial]
) -> None:
    (first,) = hur2025_data.first_takes(labels[:1], takes[:1], 4.0)
    (ours,) = first_walk(labels[:1], 4.0)
    assert len(first.x) == len(ours.features) == 400
    assert np.array_equal(first.y, ours.angles_rad)
    assert np.array_equal(first.x, takes[0].x[:400])


def test_the_last_fifth_of_a_stretch_and_a_window_at_least_only_chooses(takes: list[Take]) -> None:
    for length, kept in ((1000, 800), (400, 320), (120, 70)):
        learn, watch = hur2025._personal_parts([takes[0].cut(0, length)])
        assert np.array_equal(learn[0].x, takes[0].x[:kept])
        assert np.array_equal(watch[0].x, takes[0].x[kept:length])


def test_personal_nets_learn_from_no_sample_after_their_seconds(
    labels: list[Trial], takes: list[Take]
) -> None:
    honest = hur2025._nets("cnn", labels[:1], takes, TINY)
    later = hur2025._nets("cnn", labels[:1], [spoiled(takes[0], 0.3), *takes[1:]], TINY)
    within = hur2025._nets("cnn", labels[:1], [spoiled(takes[0], 0.1), *takes[1:]], TINY)
    for approach in (("fine_tuned", 4.0), ("single_user", 4.0)):
        assert same_weights(honest[approach], later[approach])
        assert not same_weights(honest[approach], within[approach])


def test_fine_tuning_leaves_the_base_as_it_was(takes: list[Take]) -> None:
    base = hur2025.multi_user("cnn", ("A",), takes, TINY)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    tuned = hur2025.fine_tuned(base, [takes[0].cut(0, 400)], TINY)
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())
    assert not same_weights(base, tuned)


def test_the_best_state_by_validation_is_kept(
    takes: list[Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([3.0, 1.0, 2.0, 4.0])
    states: list[HurNet] = []

    def judge(net: HurNet, *_: Tensor) -> float:
        copy = HurNet("cnn", net.x_mean.numel())
        copy.load_state_dict(net.state_dict())
        states.append(copy)
        return next(errors)

    monkeypatch.setattr(hur2025, "validation_rmse", judge)
    settings = replace(TINY, single=Passes(9, 1, 2))
    net = hur2025.single_user("cnn", [takes[0].cut(0, 400)], settings)
    assert len(states) == 4  # two validations without a better one end it
    assert same_weights(net, states[1])


def test_the_recipe_learns_what_can_be_learned(takes: list[Take]) -> None:
    settings = replace(TINY, cnn=Passes(15, 1, 15), lr=1e-2)
    net = hur2025.multi_user("cnn", ("A",), takes, settings)
    error = stitched(net, takes[0].x) - takes[0].y
    assert np.sqrt(np.mean(error**2)) < 0.5 * takes[0].y[:, 0].std()


def test_rows_name_network_approach_and_sensors_and_repeat_exactly(
    people: list[Recording], labels: list[Trial]
) -> None:
    rows = hur2025.hur_rows("B", people, labels, TINY)
    names = {
        f"hur2025_cnn_{approach}{suffix}"
        for approach in ("multi_user", "fine_tuned", "single_user")
        for suffix in ("", "_8")
    }
    assert {row.approach for row in rows} == names
    assert {row.person for row in rows} == {"B"}
    assert len(rows) == len(names) * len(ANGLES)
    assert all((r.budget_s is None) == ("multi_user" in r.approach) for r in rows)
    assert hur2025.hur_rows("B", people, labels, TINY) == rows


def test_a_missing_device_orientation_stops_its_own_person_only(
    people: list[Recording], labels: list[Trial]
) -> None:
    lacking = [replace(r, orientation=None) if r.person == "A" else r for r in people]
    settings = replace(TINY, sensor_sets=(("", LEG_SLOTS),))
    with pytest.raises(RecordingError, match=r"A/walk lacks a sensor or a device orientation"):
        hur2025.hur_rows("A", lacking, labels, settings)
    assert hur2025.hur_rows("B", lacking, labels, settings)


def test_two_others_are_needed(people: list[Recording], labels: list[Trial]) -> None:
    with pytest.raises(RecordingError, match="two people beside A"):
        hur2025.hur_rows("A", people[:2], labels[:2], TINY)
