import math
import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

from study.training.schedules import (
    SCHEDULES,
    ScheduleClock,
    make_schedule,
    make_transition,
)

# Ten epochs of CIFAR-10 at batch 128: 391 steps each.
TOTAL, BASE, FLOOR = 3910, 1e-3, 1e-6


def optimizer(rate=BASE, **settings):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, **settings)


def torch_rates(make, total, rate=BASE):
    sgd = optimizer(rate)
    scheduler = make(sgd)
    rates = []
    for _ in range(total):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()
    return rates


def test_multiplicative_and_absolute_cosine_are_equal_over_3910_steps():
    ours = make_schedule("cosine", total=TOTAL, base=BASE, floor=FLOOR)
    absolute = torch_rates(lambda sgd: CosineAnnealingLR(sgd, TOTAL, eta_min=FLOOR), TOTAL)
    factor = FLOOR / BASE

    def cosine_factor(t):
        return factor + (1 - factor) * 0.5 * (1 + math.cos(math.pi * t / TOTAL))

    multiplicative = torch_rates(lambda sgd: LambdaLR(sgd, cosine_factor), TOTAL)
    from_ours = torch_rates(lambda sgd: LambdaLR(sgd, lambda t: ours(t) / BASE), TOTAL)
    for t in range(TOTAL):
        assert ours(t) == pytest.approx(multiplicative[t], rel=0, abs=1e-17)
        assert ours(t) == pytest.approx(from_ours[t], rel=0, abs=1e-17)
        # torch's closed form is recursive: rounding adds up.
        assert ours(t) == pytest.approx(absolute[t], rel=0, abs=1e-15)


def test_cosine_ends_at_floor_which_no_step_uses():
    schedule = make_schedule("cosine", total=10, base=1.0, floor=0.1)
    assert schedule(0) == 1.0
    assert schedule(5) == pytest.approx(0.55)
    assert schedule(9) > 0.1
    assert schedule(10) == pytest.approx(0.1)


def test_onecycle_equals_torch():
    total, rise = 100, 30
    ours = make_schedule("onecycle", total=total, base=0.4, floor=0.4 / 25 / 1e4)
    theirs = torch_rates(
        lambda sgd: OneCycleLR(
            sgd,
            max_lr=0.4,
            total_steps=total + 1,
            pct_start=(rise + 1) / (total + 1),
            cycle_momentum=False,
        ),
        total,
    )
    assert [ours(t) for t in range(total)] == pytest.approx(theirs, abs=1e-12)
    assert ours(rise) == pytest.approx(0.4)


@pytest.mark.parametrize("total", [1, 2, 3, 10])
def test_onecycle_of_few_steps_reaches_its_peak(total):
    schedule = make_schedule("onecycle", total=total, base=1.0)
    assert max(schedule(t) for t in range(total)) == 1.0
    assert min(schedule(t) for t in range(total)) > 0


def test_onecycle_warmup_is_length_of_rise():
    schedule = make_schedule("onecycle", total=10, base=1.0, warmup=5)
    values = [schedule(t) for t in range(10)]
    assert values[0] == pytest.approx(1 / 25)
    assert values.index(max(values)) == 5


def test_linear_falls_by_equal_steps():
    schedule = make_schedule("linear", total=4, base=1.0, floor=0.2)
    assert [schedule(t) for t in range(5)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_step_decays_at_milestones():
    schedule = make_schedule("step", total=8, base=1.0)
    assert [schedule(t) for t in range(8)] == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)
    thirds = make_schedule("step", total=3, base=1.0, floor=0.5)
    assert [thirds(t) for t in range(4)] == pytest.approx([1.0, 1.0, 0.55, 0.505])


def test_constant_stays():
    schedule = make_schedule("constant", total=5, base=0.3, floor=0.1)
    assert {schedule(t) for t in range(6)} == {0.3}


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"onecycle"}))
def test_warmup_rises_on_a_line_to_base(name):
    schedule = make_schedule(name, total=20, base=1.0, warmup=4)
    assert [schedule(t) for t in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_schedule_after_warmup_is_the_schedule_of_what_is_left(name):
    warmed = make_schedule(name, total=12, base=1.0, floor=0.1, warmup=5)
    plain = make_schedule(name, total=7, base=1.0, floor=0.1)
    assert [warmed(5 + t) for t in range(8)] == [plain(t) for t in range(8)]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 3])
