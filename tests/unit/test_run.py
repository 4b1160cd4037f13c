from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from study import run as module
from study.data.plan import DataPlan
from study.errors import BadInput, Fault, Interrupted, StudyFailed, TrialFailed
from study.options import Override, ResumeOptions, RunOptions
from study.records.files import RunFolder
from study.records.hold_outs import hold_out_folders
from study.records.ledger import Ledger
from study.run import resume_study, run_study
from study.space.loading import load_resolved, load_space
from study.space.study_spec import StudySpec
from study.tune.setup import CheckedStudy
from study.watch.progress import Progress
from tests.toys import toy_data

Fail = Callable[[Exception], None]


class _Leaks:
    """A leak check that found nothing."""

    test_fingerprints: ClassVar[dict[str, str]] = {}

    def to_json(self) -> dict[str, Any]:
        return {}

    def copy_pictures(self, folder: Path) -> None:
        """There are none."""


def _conclude(*_: Any) -> str:
    raise AssertionError("there is nothing to conclude")


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions("energy", tmp_path / "energy", data="demo", command="the command")


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO(), live=False, quiet=True)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Toy data in place of the demo, and a base that cannot be had."""

    def checked(spec: StudySpec, plan: DataPlan, _: Progress) -> CheckedStudy:
        leaks: Any = _Leaks()
        return CheckedStudy(spec, plan, toy_data(), leaks)

    monkeypatch.setattr(module, "prepare_data", checked)

    def fail(error: Exception) -> None:
        def prepare(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(module, "prepare", prepare)

    return fail


def test_base_that_diverges_fails_the_study_and_keeps_it_resumable(
    options: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(TrialFailed("epoch 1, step 3: loss is nan"))
    with pytest.raises(StudyFailed, match=r"base model.*epoch 1, step 3: loss is nan"):
        run_study(options, progress, _conclude)
    with pytest.raises(StudyFailed, match="base model"):
        resume_study(ResumeOptions(options.out), progress, _conclude)


def test_study_whose_margins_cross_on_the_base_leaves_no_folder(
    options: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(BadInput(Fault("energy.yaml", "search.m_in", "must stay below search.m_out")))
    with pytest.raises(BadInput, match="must stay below"):
        run_study(options, progress, _conclude)
    assert not options.out.exists()


def test_interrupted_set_up_leaves_spec_and_manifest_to_resume_from(
    options: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(Interrupted())
    with pytest.raises(Interrupted):
        run_study(options, progress, _conclude)
    run = RunFolder(options.out)
    assert load_resolved(run.spec) == load_space("energy", ["data.image_size=32"])
    assert module.run_folder.recorded_plan(run).to_json()["demo"] is True
    with pytest.raises(Interrupted):
        resume_study(ResumeOptions(options.out), progress, _conclude)


def test_error_of_a_search_is_told_where_it_left_nothing_to_conclude_from(
    options: RunOptions, progress: Progress, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(Interrupted())
    broken = StudyFailed("searcher mine: it raised")
    decisions = SimpleNamespace(unfinished=[])
    session = SimpleNamespace(disk_full="", stopping="", error=broken, decisions=decisions)
    monkeypatch.setattr(module, "prepare", lambda *_, **__: SimpleNamespace(base=None))
    monkeypatch.setattr(module.run_folder, "add_start", lambda *_: None)
    monkeypatch.setattr(module, "search", lambda *_: session)

    def no_table(*_: Any) -> str:
        raise BadInput(Fault("trials.parquet", "", "is not there"))

    with pytest.raises(StudyFailed, match="searcher mine: it raised"):
        run_study(options, progress, no_table)


def test_spent_time_budget_tells_the_command_that_goes_on_as_this_one_ran(
    options: RunOptions, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(Interrupted())
    decisions = SimpleNamespace(unfinished=[1])
    session = SimpleNamespace(
        disk_full="", stopping="time budget", error=None, decisions=decisions
    )
    monkeypatch.setattr(module, "check_trackers", lambda _: None)
    monkeypatch.setattr(module, "prepare", lambda *_, **__: SimpleNamespace(base=None))
    monkeypatch.setattr(module.run_folder, "add_start", lambda *_: None)
    monkeypatch.setattr(module, "search", lambda *_: session)
    told = io.StringIO()
    with Progress(told, live=False, quiet=True) as progress:
        run_study(replace(options, trackers=("mlflow",)), progress, lambda *_: "chosen")
    assert "1 trial paused; go on: python run_study.py --resume" in told.getvalue()
    assert told.getvalue().rstrip().endswith(" --log mlflow")


def test_options_become_settings_of_the_study_under_their_own_names(
    options: RunOptions, progress: Progress, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(Interrupted())
    overrides = (
        Override("tune.num_trials", 7, "--num-trials"),
        Override("tune.seed", 3, "--seed"),
        "tune.max_concurrent=1",
    )
    asked = RunOptions("energy", options.out, data="demo", overrides=overrides)
    with pytest.raises(Interrupted):
        run_study(asked, progress, _conclude)
    tune = load_resolved(RunFolder(options.out).spec).tune
    assert (tune.num_trials, tune.seed, tune.max_concurrent) == (7, 3, 1)


def test_dry_run_writes_nothing(
    options: RunOptions, progress: Progress, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "forecast", lambda *_: "the forecast")
    asked = RunOptions("energy", options.out, data="demo", dry_run=True)
    assert run_study(asked, progress, _conclude) == "the forecast"
    assert not options.out.exists()


def test_folder_in_use_is_refused_before_any_data_is_read(
    options: RunOptions, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr(module, "prepare_data", read)
    options.out.mkdir()
    with Ledger(RunFolder(options.out).ledger) as ledger:
        ledger.append("started", command="")
    with pytest.raises(BadInput, match="holds a study"):
        run_study(options, progress, _conclude)


@pytest.fixture
def held_out(options: RunOptions, tmp_path: Path) -> RunOptions:
    """An ablation under two hold-outs of the demo's digits."""
    space = tmp_path / "held_out.yaml"
    levels = [{"near_val": [f"digit {one}"], "near_test": [f"digit {one + 1}"]} for one in (0, 2)]
    factors = {"lr": [0.002], "data.hold_out": levels}
    space.write_text(
        f"recipe: energy\nablate:\n  design: one_at_a_time\n  seeds: [0]\n  factors: {factors}\n"
    )
    return replace(options, space=str(space))


