from __future__ import annotations

import dataclasses
import http.server
import json
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from study.data import id_choice
from study.data.plan import DataPlan, SealedSource, make_plan, missing_outliers
from study.data.section import DataSection
from study.data.synthetic import VALIDATION_NAMES
from study.data.test_access import open_test
from study.errors import BadInput
from tests.fake_data import section, write_root, write_set


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No cache, no GPU, no network and no ``data`` folder of the real machine."""
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(id_choice, "has_gpu", lambda: False)
    monkeypatch.setattr(id_choice, "answers", lambda url: pytest.fail("probed"))


@pytest.fixture
def root(tmp_path):
    return write_root(tmp_path / "root")


def test_roles_follow_the_root_and_test_roles_are_sealed(root):
    plan = make_plan(section(id="cifar10"), "auto", root)
    assert not plan.demo
    assert [source.name for source in plan.outliers] == ["things_train"]
    assert list(plan.ood_val) == ["things_val"]
    assert list(plan.ood_test) == ["scenes"]
    assert [row["set"] for row in plan.table()] == [
        "cifar10_train", "things_train", "things_val", "cifar10_test", "scenes",
    ]  # fmt: skip
    assert not hasattr(SealedSource, "read")


def test_load_study_reads_every_role_but_the_tests(root):
    for name in ("cifar10/test", "ood_test/scenes"):
        (root / f"{name}.parquet").write_bytes(b"never read")
    plan = make_plan(section(), "auto", root)
    data = plan.load_study(section())
    assert (len(data.train.images), len(data.val_id.images)) == (18, 6)
    assert data.outliers is not None
    assert len(data.outliers.images) == 8
    assert list(data.ood_val.sets) == ["things_val"]
    assert data.num_classes == 3
    with pytest.raises(BadInput, match="not a whole Parquet"):
        open_test(plan)


def test_open_test_reads_the_test_roles(root):
    test = open_test(make_plan(section(), "cifar10", root))
    assert len(test.id) == 12
    assert {name: len(images) for name, images in test.ood.items()} == {"scenes": 8}


def test_plan_survives_json_and_pickle(root):
    plan = make_plan(section(ood_val=["uniform"]), "auto", root)
    assert DataPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(BadInput, match="not a data plan"):
        DataPlan.from_json({"id": {}})


def test_auto_without_cifar10_takes_the_demo_and_says_so_loudly():
    plan = make_plan(section(), "auto", None)
    assert plan.demo
    assert plan.notes[0].startswith("NOT CIFAR-10")
    assert "--data cifar10" in plan.notes[0]
    data = plan.load_study(section())
    assert data.demo
    assert data.notes == plan.notes
    assert list(data.ood_val.sets) == ["letters_val", "textures_val"]
    assert list(open_test(plan).ood) == ["letters_test", "textures_test", "noise_test"]


@pytest.mark.parametrize(("gpu", "reached"), [(True, True), (True, False), (False, True)])
def test_auto_downloads_only_with_a_gpu_and_a_source_that_answers(monkeypatch, gpu, reached):
    monkeypatch.setattr(id_choice, "has_gpu", lambda: gpu)
    monkeypatch.setattr(id_choice, "answers", lambda url: reached)
    monkeypatch.setattr(id_choice, "cifar10_url", lambda: "http://there")
    plan = make_plan(section(), "auto", None)
    assert plan.demo is not (gpu and reached)
    assert plan.id.download is (gpu and reached)


def test_data_cifar10_never_falls_back_and_downloads_where_it_must(root):
    plan = make_plan(section(id="demo"), "cifar10", None)
    assert plan.id.download
    assert plan.id.location == "data"
    assert list(plan.ood_val) == list(VALIDATION_NAMES)
    assert not make_plan(section(), "cifar10", root).id.download


def test_demo_holds_out_enough_digits_to_measure_a_point_of_accuracy():
    data = make_plan(DataSection(), "demo").load_study(DataSection())
    assert (len(data.train.images), len(data.val_id.images)) == (1006, 431)
    asked = DataSection(val_fraction=0.1)
    assert len(make_plan(asked, "demo").load_study(asked).val_id.images) == 143


def test_data_demo_wins_over_what_is_on_disk(root):
    assert make_plan(section(id="cifar10"), "demo", root).demo
    assert make_plan(section(id="demo"), "auto", root).demo


def test_torchvision_folder_in_the_root_is_present(tmp_path):
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    plan = make_plan(section(), "auto", None)
    assert (plan.id.reader, plan.id.split, plan.id.download) == ("cifar10", "train", False)


def test_own_id_folder_needs_train_and_test(root, tmp_path):
    plan = make_plan(section(id=str(root / "cifar10")), "auto", root)
    assert plan.id.name == "cifar10_train"
    with pytest.raises(BadInput, match="needs train and test in it"):
        make_plan(section(id=str(root / "outliers")), "auto", root)
    with pytest.raises(BadInput, match="--data demo contradicts"):
        make_plan(section(id=str(root / "cifar10")), "demo", root)
    for part in ("train/cat", "train/dog"):
        (tmp_path / "own" / part).mkdir(parents=True)
    with pytest.raises(BadInput, match=r"own has no test, it holds: train/ \(cat, dog\)"):
        make_plan(section(id=str(tmp_path / "own")), "auto", None)


def test_ood_validation_falls_back_to_synthetic_sets_of_validation_images(root):
    (root / "outliers" / "things_val.parquet").unlink()
    plan = make_plan(section(), "auto", root)
    assert any("synthetic sets" in note for note in plan.notes)
    data = plan.load_study(section())
    assert list(data.ood_val.sets) == list(VALIDATION_NAMES)
    made_from = set(data.ood_val.sets["invert"].groups.tolist())
    assert made_from == set(data.val_id.images.ids.tolist())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"ood_val": ["scenes"]},
            "data.ood_val: 'scenes' is also in data.ood_test; tuning on a test set invalidates "
            "the result. Pick another validation set.",
        ),
        ({"outliers": ["scenes"]}, "training on a test set invalidates the result"),
        ({"outliers": ["things_val"]}, "'things_val' is also in data.ood_val; each role needs"),
        ({"ood_val": ["things_val", "things_val"]}, "'things_val' is named twice"),
        ({"outliers": ["invert"]}, "'invert' is made from validation images"),
        ({"outliers": ["svhn"]}, "'svhn' is not under"),
        ({"ood_test": ["scenez"]}, "Did you mean 'scenes'?"),
        ({"outliers": ["root/cifar10/train.parquet"]}, "is also in data.outliers"),
        (
            {"outliers": ["root/cifar10/test.parquet"]},
            "is also the ID test set; training on a test set",
        ),
    ],
)
def test_names_that_cannot_serve_are_told_with_the_way_out(root, changes, told):
    with pytest.raises(BadInput) as caught:
        make_plan(section(**changes), "auto", root)
    assert told in str(caught.value)


def test_sets_of_one_name_in_two_roles_are_two_where_their_files_are(root):
    write_set(root / "ood_val" / "scenes.parquet", 5, 6)
    for asked in ({}, {"ood_val": ["scenes"], "ood_test": ["scenes"]}):
        plan = make_plan(section(**asked), "auto", root)
        assert plan.ood_val["scenes"].location == str(root / "ood_val" / "scenes.parquet")
        lies = plan.ood_test["scenes"].description["location"]
        assert lies == str(root / "ood_test" / "scenes.parquet")


@pytest.mark.parametrize("name", ["ood_val/val_id", "ood_test/test_id", "ood_test/mean"])
def test_set_of_a_name_that_records_use_is_refused(root, name):
    write_set(root / f"{name}.parquet", 5, 6)
    with pytest.raises(BadInput, match="is a word of the records' own"):
        make_plan(section(), "auto", root)


def test_one_file_under_one_name_in_two_roles_is_refused(root):
    (root / "ood_val").mkdir()
    (root / "ood_val" / "scenes.parquet").symlink_to(root / "ood_test" / "scenes.parquet")
    with pytest.raises(BadInput, match=r"'scenes' is also in data\.ood_test; tuning"):
        make_plan(section(), "auto", root)


def test_all_faults_are_told_at_once(root):
    with pytest.raises(BadInput) as caught:
        make_plan(section(outliers=["nowhere"], ood_test=["svhn"]), "auto", root)
    assert len(caught.value.faults) == 2
    for name in ("outliers/things_train", "outliers/things_val"):
        (root / f"{name}.parquet").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        make_plan(section(), "auto", root).load_study(section())
    assert len(caught.value.faults) == 2


def test_lists_take_paths_and_several_sets(root, tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((4, 32, 32, 3), np.uint8))
    chosen = section(outliers=["things_train", str(tmp_path / "mine.npy")])
    data = make_plan(chosen, "auto", root).load_study(chosen)
    assert data.outliers is not None
    assert len(data.outliers.images) == 12


def test_id_classes_in_labelled_outliers_are_refused_or_filtered(root):
    write_set(root / "outliers" / "things_train.parquet", 9, 3, ("car", "cup", "tub"))
    plan = make_plan(section(), "auto", root)
    with pytest.raises(BadInput, match=r"data.outliers: .*'car' \(ID class 'automobile', 3 "):
        plan.load_study(section())
    filtering = section(outlier_id_classes="filter")
    data = make_plan(filtering, "auto", root).load_study(filtering)
    assert data.outliers is not None
    assert len(data.outliers.images) == 6
    assert any("left out of 'things_train'" in note for note in data.notes)


def test_sets_without_a_role_and_missing_tests_are_told(root):
    (root / "ood_test" / "scenes.parquet").unlink()
    write_set(root / "outliers" / "more.parquet", 2, 9)
    notes = " ".join(make_plan(section(), "auto", root).notes)
    assert "outliers/more.parquet has no role" in notes
    assert "There is no OOD test set" in notes


def test_wrong_options_are_bad_input(tmp_path):
    with pytest.raises(BadInput, match=r"--data-root: .* is not a folder"):
        make_plan(section(), "auto", tmp_path / "absent")
    with pytest.raises(BadInput, match="--data: 'mnist': must be one of"):
        make_plan(section(), "mnist", None)
    with pytest.raises(BadInput, match="must be 32 for the embedded demo"):
        make_plan(section(image_size=64), "demo", None)
    assert "DIR/outliers/<name>_train" in str(missing_outliers("energy"))


def test_unlabelled_id_set_is_bad_input(root):
    write_set(root / "cifar10" / "train.parquet", 8, 1)
    with pytest.raises(BadInput, match="needs a label for each image"):
        make_plan(section(), "auto", root).load_study(section())


def test_plan_has_no_reader_of_test_images():
    fields = {field.name: field.type for field in dataclasses.fields(DataPlan)}
    assert fields["test_id"] == "SealedSource"
    assert fields["ood_test"] == "dict[str, SealedSource]"


def test_probe_heeds_its_deadline(monkeypatch):
    monkeypatch.undo()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            time.sleep(1.0 if self.path == "/slow" else 0.0)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert id_choice.answers(url)
        assert not id_choice.answers(f"{url}/slow", timeout_s=0.2)
        server.shutdown()
    assert not id_choice.answers(url, timeout_s=1.0)


def test_shared_data_fills_every_role(shared_data, monkeypatch):
    plan = make_plan(section(id="cifar10"), "auto", Path(shared_data))
    assert [source.name for source in plan.outliers] == ["objects_train"]
    assert list(plan.ood_val) == ["objects_val"]
    assert list(plan.ood_test) == ["objects", "scenes", "textures"]
    (told,) = plan.notes
    assert told.startswith("The data root also holds what has no role and is not used: ")
