"""python -m analysis list, compare, power: runs at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import Fake, make_run

SMALL: dict[str, Any] = {"num_id": 40, "ood_sets": {"blobs": (30, 1)}}


def test_list_tells_choice_and_test_of_each_run_and_survives_what_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "whole", Fake(**SMALL))
    main(["select", str(tmp_path / "whole")])
    make_run(tmp_path / "deeper" / "cut", Fake(**SMALL, statuses=("finished", "running")))
    torn = make_run(tmp_path / "torn", Fake(**SMALL))
    torn.trials.write_bytes(b"PAR1 and no more")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "ledger.jsonl").write_bytes(b"\xff\xfe{")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    capsys.readouterr()
    assert main(["list", str(tmp_path), "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"whole", "deeper/cut", "torn", "foreign"}
    assert rows["whole"]["choice"]
    assert 0 < rows["whole"]["value"] < 1
    assert rows["whole"]["tested"] is False
    assert rows["deeper/cut"]["state"] == "running, or cut off"
    assert rows["torn"]["state"] == "not readable"
    assert rows["foreign"]["state"] == "cut off"
    assert f"run_study.py --resume {tmp_path / 'foreign'}" in rows["foreign"]["fault"]
    assert "Parquet" in rows["torn"]["fault"]


def test_list_of_an_empty_folder_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(tmp_path)]) == 0
    assert "no run in it" in capsys.readouterr().out


def test_list_of_a_folder_that_is_not_there_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(tmp_path / "nowhere")]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_compare_shows_floor_and_accuracy_and_differences_on_shared_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", Fake(**SMALL))
    make_run(tmp_path / "b", Fake(**SMALL, statuses=("finished",) * 3))
    page = tmp_path / "compared.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(page)]) == 0
    out = capsys.readouterr().out
    assert "floor (%)" in out
    assert "a − b: compared on blobs" in out
    assert "FPR95 (lower is better)" in out
    told = page.read_text()
    assert "a − b: compared on blobs" in told
    assert "data:image/svg+xml" in told


def test_compare_of_runs_on_other_data_says_what_does_not_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", Fake(**SMALL))
    make_run(tmp_path / "b", Fake(num_id=40, ood_sets={"letters": (20, 1)}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "a − b: cannot be compared: " in capsys.readouterr().out


def test_compare_of_runs_that_share_some_sets_compares_on_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", Fake(**SMALL))
    make_run(tmp_path / "b", Fake(num_id=40, ood_sets={"blobs": (30, 1), "letters": (20, 1)}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["compares"], pair["sets"]) == (True, ["blobs"])
    assert "letters" in pair["why"]


def test_compare_of_one_run_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a", Fake(**SMALL))
    assert main(["compare", str(tmp_path / "a")]) == 2
    assert "Name two or more" in capsys.readouterr().err


def test_power_tells_seeds_and_where_the_spread_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FAKE)
    confirm(run, {0: [(0.8, 1.5), (0.8, 2.0), (0.8, 2.5)]})
    assert main(["power", str(tmp_path), "--points", "3"]) == 0
    out = capsys.readouterr().out
    assert "3.0" in out
    assert "runs on fresh seeds" in out
