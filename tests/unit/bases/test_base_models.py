from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from study.bases.base_models import BaseModel, RecordedBase, copied_base, loaded_base, measured
from study.bases.training import BaseSpec, FoundBase
from study.data.roles import StudyData
from study.errors import BadInput
from study.models.weights import save_weights
from study.recipes.classifier_params import ClassifierParams
from study.recipes.registry import make_recipe
from tests.toys import toy_data, train_section

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def spec() -> BaseSpec:
    params = ClassifierParams.model_validate(train_section(epochs=3))
    return BaseSpec("resnet20", 0.0, params.model_dump(), 0)


@pytest.fixture
def found(spec: BaseSpec, data: StudyData, tmp_path: Path) -> FoundBase:
    model = spec.fresh_model(data)
    save_weights(model.state_dict(), tmp_path / "w.safetensors", {})
    return FoundBase("its key", tmp_path / "w.safetensors", model, saw_validation=False)


def _measured(found: FoundBase, data: StudyData) -> BaseModel:
    scored_by = make_recipe("energy", train_section("energy"))
    return measured(found, data, device=CPU, scored_by=scored_by)


def test_base_is_measured_on_validation_id_and_outliers(found: FoundBase, data: StudyData) -> None:
    base = _measured(found, data)
    assert (base.key, base.path, base.saw_validation) == ("its key", found.path, False)
    assert base.outlier_logits is not None
    assert base.id_logits.shape == (30, 3)
    assert base.outlier_logits.shape == (40, 3)
    stats = base.energy_stats(2.0)
    assert stats is not None
    energies = -2.0 * np.log(np.exp(base.id_logits.double().numpy() / 2.0).sum(axis=1))
    assert stats.id_mean == pytest.approx(energies.mean())
    assert stats.id_sd == pytest.approx(energies.std(ddof=1), rel=0.05)
    own = -base.scores.sets["val_id"].scores["energy"][0]
    np.testing.assert_allclose(-own, -np.logaddexp.reduce(base.id_logits.numpy(), axis=1), 1e-5)


def test_base_without_outliers_has_no_energy_statistics(found: FoundBase, data: StudyData) -> None:
    assert _measured(found, replace(data, outliers=None)).energy_stats(1.0) is None


def test_loaded_base_may_have_seen_the_validation_images(
    found: FoundBase, spec: BaseSpec, data: StudyData
) -> None:
    loaded = loaded_base(found.path, spec, data)
    assert loaded is not None
    assert loaded.saw_validation
    assert not loaded.trained_now
    assert _measured(loaded, data).metrics == _measured(found, data).metrics
    assert loaded.origin is not None
    assert loaded.origin["file"] == str(found.path)
    assert (loaded.origin["head"], loaded.origin["unused"]) == ("fc", [])


def test_loaded_base_head_of_other_classes_is_none(
    found: FoundBase, spec: BaseSpec, data: StudyData
) -> None:
    assert loaded_base(found.path, spec, replace(data, num_classes=4)) is None


def test_loaded_base_without_a_tensor_is_refused(
    found: FoundBase, spec: BaseSpec, data: StudyData, tmp_path: Path
) -> None:
    weights = dict(found.model.state_dict())
    weights.pop("backbone.bn1.bias")
    save_weights(weights, tmp_path / "part.safetensors", {})
    with pytest.raises(BadInput, match=r"missing bn1\.bias"):
        loaded_base(tmp_path / "part.safetensors", spec, data)


def test_copied_base_is_the_runs_own_under_its_first_key(
    found: FoundBase, spec: BaseSpec, data: StudyData
) -> None:
    copied = copied_base(RecordedBase(found.path, "first", saw_validation=True), spec, data)
    assert (copied.key, copied.saw_validation) == ("first", True)
    assert torch.equal(_measured(copied, data).id_logits, _measured(found, data).id_logits)
