from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.export import export_model
from study.final_test import final_test
from study.records.files import RunFolder
from study.records.scores import ValidationScores
from study.score import main
from tests.finished import accepted_by_hand, make_finished
from tests.toys import SIZE

NORDF: dict[str, Any] = {
    **{"epochs": 2, "batch_size": 8, "augment": "none", "reconstruction": "l1"},
    **{"width": 8, "branch_channels": 8, "decoder_blocks": 0, "bank_images": 40},
}
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "classifier": ("classifier", {}),
    "energy": ("energy", {}),
    "temperature": ("energy", {"temperature": 2.0}),
    "outliers": ("outliers", {"epochs": 2, "lr": 0.05, "outlier_batch_size": 16}),
    "nordf": ("nordf", NORDF),
    "nordf-perceptual": ("nordf", NORDF | {"perceptual_network": "base"}),
    "fitted": ("energy", {"detectors": ["knn", "react"], "knn_k": 3, "own_score": "knn"}),
    "gradients": ("baselines", {"detector": "odin"}),
    "bank": ("baselines", {"detector": "knn", "knn_k": 3}),
    "headless": ("baselines", {"detector": "knn", "knn_k": 3, "head": "none"}),
    "shaped": ("baselines", {"detector": "ash"}),
}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported energy model."""
    folder = tmp_path_factory.mktemp("model")
    export_model(make_finished(folder / "run").path, folder / "out", "# A model")
    return folder / "out"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def _scored(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Rows, str]:
    capsys.readouterr()
    code = main([str(one) for one in arguments])
    told = capsys.readouterr()
    return code, list(csv.DictReader(io.StringIO(told.out))), told.err


def _noise(size: tuple[int, int], channels: tuple[int, ...] = (3,)) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)


@pytest.mark.parametrize("name", RECIPES)
def test_score_gives_the_numbers_of_the_final_test_to_the_last_digit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, changes = RECIPES[name]
    monkeypatch.setenv("OOD_STUDY_STATE", str(tmp_path / "state"))
    run = make_finished(tmp_path / "run", recipe, **changes)
    final_test(run.path, None, "")
    export_model(run.path, tmp_path / "out", "# A model")
    (tmp_path / "run").rename(tmp_path / "gone")  # the model needs nothing of the run
    kept = ValidationScores.load(RunFolder(tmp_path / "gone").final_test / "winner.npz")
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    for folder, set_name in (("test", "test_id"), ("scenes", "scenes")):
        expected = kept.sets[set_name].scores[facts["score"]][0]
        code, rows, _ = _scored(capsys, tmp_path / "out", tmp_path / "pictures" / folder)
        assert code == 0
        assert [float(row["score"]) for row in rows] == expected.tolist()
        assert [row["path"].encode() for row in rows] == kept.sets[set_name].image.tolist()
        classes = [f"class{one}" for one in kept.sets[set_name].prediction[0]]
        assert [row["class"] for row in rows] == classes
        accepted = accepted_by_hand(expected, facts["thresholds"]["recall"])
        assert [row["accepted"] for row in rows] == accepted


def test_score_takes_pictures_of_every_size_and_colour_and_counts_unusual_ones(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(_noise((40, 30))).save(pictures / "large.png")
    Image.fromarray(_noise((1, 1))).save(pictures / "one.png")
    Image.fromarray(_noise((20, 20), ())).save(pictures / "grey.png")
    Image.fromarray(_noise((20, 20), ()).astype(np.uint16) * 257).save(pictures / "deep.png")
    Image.fromarray(_noise((20, 20), (4,)), "CMYK").save(pictures / "print.jpg")
    opaque = np.dstack([_noise((20, 20)), np.full((20, 20), 255, np.uint8)])
    Image.fromarray(opaque).save(pictures / "opaque.png")
    below = pictures / "a" / "b"
    below.mkdir(parents=True)
    Image.fromarray(_noise((9, 9))).save(below / "nested.bmp")
    code, rows, told = _scored(capsys, model, pictures)
    assert code == 0
    names = ["a/b/nested.bmp", "deep.png", "grey.png", "large.png", "one.png", "opaque.png"]
    assert [row["path"] for row in rows] == [*names, "print.jpg"]
    assert "note: 2 grey-scale, which the model's training refused" in told
    assert "note: 1 small, which the model's training refused" in told


def test_picture_that_its_camera_turned_scores_as_the_upright_one(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upright = Image.fromarray(_noise((SIZE, SIZE)))
    upright.save(pictures / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a quarter turn to the right is due
    upright.transpose(Image.Transpose.ROTATE_90).save(pictures / "turned.png", exif=exif)
    _, (turned, plain), _ = _scored(capsys, model, pictures)
    assert turned["score"] == plain["score"]


def test_unreadable_pictures_are_told_and_the_others_scored(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(_noise((20, 20))).save(pictures / "good.png")
    (pictures / "torn.png").write_bytes((pictures / "good.png").read_bytes()[:60])
    (pictures / "empty.jpg").touch()
    half = np.dstack([_noise((20, 20)), np.full((20, 20), 99, np.uint8)])
    Image.fromarray(half).save(pictures / "glass.png")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "notes.\x1b[2J").write_text("clears a screen")
    code, rows, told = _scored(capsys, model, pictures)
    assert code == 1
    assert [row["path"] for row in rows] == ["good.png"]
    assert "3 of 4 pictures could not be read" in told
    for name in ("torn.png: ", "empty.jpg: has no image bytes", "glass.png: is transparent"):
        assert name in told
    assert "1 no picture (.txt)" in told
    assert "\x1b" not in told


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_name_that_is_not_utf8_comes_with_its_bytes_written_out(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.fsencode(pictures) + b"/caf\xe9.png"
    Image.fromarray(_noise((20, 20))).save(pictures / "plain.png")
    (pictures / "plain.png").rename(os.fsdecode(path))
    code, rows, _ = _scored(capsys, model, pictures)
    assert (code, [row["path"] for row in rows]) == (0, [r"caf\xe9.png"])


def test_one_picture_in_place_of_a_folder_is_scored(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(_noise((20, 20))).save(pictures / "one.png")
    code, rows, _ = _scored(capsys, model, pictures / "one.png")
    assert (code, [row["path"] for row in rows]) == (0, ["one.png"])


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        (lambda out, new: None, "{new}", "holds no picture that can be read"),
        (lambda out, new: new.rmdir(), "FOLDER: .*", "does not exist"),
        (lambda out, new: (out / "model.json").unlink(), "{out}", "holds no exported model"),
        (lambda out, new: _edit(out / "model.json"), "{out}/model.json", "was changed after"),
        (lambda out, new: _edit(out / "checkpoints/winner/trial.json"),
         "{out}/checkpoints/winner/trial.json", "is not the file that was exported"),
        (lambda out, new: (out / "checkpoints/winner/weights.safetensors").unlink(),
         "{out}/checkpoints/winner/weights.safetensors", "is not the file that was exported"),
        (lambda out, new: (out / "model.json").write_bytes(b"\xff"), "{out}/model.json",
         "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(
    model: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    place: str,
    rule: str,
) -> None:
    out = tmp_path / "copy"
    for path in [*model.rglob("*")]:
        target = out / path.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    if place != "{new}":
        Image.fromarray(_noise((20, 20))).save(pictures / "one.png")
    if "FOLDER" in place:
        (pictures / "one.png").unlink()
    change(out, pictures)
    code, rows, told = _scored(capsys, out, pictures)
    assert (code, rows) == (2, [])
    assert place.replace(".*", "").format(out=out, new=pictures) in told
    assert rule in told
    assert "Traceback" not in told


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace("energy", "msp"))


def test_batch_that_does_not_fit_into_the_memory_is_halved(
    model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from study import winner

    for number in range(5):
        Image.fromarray(_noise((20 + number, 20))).save(pictures / f"{number}.png")
    _, whole, _ = _scored(capsys, model, pictures)
    seen: list[int] = []
    batches = winner.evaluation_batches

    def small_memory(images: Any, size: int, *rest: Any, **named: Any) -> Any:
        seen.append(size)
        if size > 2:
            raise MemoryError
        return batches(images, size, *rest, **named)

    monkeypatch.setattr(winner, "evaluation_batches", small_memory)
    code, rows, _ = _scored(capsys, model, pictures, "--batch", 16)
    assert (code, seen) == (0, [16, 8, 4, 2])
    for one, two in zip(rows, whole, strict=True):
        assert float(one["score"]) == pytest.approx(float(two["score"]), rel=1e-5)


def test_conformal_threshold_decides_where_it_is_asked_for(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((model / "model.json").read_text())
    assert facts["thresholds"]["conformal"] >= facts["thresholds"]["recall"]
    for number in range(4):
        Image.fromarray(_noise((8, 8)) // (number + 1)).save(pictures / f"{number}.png")
    _, rows, _ = _scored(capsys, model, pictures, "--threshold", "conformal")
    scores = np.array([float(row["score"]) for row in rows])
    accepted = accepted_by_hand(scores, facts["thresholds"]["conformal"])
    assert [row["accepted"] for row in rows] == accepted


def test_reader_that_leaves_ends_it_without_a_word(model: Path, pictures: Path) -> None:
    for number in range(3):
        Image.fromarray(_noise((20, 20))).save(pictures / f"{number}.png")
    command = f"{sys.executable} -m study.score {model} {pictures} --batch 1 | true"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stderr == ""