def test_schedule_stays_between_zero_and_base(name, warmup):
    schedule = make_schedule(name, total=50, base=0.7, floor=0.01, warmup=warmup)
    assert all(0 < schedule(t) <= 0.7 for t in range(50))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_of_tensors_equals_schedule_of_floats(name):
    floats = make_schedule(name, total=20, base=0.5, floor=0.125, warmup=2)
    tensors = make_schedule(
        name, total=20, base=torch.tensor([0.5, 1.0]), floor=torch.tensor([0.125, 0.25]), warmup=2
    )
    for t in range(21):
        assert tensors(t).tolist() == pytest.approx([floats(t), 2 * floats(t)], rel=1e-6)


@pytest.mark.parametrize("t", [-1, 6])
def test_schedule_outside_its_steps_raises(t):
    with pytest.raises(ValueError, match=f"step {t} is outside"):
        make_schedule("cosine", total=5, base=1.0)(t)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "cosin"}, "unknown schedule 'cosin'.*cosine"),
        ({"total": 0}, "total: 0"),
        ({"warmup": 10}, "warmup: 10"),
        ({"warmup": -1}, "warmup: -1"),
        ({"base": 0.0}, "base: 0.0"),
        ({"base": -1.0}, "base: -1.0"),
        ({"floor": 2.0}, "floor: 2.0 must not be above base"),
        ({"floor": -1.0}, "floor: -1.0"),
        ({"name": "x", "total": 0}, "unknown schedule .*; total: 0"),
    ],
)
def test_make_schedule_bad_arguments_raise(changes, match):
    arguments = {"name": "cosine", "total": 10, "base": 1.0} | changes
    with pytest.raises(ValueError, match=match):
        make_schedule(arguments.pop("name"), **arguments)


def test_clock_per_batch_gives_each_step_its_value():
    sgd, schedule = optimizer(), make_schedule("linear", total=6, base=0.6)
    clock = ScheduleClock(sgd, schedule, per="batch", steps_per_epoch=3)
    seen = []
    for epoch in range(2):
        clock.start_epoch(epoch)
        for step in range(3):
            assert clock.before_step(step) == sgd.param_groups[0]["lr"]
            seen.append(sgd.param_groups[0]["lr"])
    assert seen == [schedule(t) for t in range(6)]


def test_clock_per_epoch_holds_value_within_epoch():
    sgd, schedule = optimizer(), make_schedule("linear", total=2, base=0.6)
    clock = ScheduleClock(sgd, schedule, per="epoch", steps_per_epoch=3)
    seen = []
    for epoch in range(2):
        clock.start_epoch(epoch)
        seen += [clock.before_step(step) for step in range(3)]
    assert seen == pytest.approx([0.6] * 3 + [0.3] * 3)


def descend(rates):
    """x after SGD on x**2 / 2 from 1, one rate a step."""
    x = 1.0
    for rate in rates:
        x -= rate * x
    return x


