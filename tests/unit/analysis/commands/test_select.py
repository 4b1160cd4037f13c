from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from analysis.commands.select import run
from analysis.tables import Records
from study.records.ledger import Ledger
from tests.fake_run import make_run

pytestmark = pytest.mark.usefixtures("unrendered")


def test_study_that_moved_on_while_it_was_read_is_not_frozen_as_it_was(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    study = Records.read(tmp_path)
    with Ledger(folder.ledger) as ledger:
        ledger.append("extended", command="", num_trials=20)
    told = run(study, Namespace(now="a deadline", alternatives=False)).lines
    assert any(line.startswith("Not frozen: the study has moved on") for line in told)
    assert not folder.selection.exists()
