"""Two studies on the same images, their choices judged on sources that neither has seen.

    python benchmarks/live.py cut --data-root ../shared/data --out LIVE
    (two studies with --data-root LIVE/data, each by the code that is to be judged)
    python benchmarks/live.py judge --kept LIVE/kept OLD_RUN NEW_RUN

`cut` writes a data root without half of what a study would validate on: 2,500 training images of
CIFAR-10 (half of a twentieth of each class, drawn at random), and half of the source images of the
OOD validation set with all their crops. What it leaves out lies in LIVE/kept as pictures, byte for
byte. `judge` exports the choice of either run, scores those pictures, and prints both and the
difference, new less old, paired by source with its 95 % interval, beside what each search trained.
Nothing of a test set is read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from common import print_table

import analysis
from analysis.statistics.compare import DIFFERENCE, WINNER, compare
from study.records.files import BASE, VAL_ID
from study.records.scores import SetScores
from study.seeding import numpy_generator
from study.winner import load_winner

ROOT = Path(__file__).resolve().parent.parent
KEPT_OF_CLASS = 250
OOD = "objects_val"
NOTHING = "unlabelled"  # folder of kept OOD images, in place of a class
ID_TRAIN, OOD_VAL = Path("cifar10/train.parquet"), Path(f"outliers/{OOD}.parquet")
METRICS = ("id_accuracy", "fpr95", "auroc")


def cut(data_root: Path, out: Path) -> None:
    """Write LIVE/data and LIVE/kept; sets that stay whole are linked."""
    data, kept = out / "data", out / "kept"
    for path in sorted(data_root.glob("*/*.parquet")):
        place = data / path.relative_to(data_root)
        place.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(path)
        relative = path.relative_to(data_root)
        if relative == ID_TRAIN:
            left_out = _of_each_class(table.column("label").to_numpy())
        elif relative == OOD_VAL:
            left_out = _half_of_sources(_sources(table.column("img").to_pylist()))
        else:
            place.symlink_to(path.resolve())
            continue
        pq.write_table(table.filter(~left_out), place)
        _write_pictures(table.filter(left_out).to_pylist(), kept)


def _sources(images: Sequence[dict[str, str]]) -> np.ndarray:
    return np.array([image["path"].split("/")[0] for image in images])


def _of_each_class(labels: np.ndarray) -> np.ndarray:
    left_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        left_out[numpy_generator(0, "kept", str(label)).permutation(rows)[:KEPT_OF_CLASS]] = True
    return left_out


def _half_of_sources(sources: np.ndarray) -> np.ndarray:
    names = np.unique(sources)
    return np.isin(sources, numpy_generator(0, "kept").permutation(names)[: len(names) // 2])


def _write_pictures(rows: Sequence[dict[str, object]], kept: Path) -> None:
    """``kept/LABEL/SOURCE/NUMBER.jpg``; a picture of no class lies under ``unlabelled``."""
    for number, row in enumerate(rows):
        image, label = row["img"], row["label"]
        assert isinstance(image, dict)
        source = image["path"].split("/")[0] if label == -1 else str(number)
        folder = kept / (NOTHING if label == -1 else str(label)) / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(image["bytes"])


def scored(run: Path, kept: Path) -> dict[str, SetScores]:
    """The kept pictures by the choice of a run, sets as `compare` reads them."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        export = ["-m", "analysis", "export", str(run.resolve()), "--model", str(model)]
        subprocess.run([sys.executable, *export], check=True, cwd=ROOT)
        winner = load_winner(model)
        rows = list(winner.score_files(sorted(kept.rglob("*.jpg"))))
    table = pd.DataFrame(
        {
            "label": [_label(row.path, kept) for row in rows],
            "predicted": [winner.classes.index(row.label) for row in rows],
            "score": [row.score for row in rows],
            "image": [str(row.path.relative_to(kept)).encode() for row in rows],
            "group": [str(row.path.parent.relative_to(kept)).encode() for row in rows],
        }
    )
    return {
        name: SetScores(
            {winner.facts["score"]: part["score"].to_numpy()[None]},
            part["predicted"].to_numpy(np.int16)[None],
            part["label"].to_numpy(np.int16),
            part["image"].to_numpy(np.bytes_),
            part["group"].to_numpy(np.bytes_),
        )
        for name, part in ((VAL_ID, table[table.label >= 0]), (OOD, table[table.label < 0]))
    }


def _label(path: Path, kept: Path) -> int:
    name = path.relative_to(kept).parts[0]
    return -1 if name == NOTHING else int(name)


def searched(run: Path) -> list[str]:
    """A row of what the search of a run trained."""
    study = analysis.load(run)
    trials = study.trials
    epochs = int(trials["epochs"].sum())
    images = epochs * int(study.spec["train"]["epoch_images"])
    ended = ", ".join(f"{n} {status}" for status, n in trials["status"].value_counts().items())
    return [str(run), ended, f"{epochs}", f"{images:,}"]


def judge(kept: Path, old: Path, new: Path) -> None:
    """Print the choice of either run on the kept pictures, and the difference."""
    print_table([["run", "trials", "epochs", "ID images"], searched(old), searched(new)])
    print()
    table = compare({BASE: scored(old, kept), WINNER: scored(new, kept)})
    label = {BASE: "old", WINNER: "new", DIFFERENCE: "new less old"}
    rows = [["choice", "ID", "OOD", "sources", *METRICS]]
    for _, row in table[table["dataset"] == OOD].iterrows():
        sizes = [str(row[name]) for name in ("n_id", "n_ood", "num_ood_groups")]
        told = [
            f"{100 * row[name]:+.1f} [{100 * row[f'{name}_low']:+.1f}, "
            f"{100 * row[f'{name}_high']:+.1f}]"
            for name in METRICS
        ]
        rows.append([label[row["model"]], *sizes, *told])
    print_table(rows)


def main() -> None:
    """Cut or judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    cutting = what.add_parser("cut")
    cutting.add_argument("--data-root", type=Path, required=True)
    cutting.add_argument("--out", type=Path, required=True)
    judging = what.add_parser("judge")
    judging.add_argument("--kept", type=Path, required=True)
    judging.add_argument("old", type=Path)
    judging.add_argument("new", type=Path)
    given = parser.parse_args()
    if given.what == "cut":
        cut(given.data_root, given.out)
    else:
        judge(given.kept, given.old, given.new)


if __name__ == "__main__":
    main()
