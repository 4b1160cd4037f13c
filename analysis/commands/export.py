"""``python -m analysis export``."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path

from analysis.choice.whole import refuse_changed, refuse_early
from analysis.commands import Result
from analysis.report.model_card import model_card
from analysis.report.papers import export_openood
from analysis.results.other_process import run_study_module
from analysis.statistics.compare import WINNER
from analysis.tables import Records
from study.records.frozen import read_frozen
from study.terminal import pasted


def run(study: Records, options: Namespace) -> Result:
    """The files written, and the winner's by the study's own score as a table; or the model."""
    refuse_changed(study)
    if options.model is not None:
        return _model(study, options.model)
    written = export_openood(study)
    content = {str(path): table for path, table in written.items()}
    own = [path for path in written if path.stem == f"{WINNER}_{study.own_score}"]
    tables = {f"{path}, % (OOD positive)": written[path].round(2) for path in own}
    return Result(content, tables, [str(path) for path in written])


def _model(study: Records, out: Path) -> Result:
    frozen = read_frozen(study.folder.path)
    refuse_early(study, str(frozen.get("now") or ""))
    with tempfile.TemporaryDirectory(prefix="card-") as folder:
        card = Path(folder) / "card.md"
        card.write_text(model_card(study, frozen), encoding="utf-8")
        run_study_module(
            "study.export", study.folder.path, str(out), "--card", str(card), what="the export"
        )
    files = sorted(str(path) for path in out.rglob("*") if path.is_file())
    use = f"To score pictures: python -m study.score {pasted([str(out)])} FOLDER"
    return Result(files, {}, [*files, use])
