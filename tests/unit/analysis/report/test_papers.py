from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.choice.selection import select
from analysis.report.papers import (
    FAR,
    NEAR,
    effects_table,
    escape,
    export_openood,
    openood_table,
    results_table,
)
from analysis.report.sections import comparison
from analysis.study import Study
from study.data import openood
from study.errors import BadInput
from tests.fake_run import make_run

pytestmark = pytest.mark.usefixtures("unrendered")


def _rows(sets: dict[str, float], model: str = "winner", score: str = "energy") -> pd.DataFrame:
    """A final test whose metrics are all told by one number a set."""
    return pd.DataFrame(
        {
            "model": model,
            "score": score,
            "dataset": name,
            "fpr95": 0.999,
            "fpr95_ood_positive": value,
            "auroc": 1 - value,
            "aupr_in": value / 2,
            "aupr_out": value / 4,
            "id_accuracy": 0.95,
        }
        for name, value in {**sets, "mean": 0.5}.items()
    )


def test_latex_table_escapes_and_has_n_and_intervals(study: Study) -> None:
    table = results_table(study, comparison(study, select(study)))
    assert r"objects\_val & 240 (30) & base & $" in table
    assert len(re.findall(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]", table)) == 18
    assert "Validation (selection was made on these sets)" in table
    assert table.count("{") == table.count("}")
    assert escape("a_b & 5 %") == r"a\_b \& 5 \%"


def test_latex_table_tells_what_each_effect_is_against(ablation: Path) -> None:
    study = analysis.load(ablation)
    table = study.effects("val/fpr95")
    steps = table.assign(kind="step")
    text = effects_table(study, pd.concat([table, steps], ignore_index=True))
    assert "FPR95, ID positive, points, against the baseline" in text
    assert "FPR95, ID positive, points, steps of the path" in text
    assert text.count("energy\\_weight=0.3 & $-9.00$") == 2


def test_groups_are_those_of_the_data_profile() -> None:
    assert (NEAR, FAR) == (openood.NEAR, openood.FAR)


def test_openood_table_has_their_columns_rows_and_scale() -> None:
    values = {name: (i + 1) / 10 for i, name in enumerate((*reversed(FAR), *NEAR))}
    table = openood_table(_rows(values), NEAR, FAR)
    assert list(table.columns) == ["dataset", "FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC"]
    assert table["dataset"].tolist() == [*NEAR, "nearood", *FAR, "farood"]
    by_set = table.set_index("dataset")
    assert by_set.loc["cifar100"].tolist() == pytest.approx([50, 50, 25, 12.5, 95])
    assert by_set.loc["nearood", "FPR@95"] == pytest.approx(55)
    assert by_set.loc["farood", "AUROC"] == pytest.approx(75)


def test_openood_table_without_all_sets_of_a_group_has_no_mean_of_it() -> None:
    table = openood_table(_rows({"cifar100": 0.1, "mine": 0.2}), NEAR, FAR)
    assert table["dataset"].tolist() == ["cifar100", "mine"]


def test_export_writes_a_file_for_each_model_and_score(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    sets = dict.fromkeys(NEAR, 0.12345)
    told = [(m, s) for m in ("winner", "base", "winner - base") for s in ("msp", "energy")]
    results = pd.concat([_rows(sets, *pair) for pair in told])
    run.final_test.mkdir(exist_ok=True)
    results.to_parquet(run.test_results, index=False)
    written = export_openood(Study.read(tmp_path))
    names = {path.name for path in written}
    assert names == {f"{m}_{s}.csv" for m in ("winner", "base") for s in ("msp", "energy")}
    with (run.final_test / "openood" / "winner_msp.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["FPR@95"] in ("12.34", "12.35")
    assert [row["dataset"] for row in rows] == [*NEAR, "nearood"]


def test_export_before_the_final_test_is_refused_with_the_command(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(BadInput, match=r"no final test to export.*python -m analysis test"):
        export_openood(Study.read(tmp_path))
