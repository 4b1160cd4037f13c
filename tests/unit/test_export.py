from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from study.errors import BadInput
from study.export import export_model, initialisation, main
from study.records.files import TRIAL_JSON, RunFolder, write_json
from study.records.frozen import seal
from study.winner import load_winner
from tests.finished import TRIAL, make_finished
from tests.toys import toy_images


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_finished(tmp_path / "run")


def test_export_writes_card_weights_and_hashes_of_all_but_the_card(
    run: RunFolder, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_model(run.path, out, "# A model\n")
    facts = json.loads((out / "model.json").read_text())
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names - {"README.md", "model.json"} == set(facts["files"])
    assert set(facts["files"]) == {
        "network.pt", "checkpoints/winner/trial.json", "checkpoints/winner/weights.safetensors",
    }  # fmt: skip
    card = (out / "README.md").read_text()
    assert card.startswith("# A model\n")
    for told in ("## Initialisation", "fresh weights", "95 % threshold", "Conformal threshold"):
        assert told in card


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_gives_class_and_score_of_the_model(run: RunFolder, tmp_path: Path) -> None:
    export_model(run.path, tmp_path / "out", "")
    winner = load_winner(tmp_path / "out")
    pixels = toy_images("new", 7, seed=3).pixels
    rows = winner.score(pixels)
    network = torch.jit.load(tmp_path / "out" / "network.pt")  # type: ignore[no-untyped-call]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    classes, scores = network(images)
    assert classes.tolist() == rows.predicted.tolist()
    assert scores.tolist() == pytest.approx(rows.score.tolist(), abs=1e-6)


def test_score_that_needs_fitted_statistics_has_no_torchscript_and_says_so(
    tmp_path: Path,
) -> None:
    run = make_finished(tmp_path / "run", "baselines", detector="knn", knn_k=3)
    export_model(run.path, tmp_path / "out", "")
    assert not (tmp_path / "out" / "network.pt").exists()
    assert (
        "There is no network.pt: the score detector needs more"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_base_goes_along_where_the_score_looks_at_it(tmp_path: Path) -> None:
    small = {"width": 8, "branch_channels": 8, "decoder_blocks": 0, "bank_images": 40}
    changes = {"epochs": 2, "batch_size": 8, "augment": "none", "reconstruction": "l1", **small}
    run = make_finished(tmp_path / "run", "nordf", perceptual_network="base", **changes)
    export_model(run.path, tmp_path / "out", "")
    assert (tmp_path / "out" / "checkpoints" / "base" / "weights.safetensors").exists()


def test_folder_that_exists_is_left_as_it_is(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="exists already, and an export replaces nothing"):
        export_model(run.path, tmp_path / "out", "")
    assert [*(tmp_path / "out").iterdir()] == []


def test_export_that_fails_leaves_nothing(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import study.export

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study.export, "write_json", fail)
    with pytest.raises(BadInput, match="cannot be written: No space left on device"):
        export_model(run.path, tmp_path / "out", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "run"]


def test_choice_that_is_none_or_was_changed_is_refused(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = json.loads(run.selection.read_text())
    write_json(run.selection, seal({**frozen, "threshold": 99.0}))
    assert main([str(run.path), str(tmp_path / "out")]) == 2
    assert "not the choice that the ledger tells of" in capsys.readouterr().err
    run.selection.unlink()
    assert main([str(run.path), str(tmp_path / "out")]) == 2
    assert "no trial has been chosen yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backbone", "init", "told"),
    [
        ("resnet20", "random", "no other model's licence is touched"),
        ("resnet20", "weights/theirs.pt", "weights of the file theirs.pt. Its licence is not"),
        ("vit_tiny", "imagenet", "fb_in1k, licence of the weights: apache-2.0"),
        ("resnet50", "imagenet", "torchvision's ResNet50_Weights"),
    ],
)
def test_initialisation_names_its_licence_or_says_that_it_is_not_known(
    run: RunFolder, backbone: str, init: str, told: str
) -> None:
    path = run.trial_checkpoints(TRIAL) / TRIAL_JSON
    content = json.loads(path.read_text())
    content["model"] |= {"backbone": backbone, "init": init}
    write_json(path, content)
    assert told in initialisation(run, TRIAL)
