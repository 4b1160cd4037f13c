from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

import analysis
from analysis.bases import marks
from analysis.choice.held import with_held
from analysis.commands import select, trials
from analysis.report.page import make_report
from analysis.report.papers import candidates_table
from analysis.study import Study
from tests.fake_run import freeze, make_run

pytestmark = pytest.mark.usefixtures("unrendered")

SAW = "The base comes from public.th and may have seen the validation images"
FROM = "The initialisation was trained on imagenet, which ood_val/blobs is from"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study from a public checkpoint, trained on a source of an OOD validation set."""
    run = make_run(tmp_path)
    told = json.loads(run.manifest.read_text())
    told["base"] |= {"saw_validation": True, "from_file": {"file": "/somewhere/public.th"}}
    told["pretrained_on"] = {"declared": ["imagenet"], "overlaps": {"ood_val/blobs": ["imagenet"]}}
    run.manifest.write_text(json.dumps(told))
    found = analysis.load(tmp_path)
    found.trials["param/model.pretrained_on"] = "imagenet"
    return found


def test_marks_of_a_study_of_its_own_base_are_none(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert marks(analysis.load(tmp_path)) == []


def test_marks_name_the_file_and_the_set(study: Study) -> None:
    saw, source = marks(study)
    assert saw.startswith(SAW)
    assert source.startswith(FROM)


def test_marks_stand_with_the_trials(study: Study) -> None:
    told = trials.run(study, Namespace())
    assert any(line.startswith(SAW) for line in told.lines)


def test_marks_stand_with_the_selection_and_in_its_json(study: Study) -> None:
    told = select.run(study, Namespace(now="", alternatives=False))
    assert any(line.startswith(SAW) for line in told.lines)
    assert isinstance(told.content, dict)
    assert told.content["marks"] == marks(study)


def test_marks_are_frozen_with_the_choice(study: Study) -> None:
    assert freeze(study)["marks"] == marks(study)


def test_marks_stand_in_the_report_at_choice_and_trials(study: Study) -> None:
    assert make_report(study).html.count(SAW) >= 2


def test_marks_stand_in_the_caption_of_a_paper(study: Study) -> None:
    told = candidates_table(study, with_held(study, study.select().candidates))
    assert SAW in told
