"""Any ablation is read and dumped and read again as itself; any wrong one is bad input."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import BadInput
from study.space.loading import load_resolved, load_space
from study.space.points import grid, substitute
from study.space.reading.yamlfile import dump

BASE: dict[str, Any] = {
    "recipe": "energy",
    "train": {"epochs": 4, "weight_decay": 0.001},
    "select": {"floor": {"id_accuracy": {"at_least": 0.5}}},
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.floats(1e-6, 1.0).filter(lambda lr: lr != 0.001),  # the recipe's own
    "nesterov": st.just(False),
    "momentum": st.floats(0.01, 0.99),
    "schedule": st.sampled_from(["onecycle", "constant", "linear"]),
    "m_in": st.floats(-99, -50) | st.builds(
        lambda sd: {"below": "id_energy", "sd": sd}, st.floats(3, 9)
    ),
    "model.dropout": st.floats(0.1, 0.9),
    "epoch_images": st.integers(128, 9999),
}  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@st.composite
def ablations(draw: st.DrawFn) -> dict[str, Any]:
    design = draw(st.sampled_from(["one_at_a_time", "leave_one_out", "factorial", "path"]))
    most = 1 if design in ("leave_one_out", "path") else 3
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4, unique=True))
    factors: dict[str, Any] = {}
    for name in names:
        levels = st.lists(VALUES[name], min_size=1, max_size=most, unique_by=str)
        if draw(st.booleans()):
            factors[name] = draw(levels)
        else:
            factors[f"set_{name}"] = {
                f"level {i}": {name: value} for i, value in enumerate(draw(levels))
            }
    seeds = draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True))
    return {"design": design, "seeds": seeds, "factors": factors}


def load(plain: dict[str, Any], folder: str) -> Any:
    file = Path(folder) / "space.yaml"
    file.write_text(dump(plain), encoding="utf-8", errors="surrogatepass")
    return load_space(str(file))


@given(ablations())
@settings(max_examples=80)
def test_ablation_is_read_back_equal_and_each_arm_is_a_trial(ablate: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = load(BASE | {"ablate": ablate}, folder)
        file = Path(folder) / "spec.yaml"
        file.write_text(spec.dump(), encoding="utf-8")
        assert load_resolved(file) == spec
    points = grid(spec)
    assert len(points) == spec.tune.num_trials
    trials = {str(substitute(spec, point)) for point in points}
    assert len(trials) * len(ablate["seeds"]) == len(points)  # no arm is another


@given(ablations(), st.sampled_from(["design", "seeds", "factors", "x", None]), ANY)
@settings(max_examples=150)
def test_any_value_in_an_ablation_loads_or_is_bad_input(
    ablate: dict[str, Any], key: str | None, value: Any
) -> None:
    plain = BASE | {"ablate": value if key is None else {**ablate, key: value}}
    with tempfile.TemporaryDirectory() as folder:
        try:
            load(plain, folder)
        except BadInput as bad:
            assert all(fault.rule for fault in bad.faults)  # noqa: PT017 - both are good ends


@given(ablations(), st.sampled_from(["lr", "odd"]), ANY)
@settings(max_examples=150)
def test_any_factor_loads_or_is_bad_input(ablate: dict[str, Any], name: str, levels: Any) -> None:
    ablate["factors"][name] = levels
    with tempfile.TemporaryDirectory() as folder:
        try:
            load(BASE | {"ablate": ablate}, folder)
        except BadInput as bad:
            assert all(str(fault).isprintable() for fault in bad.faults)  # noqa: PT017
