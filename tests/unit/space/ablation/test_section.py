"""A space with ``ablate:`` from YAML to points, parameters, forecast and back."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInput
from study.options import Override
from study.space.ablation.stop import StopRule
from study.space.loading import load_resolved, load_space
from study.space.points import flat, grid, substitute
from study.space.study_spec import StudySpec

SPACE = """
recipe: energy
model: {dropout: 0.1}
train: {epochs: 2, epoch_images: 128}
ablate:
  design: one_at_a_time
  seeds: [0, 1, 2]
  factors:
    energy_weight: [0, 0.3]
    m_in: [-23, {below: id_energy, sd: 1}]
    plain: {sgd: {nesterov: false}, none: {nesterov: false, momentum: 0.0}}
    model.dropout: [0.0]
    epoch_images: [null]
"""
ARMS = (
    "baseline", "energy_weight=0", "energy_weight=0.3", "m_in=-23", "m_in=below id_energy sd 1",
    "plain=sgd", "plain=none", "model.dropout=0", "epoch_images=null",
)  # fmt: skip


def load(tmp_path: Path, text: str = SPACE, *overrides: str, smoke: bool = False) -> StudySpec:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return load_space(str(file), overrides, smoke=smoke)


def again(spec: StudySpec, tmp_path: Path) -> StudySpec:
    file = tmp_path / "spec.yaml"
    file.write_text(spec.dump())
    return load_resolved(file)


def of_arm(spec: StudySpec, arm: str, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    return substitute(spec, {"arm": arm, "seed": seed})


def test_points_are_all_arms_at_the_first_seed_first(tmp_path: Path) -> None:
    points = grid(load(tmp_path))
    assert [point["arm"] for point in points] == list(ARMS) * 3
    assert [point["seed"] for point in points] == [0] * 9 + [1] * 9 + [2] * 9


def test_spec_counts_its_trials_and_stops_none_early(tmp_path: Path) -> None:
    tune = load(tmp_path).tune
    assert (tune.num_trials, tune.searcher, tune.scheduler) == (27, "grid", "none")


def test_asha_may_be_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, SPACE, "tune.scheduler=asha").tune.scheduler == "asha"


def test_baseline_is_what_train_and_model_say(tmp_path: Path) -> None:
    spec = load(tmp_path)
    train, model = of_arm(spec, "baseline")
    assert train == type(spec.params).model_validate(spec.train).model_dump()
    assert model == spec.model.model_dump()


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("energy_weight=0", {"energy_weight": 0.0}),
        ("m_in=-23", {"m_in": -23.0}),
        ("m_in=below id_energy sd 1", {"m_in": {"below": "id_energy", "sd": 1.0}}),
        ("plain=none", {"nesterov": False, "momentum": 0.0}),
        ("epoch_images=null", {"epoch_images": None}),
    ],
)
def test_arm_differs_from_the_baseline_in_its_settings_alone(
    tmp_path: Path, arm: str, changed: dict[str, Any]
) -> None:
    spec = load(tmp_path)
    (base, base_model), (train, model) = of_arm(spec, "baseline"), of_arm(spec, arm)
    assert {k: v for k, v in train.items() if v != base[k]} == changed
    assert model == base_model


def test_arm_of_the_model_changes_the_model_and_not_the_base(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert of_arm(spec, "model.dropout=0")[1]["dropout"] == 0.0
    assert spec.base is not None
    assert spec.base.dropout == 0.1


def test_arm_is_the_same_at_every_seed(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert of_arm(spec, "plain=sgd", 0) == of_arm(spec, "plain=sgd", 2)


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize(
    ("design", "factors"),
    [
        ("one_at_a_time", "{lr: [0.1, 0.2], epochs: [3]}"),
        ("leave_one_out", "{lr: [0.1], m_out: [-3], a: {b: {momentum: 0.5}}}"),
        ("factorial", "{lr: [0.1, 0.2], nesterov: [false], outlier_batch_size: [32, 64]}"),
        ("fractional_factorial", "{lr: [0.1], nesterov: [false], min_lr: [1.0e-6], epochs: [3]}"),
        ("path", "{warmup_epochs: [1], batch_size: [64], schedule: [onecycle]}"),
    ],
)
def test_dump_of_a_design_is_read_back_equal(
    tmp_path: Path, design: str, factors: str, smoke: bool
) -> None:
    text = f"recipe: energy\ntrain: {{epochs: 4}}\nablate: {{design: {design}, seeds: [1, 0], "
    spec = load(tmp_path, f"{text}factors: {factors}}}\n", smoke=smoke)
    once = again(spec, tmp_path)
    assert once == spec
    assert once.dump() == spec.dump()
    assert grid(once) == grid(spec)
    assert all(substitute(once, point) == substitute(spec, point) for point in grid(spec))


def test_resolved_names_no_searcher_and_no_search(tmp_path: Path) -> None:
    plain = load(tmp_path).resolved()
    assert "search" not in plain
    assert not {"searcher", "num_trials", "seed"} & plain["tune"].keys()
    assert plain["ablate"]["factors"]["energy_weight"] == [0.0, 0.3]


def test_spec_with_arms_survives_pickle(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert grid(pickle.loads(pickle.dumps(spec))) == grid(spec)


def test_fraction_says_the_resolution_that_it_reaches(tmp_path: Path) -> None:
    text = (
        "recipe: energy\nablate:\n  design: fractional_factorial\n  seeds: [0]\n"
        "  factors: {lr: [0.1], nesterov: [false], momentum: [0.5], temperature: [2]}\n"
    )
    spec = load(tmp_path, text)
    assert spec.ablate is not None
    assert (len(spec.ablate.arms), spec.ablate.resolution) == (8, 4)


def test_override_sets_seeds_and_factors(tmp_path: Path) -> None:
    spec = load(
        tmp_path, SPACE, "ablate.seeds=[5]", "ablate.factors.plain=null",
        "ablate.factors.model.dropout=[0.2]", "ablate.factors.new.on.model.dropout=0.3",
    )  # fmt: skip
    assert spec.ablate is not None
    assert spec.ablate.seeds == (5,)
    arms = [arm.name for arm in spec.ablate.arms]
    assert not any(name.startswith("plain") for name in arms)
    assert arms[-2:] == ["epoch_images=null", "new=on"]
    assert of_arm(spec, "model.dropout=0.2", 5)[1]["dropout"] == 0.2
    assert of_arm(spec, "new=on", 5)[1]["dropout"] == 0.3


def test_override_of_an_unknown_factor_with_null_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="only a factor can be taken out of an ablation"):
        load(tmp_path, SPACE, "ablate.factors.lr=null")


def test_override_of_seeds_in_a_space_that_searches_told_once() -> None:
    with pytest.raises(BadInput, match=r"^--set: ablate\.seeds: .*has both") as caught:
        load_space("energy", ["ablate.seeds=[0, 1]"])
    assert len(caught.value.faults) == 1


def test_num_trials_of_the_command_line_refused_with_the_number(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    with pytest.raises(BadInput, match=r"^--num-trials: .*arms times seeds, here 9 x 3 = 27"):
        load_space(str(file), [Override("tune.num_trials", 5, "--num-trials")])


def test_faults_of_train_factors_and_tune_are_told_together(tmp_path: Path) -> None:
    text = (
        "recipe: energy\n"
        "train: {epochs: 0}\n"
        "ablate:\n"
        "  design: add_one\n"
        "  seeds: [0, 0]\n"
        "  factors:\n"
        "    momentum: [2]\n"
        "    nesterov: [true]\n"
        "tune: {num_trials: 3}\n"
    )
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text)
    assert [fault.line for fault in caught.value.faults] == [2, 5, 7, 8, 9]


def test_smoke_is_one_seed_and_few_arms_that_it_does_not_shrink_itself(tmp_path: Path) -> None:
    spec = load(tmp_path, smoke=True)
    assert spec.ablate is not None
    assert spec.ablate.seeds == (0,)
    assert [arm.name for arm in spec.ablate.arms] == ["baseline", "energy_weight=0", "plain=sgd"]
    assert spec.tune.num_trials == 3


def test_smoke_keeps_seeds_and_factors_that_were_set(tmp_path: Path) -> None:
    factors = "ablate.factors={lr: [0.1, 0.2, 0.3]}"
    spec = load(tmp_path, SPACE, "ablate.seeds=[4, 5]", factors, smoke=True)
    assert spec.tune.num_trials == 8


def test_smoke_of_sizes_alone_still_has_an_arm(tmp_path: Path) -> None:
    text = "recipe: energy\nablate: {design: add_one, seeds: [0], factors: {epochs: [20]}}\n"
    spec = load(tmp_path, text, smoke=True)
    assert spec.tune.num_trials == 2


def test_smoke_draws_a_batch_of_the_largest_level(tmp_path: Path) -> None:
    text = "recipe: energy\nablate: {design: add_one, seeds: [0], factors: {batch_size: [512]}}\n"
    assert load(tmp_path, text, smoke=True).train["epoch_images"] == 512


def test_values_of_a_parameter_are_those_of_all_trials(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert spec.values_of("energy_weight") == [0.1, 0.0, 0.3]
    assert spec.values_of("temperature") == [1.0]
    searched = load_space("energy", ["search.temperature={uniform: [1, 2]}"])
    assert searched.values_of("temperature") == [1.0, 2.0]


def test_flat_has_arms_and_seeds(tmp_path: Path) -> None:
    domains = flat(load(tmp_path))
    assert {name: domain.ends() for name, domain in domains.items()} == {
        "arm": ARMS,
        "seed": (0, 1, 2),
    }


def test_effect_rule_may_be_broken_in_one_arm(tmp_path: Path) -> None:
    text = (
        "recipe: energy\ntrain: {min_lr: 1.0e-6}\n"
        "ablate: {design: add_one, seeds: [0], factors: {schedule: [constant]}}\n"
    )
    assert load(tmp_path, text).tune.num_trials == 2


def test_stop_rule_comes_back_from_the_resolved_spec_and_leaves_a_smoke(tmp_path: Path) -> None:
    text = SPACE.replace("[0, 1, 2]", "[0, 1, 2, 3]") + "  stop: {alpha: 0.1, margin: 0.01}\n"
    spec = load(tmp_path, text)
    assert spec.ablate is not None
    assert spec.ablate.stop == StopRule(alpha=0.1, min_seeds=3, margin=0.01)
    assert again(spec, tmp_path) == spec
    assert "stop" not in load(tmp_path).resolved()["ablate"]
    small = load(tmp_path, text, smoke=True)
    assert small.ablate is not None
    assert small.ablate.stop is None


A, B = {"near_val": ["a"], "near_test": ["b"]}, {"near_val": ["c"], "near_test": ["d"]}
HELD_OUT = f"""
recipe: energy
data: {{hold_out: {A}}}
ablate: {{design: one_at_a_time, seeds: [0], factors: {{lr: [0.002], data.hold_out: [{B}]}}}}
"""


def test_hold_outs_are_the_baselines_and_the_levels_and_make_no_arms(tmp_path: Path) -> None:
    spec = load(tmp_path, HELD_OUT)
    assert [one.plain() for one in spec.hold_outs] == [A, B]
    assert [point["arm"] for point in grid(spec)] == ["baseline", "lr=0.002"]
    assert again(spec, tmp_path) == spec


def test_study_under_one_hold_out_is_an_ablation_like_any_other(tmp_path: Path) -> None:
    spec = load(tmp_path, HELD_OUT)
    second = spec.under(spec.hold_outs[1])
    assert second.resolved()["data"]["hold_out"] == B
    assert second.resolved()["ablate"]["factors"] == {"lr": [0.002]}
    assert second.hold_outs == ()


def test_hold_outs_may_be_all_that_is_varied(tmp_path: Path) -> None:
    text = f"ablate: {{design: one_at_a_time, seeds: [0], factors: {{data.hold_out: [{A}, {B}]}}}}"
    spec = load(tmp_path, f"recipe: energy\n{text}")
    assert (len(spec.hold_outs), [point["arm"] for point in grid(spec)]) == (2, ["baseline"])
    assert again(spec, tmp_path) == spec


def test_smoke_keeps_hold_outs_beside_its_factors(tmp_path: Path) -> None:
    spec = load(tmp_path, HELD_OUT, smoke=True)
    assert (len(spec.hold_outs), len(spec.ablate.factors)) == (2, 1)


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ("[{near_val: [a], near_test: [b]}]", "these classes are the baseline's"),
        (f"[{B}, {B}]", "a factor lists each level once"),
        ("[null]", "a level says which classes it holds out"),
        ("[]", "lists the levels beside the baseline's"),
        ("[{near: [c]}]", "as near_val, near_test or both"),
        ("[{near_val: [c], near_test: [c]}]", "class 'c' is named twice"),
    ],
)
def test_wrong_hold_outs_are_told_at_their_level(tmp_path: Path, levels: str, told: str) -> None:
    with pytest.raises(BadInput, match=r"ablate\.factors\.data\.hold_out") as caught:
        load(tmp_path, HELD_OUT.replace(f"[{B}]", levels))
    assert told in str(caught.value)


def test_one_hold_out_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="one level is not compared with any other"):
        load(tmp_path, HELD_OUT.replace(f"data: {{hold_out: {A}}}", ""))