def test_clock_first_step_uses_first_value_unlike_a_scheduler_stepped_first():
    schedule = make_schedule("cosine", total=5, base=0.5)
    point = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    sgd = torch.optim.SGD([point], lr=0.5)
    clock = ScheduleClock(sgd, schedule, per="batch", steps_per_epoch=5)
    for step in range(5):
        clock.before_step(step)
        sgd.zero_grad()
        (point**2 / 2).sum().backward()
        sgd.step()
    right = descend(schedule(t) for t in range(5))
    assert point.item() == pytest.approx(right, abs=1e-12)

    wrong_point = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    sgd = torch.optim.SGD([wrong_point], lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of exactly this order
        scheduler = CosineAnnealingLR(sgd, 5)
        for _ in range(5):
            sgd.zero_grad()
            (wrong_point**2 / 2).sum().backward()
            scheduler.step()
            sgd.step()
    assert wrong_point.item() == pytest.approx(descend(schedule(t) for t in range(1, 6)))
    assert abs(wrong_point.item() - right) > 0.01


def test_clock_resumed_needs_no_state():
    schedule = make_schedule("onecycle", total=12, base=0.6)
    clock = ScheduleClock(optimizer(), schedule, per="batch", steps_per_epoch=4)
    clock.start_epoch(2)
    assert clock.before_step(1) == schedule(9)


def test_clock_sets_all_groups_and_another_key():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    sgd = torch.optim.SGD([{"params": [a]}, {"params": [b], "weight_decay": 1.0}], lr=0.1)
    schedule = make_schedule("constant", total=2, base=0.25)
    ScheduleClock(sgd, schedule, per="batch", steps_per_epoch=2, key="weight_decay").before_step(0)
    assert [group["weight_decay"] for group in sgd.param_groups] == [0.25, 0.25]
    assert [group["lr"] for group in sgd.param_groups] == [0.1, 0.1]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"per": "step"}, "per: 'step'"),
        ({"steps_per_epoch": 0}, "steps_per_epoch: 0"),
        ({"key": "betas"}, "SGD has no 'betas'"),
    ],
)
def test_clock_bad_arguments_raise(changes, match):
    arguments = {"per": "batch", "steps_per_epoch": 2} | changes
    with pytest.raises(ValueError, match=match):
        ScheduleClock(optimizer(), make_schedule("constant", total=2, base=1.0), **arguments)


def test_clock_step_beyond_epoch_raises():
    clock = ScheduleClock(
        optimizer(),
        make_schedule("constant", total=2, base=1.0),
        per="epoch",
        steps_per_epoch=2,
    )
    with pytest.raises(ValueError, match="step 2 of an epoch of 2"):
        clock.before_step(2)


@pytest.mark.parametrize(("start", "end"), [(0.9, 0.0), (0.9, 0.99), (0.0, 0.4), (5e-4, 5e-4)])
@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_transition_goes_from_start_to_end_up_or_down(name, start, end):
    schedule = make_transition(name, total=10, start=start, end=end)
    values = [schedule(t) for t in range(11)]
    assert (values[0], values[10]) == pytest.approx((start, end))
    assert values == sorted(values, reverse=start > end)


def test_transition_that_falls_is_the_schedule_of_the_rate():
    for name in ("cosine", "linear", "step", "constant"):
        ours = make_transition(name, total=20, start=0.9, end=0.1)
        rate = make_schedule(name, total=20, base=0.9, floor=0.1)
        assert [ours(t) for t in range(21)] == pytest.approx([rate(t) for t in range(21)])


def test_transition_onecycle_is_the_momentum_of_torchs_onecycle():
    total, rise = 100, 30
    sgd = optimizer(0.4, momentum=0.9)
    share = (rise + 1) / (total + 1)
    settings = {"base_momentum": 0.85, "max_momentum": 0.95, "pct_start": share}
    theirs = OneCycleLR(sgd, max_lr=0.4, total_steps=total + 1, **settings)
    ours = make_transition("onecycle", total=total, start=0.95, end=0.85)
    for t in range(total):
        assert ours(t) == pytest.approx(sgd.param_groups[0]["momentum"], abs=1e-12)
        sgd.step()
        theirs.step()
    assert ours(rise) == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"name": "sine"}, "unknown schedule"), ({"total": 0}, "total"), ({"end": -1.0}, "floor")],
)
def test_transition_bad_arguments_raise(changes, match):
    settings = {"name": "cosine", "total": 10, "start": 0.9, "end": 0.1, **changes}
    with pytest.raises(ValueError, match=match):
        make_transition(**settings)


def test_clock_of_momentum_sets_adams_first_beta_and_keeps_the_second():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], betas=(0.9, 0.99))
    schedule = make_transition("linear", total=4, start=0.9, end=0.5)
    clock = ScheduleClock(optimizer, schedule, per="batch", steps_per_epoch=4, key="momentum")
    assert clock.before_step(2) == pytest.approx(0.7)
    assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.7), 0.99)


def test_clock_of_some_groups_leaves_the_others():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.0)
    clock = ScheduleClock(
        optimizer, lambda _: 0.3, per="epoch", steps_per_epoch=1, key="weight_decay", groups=[0]
    )
    clock.before_step(0)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
