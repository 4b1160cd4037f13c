"""Arms that start from bases of their own: which there are, and who starts where."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.bases.needed import bases_of
from study.bases.provenance import sources_declared, trained_on
from study.bases.saved_models import load_model
from study.errors import BadInput
from study.models.registry import build_classifier
from study.records.files import RunFolder
from study.run_folder import add_start, recorded_start
from study.seeding import seed_of
from study.space.loading import load_resolved, load_space
from study.space.study_spec import StudySpec
from study.training.loop import Goal
from study.training.trial import TrialSetting, run_trial
from study.tune.record import TrialRecord
from study.tune.setup import CheckedStudy, Setup, prepare
from study.watch.progress import Progress
from tests.toys import toy_data

QUICK = (
    "base.epochs=1",
    "base.warmup_epochs=0",
    "base.batch_size=16",
    "base.augment=none",
    "base.feature_views=4",
    "train.epochs=2",
    "train.batch_size=16",
    "train.augment=none",
    "train.outlier_batch_size=16",
    "ablate.seeds=[0]",
)
PROBE = "cifar10_training=without"


class _Plan:
    """As much of a plan as a setup asks."""

    def table(self) -> list[dict[str, str]]:
        return [{"role": "OOD test (sealed)", "set": "zoo", "from": "imagenet/zoo"}]


def _spec(*overrides: str) -> StudySpec:
    return load_space("ssl", [*QUICK, *overrides])


def _progress() -> Progress:
    return Progress(io.StringIO(), live=False, quiet=True)


def _prepare(spec: StudySpec, recorded: Any = None) -> Setup:
    plan: Any = _Plan()
    leaks: Any = None
    study = CheckedStudy(spec, plan, toy_data(), leaks)
    return prepare(study, progress=_progress(), device="cpu", recorded=recorded)


def _record(arm: str) -> TrialRecord:
    return TrialRecord(0, 0, {"arm": arm, "seed": 0})


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OOD_STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        return _prepare(_spec())


def test_bases_of_arms_that_agree_in_the_base_share_it() -> None:
    found = bases_of(_spec("ablate.factors.again={b: {base.seed: 1}}"))
    arms = {name: len(one.arms) for name, one in found.items()}
    assert arms == {"base": 3, "base_2": 3, "base_3": 3, "base_4": 3}
    assert found["base"].arms[0] == "baseline"
    assert [(one.spec.seed, one.spec.probes) for one in found.values()] == [
        (0, False), (1, False), (0, True), (1, True),
    ]  # fmt: skip


def test_bases_of_a_search_is_the_one() -> None:
    assert list(bases_of(load_space("energy"))) == ["base"]
    assert list(bases_of(load_space("energy_ablation"))) == ["base"]


def test_spec_with_bases_of_arms_comes_back_from_its_dump(tmp_path: Path) -> None:
    spec = _spec("ablate.factors.base.seed=[1, 2]")
    (tmp_path / "spec.yaml").write_text(spec.dump())
    assert load_resolved(tmp_path / "spec.yaml") == spec


def test_probe_leaves_the_initialised_body_as_it_is_bit_for_bit(setup: Setup) -> None:
    fresh = build_classifier("resnet20", 3, image_size=8, seed=seed_of(0, "init")).state_dict()
    probe = setup.models["base_2"].weights
    moved = [name for name in fresh if not np.array_equal(fresh[name].numpy(), probe[name])]
    assert sorted(moved) == ["fc.bias", "fc.weight"]
    whole = setup.base.weights if setup.base else {}
    assert not np.array_equal(whole["backbone.conv1.weight"], probe["backbone.conv1.weight"])


def test_trial_is_assigned_the_base_of_its_arm_and_margins_measured_on_it(setup: Setup) -> None:
    for arm, name in (("baseline", "base"), (PROBE, "base_2")):
        told = setup.assign(_record(arm))
        model = setup.models[name]
        stats = model.energy_stats(1.0) if model else None
        assert stats is not None
        assert told.base == name
        assert told.train["m_in"] == pytest.approx(stats.id_mean - 2 * stats.id_sd)


def test_arm_without_fine_tuning_reports_the_one_epoch_of_its_base(
    setup: Setup, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    run.manifest.write_text("{}")
    arm = f"{PROBE} + fine_tuning=none"
    setting = TrialSetting(
        recipe=setup.spec.recipe, data=setup.data, starting=setup.starting(), run=tmp_path,
        goal=Goal("val/fpr95", None), checkpoint_rule="best", threads=1, device="cpu",
    )  # fmt: skip
    (told,) = [json.loads(text) for text in run_trial(setup.assign(_record(arm)), setting)]
    assert setup.num_epochs({"arm": arm, "seed": 0}) == 1
    metrics = setup.models["base_2"].metrics
    assert told["metrics"]["val/fpr95"] == metrics["val/fpr95"]
    assert told["metrics"]["val/id_accuracy"] == metrics["val/id_accuracy"]


def test_trial_table_tells_what_arms_change_in_the_base(setup: Setup) -> None:
    assert setup.params(_record("baseline"))["base.fine_tune"] == "full"
    assert setup.params(_record(PROBE))["base.fine_tune"] == "linear"


def test_run_keeps_every_base_and_goes_on_from_them(setup: Setup, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.manifest.write_text("{}")
    add_start(run, setup)
    manifest = json.loads(run.manifest.read_text())
    assert manifest["other_bases"]["base_2"]["arms"][0] == PROBE
    recorded = recorded_start(run)
    assert recorded is not None
    again = _prepare(setup.spec, recorded)
    assert again.assign(_record(PROBE)) == setup.assign(_record(PROBE))
    saved = load_model(run, "base_2", 3, 8).model.state_dict()
    weights = setup.models["base_2"].weights
    assert all(np.array_equal(saved[name].numpy(), weights[name]) for name in weights)


@pytest.mark.parametrize(("floor", "confidence"), [({"confidence": 0.93}, 0.93), (None, None)])
def test_run_goes_on_with_the_confidence_that_it_began_with(
    setup: Setup, tmp_path: Path, floor: dict[str, float] | None, confidence: float | None
) -> None:
    run = RunFolder(tmp_path)
    run.manifest.write_text("{}")
    add_start(run, setup)
    manifest = json.loads(run.manifest.read_text())
    manifest.pop("floor", None)
    run.manifest.write_text(json.dumps(manifest | ({"floor": floor} if floor else {})))
    recorded = recorded_start(run)
    assert recorded is not None
    assert recorded.confidence == confidence


def test_run_whose_second_base_was_changed_is_refused(setup: Setup, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.manifest.write_text("{}")
    add_start(run, setup)
    with (run.trial_checkpoints("base_2") / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BadInput, match=r"base_2.*does not match its fingerprint"):
        recorded_start(run)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("select.floor={id_accuracy: {below_base: 0.01}}", "these arms start from several"),
        ("model.init=random", "this study trains none"),
        ("model.init=random", "with fine_tune: none a trained classifier is scored"),
        ("ablate.factors.base.init=[nowhere.pth]", "there is no such file"),
        ("ablate.factors.base.backbone=[resnet56]", "cannot be searched"),
        ("ablate.factors.base.seed=[0]", "this is the baseline's base.seed already"),
    ],
)
def test_space_of_several_bases_says_what_cannot_be(override: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        _spec(override)


def test_network_smaller_than_the_images_is_refused_where_their_size_is_said() -> None:
    with pytest.raises(BadInput, match=r"must be above data\.image_size, which is 32"):
        _spec("data.image_size=32", "model.image_size=16")


def test_search_takes_no_parameter_of_the_base() -> None:
    with pytest.raises(BadInput, match="cannot be searched"):
        load_space("energy", ["search.base.seed={choice: [0, 1]}"])


def test_sources_declared_all_arms_are_told_and_imagenet_by_its_name() -> None:
    levels = "{a: {base.init: imagenet}, b: {base.seed: 1, model.pretrained_on: [places]}}"
    spec = _spec("model.backbone=resnet18", f"ablate.factors.initialisation={levels}")
    assert sources_declared(spec) == ["places", "imagenet"]
    model = {"init": "base", "pretrained_on": ["places"]}
    assert trained_on(model, "random") == ["places"]


def test_trials_start_from_the_base_of_their_arm(setup: Setup) -> None:
    starting = setup.starting()
    for arm, base in (("baseline", setup.base), (PROBE, setup.models["base_2"])):
        told = setup.assign(_record(arm))
        found = starting.weights_of(told.base, "resnet20")
        assert base is not None
        assert found is not None
        assert all(np.array_equal(found[name], one) for name, one in base.weights.items())


def test_margins_are_measured_at_the_temperature_of_the_trial(setup: Setup) -> None:
    train = {**setup.spec.train, "temperature": 2.0}
    assert setup.base is not None
    stats = setup.base.energy_stats(2.0)
    assert stats is not None
    margins = setup.margins(train, _record("baseline").params)
    assert margins["m_in"] == pytest.approx(stats.id_mean - 2 * stats.id_sd)