def test_studies_of_all_hold_outs_begin_before_the_first_one_trains(
    held_out: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(Interrupted())
    with pytest.raises(Interrupted):
        run_study(held_out, progress, _conclude)
    folders = hold_out_folders(held_out.out)
    assert [folder.name for folder in folders] == ["hold_out_1", "hold_out_2"]
    specs = [load_resolved(RunFolder(folder).spec) for folder in folders]
    assert [str(spec.data.hold_out) for spec in specs] == [
        "near_val digit 0; near_test digit 1", "near_val digit 2; near_test digit 3",
    ]  # fmt: skip
    plans = [module.run_folder.recorded_plan(RunFolder(folder)) for folder in folders]
    assert [plan.ood_test["near_test"].description["only"] for plan in plans] == [
        ("digit 1",), ("digit 3",),
    ]  # fmt: skip
    with pytest.raises(Interrupted):
        resume_study(ResumeOptions(held_out.out), progress, _conclude)
    with pytest.raises(BadInput, match="this folder holds a study"):
        run_study(held_out, progress, _conclude)


def test_hold_out_whose_base_fails_does_not_keep_the_others_from_it(
    held_out: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(TrialFailed("loss is nan"))
    with pytest.raises(StudyFailed, match=r"(?s)hold_out_1: .*nan.*hold_out_2: .*nan"):
        run_study(held_out, progress, _conclude)


def test_faults_of_all_hold_outs_are_told_and_leave_no_folder(
    held_out: RunOptions, progress: Progress, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(spec: StudySpec, *_: Any) -> None:
        raise BadInput(Fault("data.hold_out", "", str(spec.data.hold_out)))

    monkeypatch.setattr(module, "prepare_data", refused)
    with pytest.raises(BadInput) as caught:
        run_study(held_out, progress, _conclude)
    assert len(caught.value.faults) == 2
    assert not held_out.out.exists()


def test_start_that_was_cut_off_between_hold_outs_is_begun_anew(
    held_out: RunOptions, progress: Progress, failing: Fail
) -> None:
    failing(Interrupted())
    with pytest.raises(Interrupted):
        run_study(held_out, progress, _conclude)
    RunFolder(held_out.out).hold_outs.unlink()  # as if it had been killed before this was written
    with pytest.raises(Interrupted):
        run_study(held_out, progress, _conclude)
    assert len(hold_out_folders(held_out.out)) == 2


def test_dry_run_forecasts_each_hold_out(
    held_out: RunOptions, progress: Progress, failing: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(Interrupted())
    monkeypatch.setattr(module, "forecast", lambda *_: "the forecast")
    told = run_study(replace(held_out, dry_run=True), progress, _conclude)
    assert "hold_out_2 of 2: near_val digit 2; near_test digit 3\nthe forecast" in told
    assert not held_out.out.exists()
