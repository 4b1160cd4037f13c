from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.data.roles import StudyData, TrainID
from study.errors import BadInput
from study.options import ResumeOptions
from study.records.files import TEST_OPENED, RunFolder, write_json
from study.records.ledger import Ledger
from study.records.manifest import read_manifest
from study.records.sealed import note_end
from study.run_folder import (
    as_extended,
    changed_parts,
    discard,
    hashes,
    recorded_plan,
    recorded_start,
    refuse_changed,
    refuse_edited,
    refuse_existing,
    refuse_former_losses,
    refuse_missing,
    refuse_more_trials,
    refuse_unknown_rules,
    tell_of_tests,
    with_more_trials,
)
from study.space.loading import load_resolved, load_space
from study.space.reading.yamlfile import dump
from study.space.study_spec import StudySpec
from study.tune.decisions import RULES
from study.tune.setup import CheckedStudy
from study.watch.progress import Progress
from tests.toys import toy_data, toy_images

LEAKS: Any = SimpleNamespace(test_fingerprints={"test_id": "a"})


def refuse_other(
    run: RunFolder, ledger: Ledger, spec: StudySpec, data: StudyData, leaks: Any = LEAKS
) -> None:
    """Refuse a study of this spec and data where the ledger began with another."""
    nothing: Any = None  # of the sources, nothing is asked here
    refuse_changed(run, changed_parts(run, CheckedStudy(spec, nothing, data, leaks), ledger))


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    return load_space("cifar10")


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def started(run: RunFolder, spec: StudySpec, data: StudyData) -> Iterator[Ledger]:
    write_json(run.manifest, {"data": {"test_fingerprints": LEAKS.test_fingerprints}})
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="", **hashes(spec, data))
        yield ledger


def test_new_and_empty_folders_are_taken(tmp_path: Path) -> None:
    refuse_existing(tmp_path)
    refuse_existing(tmp_path / "not there yet")


def test_folder_with_a_study_is_refused_with_the_ways_out(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="")
    with pytest.raises(BadInput, match="holds a study") as caught:
        refuse_existing(run.path)
    assert all(f"{way} " in str(caught.value) for way in ("--resume", "--extend", "another"))


def test_study_that_was_cut_off_before_its_first_line_is_begun_over(run: RunFolder) -> None:
    run.ledger.touch()
    run.spec.touch()
    refuse_existing(run.path)


def test_start_that_was_killed_while_it_wrote_is_begun_over(run: RunFolder) -> None:
    for name in (".spec.yaml.4711.tmp", ".manifest.json.4711.tmp", ".code.diff.4711.tmp"):
        (run.path / name).touch()
    refuse_existing(run.path)
    (run.path / ".thesis.tex.4711.tmp").touch()
    with pytest.raises(BadInput, match="holds no study"):
        refuse_existing(run.path)


def test_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"^--out: .*/file is a file, not a folder"):
        refuse_existing(tmp_path / "file" / "new")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadInput, match="nothing can be written in"):
        refuse_existing(tmp_path / "new")


def test_discarded_start_leaves_nothing_but_what_was_not_its_own(tmp_path: Path) -> None:
    for name, left in (("empty", []), ("with notes", ["notes.txt"])):
        run = RunFolder(tmp_path / name)
        write_json(run.manifest, {})
        write_json(run.trial_checkpoints("base") / "trial.json", {})
        run.ledger.touch()
        for other in left:
            (run.path / other).touch()
        discard(run)
        assert [one.name for one in run.path.glob("*")] == left
        assert run.path.exists() == bool(left)


