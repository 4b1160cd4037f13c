"""Files of weights, looked at before any data is read."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch

from study.bases.files import check_files
from study.errors import BadInput
from study.models.registry import build_classifier
from study.space.loading import SPACES, load_space
from study.watch.progress import Progress


def _written(path: Path, backbone: str = "resnet20", *, head: bool = True) -> Path:
    """A file of a classifier's weights, as a training script writes them."""
    state = build_classifier(backbone, 10, seed=0).state_dict()
    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    left_out = ("mean", "std", *(() if head else ("fc.weight", "fc.bias")))
    torch.save({"net": {n: t for n, t in state.items() if n not in left_out}}, path)
    return path


def _check(space: str, *overrides: str) -> str:
    """What is told of a space's files."""
    told = io.StringIO()
    check_files(load_space(space, list(overrides)), Progress(told, live=False, quiet=False))
    return told.getvalue()


@pytest.mark.parametrize("space", sorted(path.stem for path in SPACES.glob("*.yaml")))
def test_file_on_the_command_line_serves_every_shipped_space(space: str, tmp_path: Path) -> None:
    key = "base.init" if space == "ssl" else "model.init"  # the arms of ssl train bases from it
    path = _written(tmp_path / "w.pth")
    if space in ("nordf_ablation", "nordf_seed"):  # are of other backbones, and say so
        with pytest.raises(BadInput, match="does not fit convnext"):
            _check(space, f"{key}={path}")
        return
    assert "resnet20: from net of" in _check(space, f"{key}={path}")


def test_file_for_arms_with_bases_of_their_own_is_told_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Set base\.init to the file"):
        load_space("ssl", [f"model.init={_written(tmp_path / 'w.pth')}"])


def test_section_base_beside_a_file_of_the_same_command_has_no_effect(tmp_path: Path) -> None:
    file = _written(tmp_path / "w.pth")
    with pytest.raises(BadInput, match="the section has no effect"):
        load_space("energy", [f"model.init={file}", "base.epochs=3"])


def test_wrong_file_is_told_with_every_tensor_in_a_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    path = _written(tmp_path / "w.pth", "resnet32")
    with pytest.raises(BadInput, match=r"model\.init.*They are of resnet32") as caught:
        _check("energy", f"model.init={path}")
    listed = re.search(r"all (\d+) are listed in (\S+)\)", str(caught.value))
    assert listed is not None
    lines = Path(listed[2]).read_text().splitlines()
    assert len(lines) == int(listed[1])
    assert "not in the model layer3.4.conv2.weight" in lines


def test_wrong_file_is_told_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the cache's folder belongs")
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    path = _written(tmp_path / "w.pth", "resnet32")
    with pytest.raises(BadInput, match=r"and \d+ more\. They are of resnet32"):
        _check("energy", f"model.init={path}")


def test_file_without_a_head_is_refused_where_a_recipe_or_a_floor_needs_one(
    tmp_path: Path,
) -> None:
    path = _written(tmp_path / "w.pth", head=False)
    with pytest.raises(BadInput, match=r"trained classifier, and this file has no head"):
        _check("baselines", f"model.init={path}")
    with pytest.raises(BadInput, match=r"below_base needs a classifier.*this file has no head"):
        _check("energy", f"model.init={path}")
    _check("energy", f"model.init={path}", "select.floor={id_accuracy: {at_least: 0}}")


def test_file_of_two_networks_is_told_by_what_is_taken(tmp_path: Path) -> None:
    one, other = (build_classifier("resnet20", 10, seed=seed).backbone for seed in (1, 2))
    content = {"model": one.state_dict(), "model_ema": other.state_dict()}
    torch.save(content, tmp_path / "w.pth")
    settings = [f"model.init={tmp_path / 'w.pth'}", "select.floor={id_accuracy: {at_least: 0}}"]
    told = " ".join(_check("energy", *settings).split())
    assert "taken is model_ema (a moving average), and not model; model.weights_key" in told
    told = " ".join(_check("energy", *settings, "model.weights_key=model").split())
    assert "taken is model, and not model_ema" in told


def test_weights_key_that_is_null_is_not_in_a_resolved_spec() -> None:
    model = load_space("energy").resolved()["model"]
    assert "weights_key" not in model
    given = load_space("energy", ["model.weights_key=model_ema"]).resolved()["model"]
    assert given["weights_key"] == "model_ema"