def test_discarded_start_behind_a_link_leaves_the_folder_empty(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    run = RunFolder(tmp_path / "link")
    run.ledger.touch()
    discard(run)
    assert not list((tmp_path / "disk").iterdir())


def test_folder_with_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds no study"):
        refuse_existing(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_going_on_where_files_are_missing_names_them(run: RunFolder) -> None:
    run.ledger.touch()
    run.spec.touch()
    with pytest.raises(BadInput, match=r"'manifest\.json'.*no study that can be resumed"):
        refuse_missing(run)
    run.manifest.touch()
    refuse_missing(run)


@pytest.mark.parametrize("content", ["", '{"data": '])
def test_torn_manifest_is_refused_by_name(run: RunFolder, content: str) -> None:
    run.manifest.write_text(content)
    with pytest.raises(BadInput, match=r"manifest\.json"):
        read_manifest(run)


@pytest.mark.parametrize(
    ("content", "told"),
    [("[]", "holds no sections"), ('{"data": []}', r"data: \[\]: must be a section")],
)
def test_manifest_of_another_shape_is_refused_by_name(
    run: RunFolder, content: str, told: str
) -> None:
    run.manifest.write_text(content)
    for ask in (recorded_plan, recorded_start):
        with pytest.raises(BadInput, match=rf"manifest\.json: {told}"):
            ask(run)


@pytest.mark.parametrize("content", ["{}", '{"data": {}}', '{"data": {"plan": {}}}'])
def test_foreign_manifest_is_refused_by_name(run: RunFolder, content: str) -> None:
    run.manifest.write_text(content)
    with pytest.raises(BadInput, match=r"manifest\.json: data\.plan"):
        recorded_plan(run)
    with pytest.raises(BadInput, match=r"manifest\.json: initial"):
        recorded_start(run)


def test_study_goes_on_with_the_spec_and_data_that_it_started_with(
    run: RunFolder, spec: StudySpec, data: StudyData, started: Ledger
) -> None:
    run.spec.write_text(spec.dump())
    refuse_other(run, started, load_resolved(run.spec), data)


UNSAID = (("select", "path"), ("select", "penalty"), ("tune", "finish"), ("tune", "first"))


@pytest.mark.parametrize("name", ["energy", "cifar10"])
def test_study_of_the_first_words_goes_on(run: RunFolder, data: StudyData, name: str) -> None:
    plain = load_space(name).resolved()
    if name == "cifar10":
        plain["recipe"] = "cifar10"
    else:
        plain["model"]["init"] = "cifar10"
    for section, key in UNSAID:
        del plain[section][key]
    run.spec.write_text(dump(plain))
    free = ("num_trials", "time_budget_s", "max_concurrent", "cpus_per_trial", "gpus_per_trial")
    for key in (*free, "checkpoint_budget"):
        del plain["tune"][key]
    told = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    write_json(run.manifest, {"data": {"test_fingerprints": LEAKS.test_fingerprints}})
    with Ledger(run.ledger) as ledger:
        ledger.append("started", spec_sha256=told, data_sha256=data.fingerprint)
        refuse_other(run, ledger, load_resolved(run.spec), data)


def test_changed_spec_and_changed_data_are_told_at_once(
    run: RunFolder, data: StudyData, started: Ledger
) -> None:
    spec = load_space("cifar10", ["train.momentum=0.8"])
    other = replace(data, train=TrainID(toy_images("train", 60, classes=3, seed=5)))
    with pytest.raises(BadInput) as caught:
        refuse_other(run, started, spec, other)
    assert [fault.key for fault in caught.value.faults] == ["spec.yaml", "the data"]


@pytest.mark.parametrize(
    "override",
    ["tune.seed=3", "tune.searcher=random", "tune.scheduler=none", "select.checkpoint=last"],
)
def test_what_fixes_decisions_may_not_change(
    run: RunFolder, data: StudyData, started: Ledger, override: str
) -> None:
    with pytest.raises(BadInput, match=r"spec\.yaml: is not what the study was started with"):
        refuse_other(run, started, load_space("cifar10", [override]), data)


@pytest.mark.parametrize(
    "override",
    ["tune.num_trials=13", "tune.time_budget_s=5.0", "tune.max_concurrent=1"],
)
def test_what_only_the_session_needs_may_change(
    run: RunFolder, data: StudyData, started: Ledger, override: str
) -> None:
    refuse_other(run, started, load_space("cifar10", [override]), data)


def test_changed_test_set_is_told(
    run: RunFolder, spec: StudySpec, data: StudyData, started: Ledger
) -> None:
    leaks: Any = SimpleNamespace(test_fingerprints={"test_id": "b"})
    with pytest.raises(BadInput, match="a test set: is not what"):
        refuse_other(run, started, spec, data, leaks)


def test_ledger_without_a_start_is_refused(
    run: RunFolder, spec: StudySpec, data: StudyData
) -> None:
    with Ledger(run.ledger) as ledger, pytest.raises(BadInput, match="how the study started"):
        refuse_other(run, ledger, spec, data)


def test_resuming_is_noted_and_changes_nothing(
    run: RunFolder, spec: StudySpec, started: Ledger
) -> None:
    options = ResumeOptions(run.path, command="the command")
    assert with_more_trials(run, spec, started, options) == spec
    assert started.events("resumed")[0]["command"] == "the command"
    assert not run.spec.exists()


def test_extending_raises_the_number_of_trials_on_record(
    run: RunFolder, spec: StudySpec, data: StudyData, started: Ledger
) -> None:
    before = spec.tune.num_trials
    longer = with_more_trials(run, spec, started, ResumeOptions(run.path, more_trials=5))
    assert longer.tune.num_trials == before + 5
    assert load_resolved(run.spec) == longer
    assert started.events("extended")[0]["num_trials"] == before + 5
    refuse_other(run, started, longer, data)


def test_extension_that_was_killed_before_its_spec_was_written_is_taken_from_the_ledger(
    run: RunFolder, spec: StudySpec, started: Ledger
) -> None:
    started.append("extended", num_trials=99)
    assert as_extended(run, spec, started).tune.num_trials == 99
    assert load_resolved(run.spec).tune.num_trials == 99


def test_edited_manifest_is_refused_and_a_table_that_is_a_folder_taken_away_and_told(
    run: RunFolder, started: Ledger
) -> None:
    for path in (run.manifest, run.trials):
        path.write_text("as written")
    told = {"complete": True, "reason": "", "unfinished": 0, "planned": 1}
    note_end(started, run, **told)
    run.trials.unlink()
    run.trials.mkdir()
    stream = io.StringIO()
    with Progress(stream, live=False, quiet=True) as progress:
        refuse_edited(run, started, progress)
        assert not run.trials.exists()
        assert f"{run.trials}: is not what the ledger holds the hash of; it is written anew" in (
            " ".join(stream.getvalue().split())
        )
        run.manifest.write_text("edited")
        with pytest.raises(BadInput, match=f"{run.manifest}: is not what") as caught:
            refuse_edited(run, started, progress)
    assert caught.value.faults[0].place == str(run.manifest)


def test_study_that_goes_on_after_its_test_says_so(run: RunFolder, started: Ledger) -> None:
    stream = io.StringIO()
    with Progress(stream, live=False, quiet=True) as progress:
        tell_of_tests(started, progress, "extended")
        assert stream.getvalue() == ""
        opened = started.append(TEST_OPENED, sets={})
        tell_of_tests(started, progress, "extended")
    told = f"the study is extended after its test sets were opened ({opened['time']})"
    assert told in " ".join(stream.getvalue().split())


def test_more_trials_of_an_ablation_are_refused() -> None:
    with pytest.raises(BadInput, match="ends with its arms and seeds"):
        refuse_more_trials(load_space("energy_ablation"), 1)


def test_more_trials_than_a_grid_has_points_are_refused() -> None:
    names = ("lr", "weight_decay", "label_smoothing", "schedule")
    gone = [f"search.{name}=null" for name in names]
    grid = ["tune.searcher=grid", "tune.scheduler=none", "tune.num_trials=2"]
    small = load_space("cifar10", [*gone, *grid])  # batch_size alone is searched
    refuse_more_trials(small, 0)
    refuse_more_trials(small, 1)
    with pytest.raises(BadInput, match="the grid has 3 points, the study would have 4 trials"):
        refuse_more_trials(small, 2)


@pytest.mark.parametrize(
    ("loss", "rules", "refused"),
    [
        ("balanced_energy", {"asha": "promotes"}, True),
        ("balanced_energy", {"losses": "at their authors' scales"}, False),
        ("outlier_exposure", {}, False),
    ],
)
def test_losses_whose_scales_have_changed_are_not_mixed_in_one_study(
    run: RunFolder, loss: str, rules: dict[str, str], refused: bool
) -> None:
    spec = load_space("outlier_exposure", [f"train.loss={loss}", "search.oe_weight=null"])
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="", rules=rules)
        if not refused:
            refuse_former_losses(run, spec, ledger)
            return
        with pytest.raises(BadInput, match="balanced_energy at scales that were not the authors'"):
            refuse_former_losses(run, spec, ledger)


@pytest.mark.parametrize(
    "rules", [{"asha": "promotes twice"}, {**RULES, "floor": "is judged by a prophet"}]
)
def test_study_of_a_later_version_is_refused_by_the_rules_that_are_not_known(
    run: RunFolder, rules: dict[str, str]
) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="", rules=rules)
        with pytest.raises(BadInput, match="rules that this version does not know"):
            refuse_unknown_rules(run, ledger)


@pytest.mark.parametrize("rules", [{}, {"asha": "promotes"}, RULES])
def test_study_of_an_earlier_version_goes_on_by_its_rules(
    run: RunFolder, rules: dict[str, str]
) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="", rules=rules)
        refuse_unknown_rules(run, ledger)
