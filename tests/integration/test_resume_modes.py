"""Studies killed while arms are re-tuned, while arms stop early, and while kept images are scored.

Every mode twice: under Ray, the process group killed again and again in one study; and by the
loop of ``faults``, killed in and after every line of the ledger and at every write of kept scores.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from study.data.kept import keep_part
from study.data.roles import StudyData
from study.space.loading import load_space
from study.tune.setup import Setup
from tests.integration.faults import KILLED, remains, searched_in_child, write_points
from tests.integration.runs import Shell, new_study
from tests.toys import toy_data, toy_setup

pytestmark = pytest.mark.slow
Seen = tuple[str, int]
"""A text and how often the ledger has it, or has it by the time of a kill."""
STOPPED = '"stopped":"its arm'

RETUNED = """
recipe: energy
model: {init: base}
base: {epochs: 2, warmup_epochs: 0, epoch_images: 128, batch_size: 8, lr: 0.05}
train:
  {epochs: 2, warmup_epochs: 0, epoch_images: 32, batch_size: 8, outlier_batch_size: 8,
   augment: none, m_in: {below: id_energy, sd: 1}, m_out: {above: id_energy, sd: 0}}
ablate:
  design: one_at_a_time
  seeds: [0]
  factors: {momentum: [0.5]}
  retune:
    num_trials: 2
    seed: 1000
    search: {lr: {loguniform: [1.0e-3, 0.1]}, m_in: {below: id_energy, sd: {uniform: [1, 4]}}}
tune: {max_concurrent: 1}
select: {metric: val/fpr95, floor: {id_accuracy: {at_least: 0.0}}}
"""
STOPPING = """
recipe: classifier
train: {epochs: 1, warmup_epochs: 0, epoch_images: 160, batch_size: 8, augment: none, lr: 0.05}
ablate:
  design: one_at_a_time
  seeds: [0, 1, 2, 3, 4]
  factors: {lr: [1.0e-7]}            # trains nothing: clearly worse at the first look
  stop: {alpha: 0.49, min_seeds: 3}
tune: {max_concurrent: 1}
select: {metric: val/id_accuracy}
"""
KEPT = (
    "tune.scheduler=none",
    "data.confirm_fraction=0.3",
    "select.confirm={top: 2, seeds: 2}",
)


@dataclass(frozen=True)
class Mode:
    """A study and where it is killed.

    Attributes:
        space: its YAML; empty for the small study of the neighbours with kept images.
        kills: in turn, one study through.
        end: what the ledger of the whole has, so that the mode did what it is for.
    """

    space: str
    kills: tuple[Seen, ...]
    end: Seen

    def arguments(self, folder: Path, out: str) -> list[str]:
        """Of the command that begins it."""
        if not self.space:
            return [*new_study(out, num_trials=3), *KEPT]  # the last option there is --set
        (folder / "arms.yaml").write_text(self.space)
        return ["--space", "arms.yaml", "--data-root", "data", "--out", out]


MODES = {
    "retune": Mode(
        RETUNED,
        (('{"event":"tuning"', 1), ('{"event":"result"', 3), ('{"event":"tuned"', 1)),
        ('{"event":"tuned"', 2),
    ),
    # The last result of all: what is left then are trials of the stopped arm, and none to run.
    "stop": Mode(
        STOPPING,
        (('{"event":"look"', 1), (STOPPED, 1), ('{"event":"result"', 8)),
        (STOPPED, 2),
    ),
    # In the first confirming run after its first epoch, and in the second.
    "kept": Mode("", (('"confirm/fpr95"', 1), ('"confirm/fpr95"', 4)), ('"confirm/fpr95"', 12)),
}


def _seen(run: Path, told: Seen) -> Callable[[], bool]:
    text, count = told
    ledger = run / "ledger.jsonl"
    return lambda: ledger.exists() and ledger.read_bytes().count(text.encode()) >= count


@pytest.mark.ray
@pytest.mark.parametrize("name", MODES)
def test_study_killed_again_and_again_in_a_mode_ends_the_same(shell: Shell, name: str) -> None:
    mode = MODES[name]
    whole, run = shell.folder / "undisturbed", shell.folder / "cut"
    code, said = shell.study(*mode.arguments(shell.folder, whole.name))
    assert code == 0, shell.told()
    text, count = mode.end
    assert (whole / "ledger.jsonl").read_text().count(text) == count
    arguments = mode.arguments(shell.folder, run.name)
    for kill in mode.kills:
        seen = _seen(run, kill)
        code, out = shell.stopped(arguments, seen, signal.SIGKILL)
        assert (code, out, seen()) == (-signal.SIGKILL, "", True), f"{kill}: {shell.told()}"
        assert not (run / "selection.json").exists()
        arguments = ["--resume", run.name, "--max-concurrent", "1"]
    code, out = shell.study(*arguments)
    assert code == 0, shell.told()
    assert remains(run) == remains(whole)
    assert (run / "selection.json").read_bytes() == (whole / "selection.json").read_bytes()
    assert out == said.replace(whole.name, run.name)


TOYS = {
    "retune": """
recipe: classifier
train: {epochs: 2, warmup_epochs: 0, batch_size: 8, augment: none}
ablate:
  design: one_at_a_time
  seeds: [0]
  factors: {momentum: [0.5]}
  retune: {num_trials: 2, seed: 1000, search: {lr: {choice: [1.0e-7, 0.05]}}}
select: {metric: val/id_accuracy}
""",
    "stop": """
recipe: classifier
train: {epochs: 1, warmup_epochs: 0, batch_size: 8, augment: none, lr: 0.05}
ablate:
  design: one_at_a_time
  seeds: [0, 1, 2, 3, 4]
  factors: {lr: [1.0e-7]}
  stop: {alpha: 0.49, min_seeds: 3}
select: {metric: val/id_accuracy}
""",
    "kept": """
recipe: classifier
data: {confirm_fraction: 0.3}
train: {epochs: 2, warmup_epochs: 0, batch_size: 8, augment: none}
search: {lr: {loguniform: [1.0e-3, 1.0e-1]}}
tune: {num_trials: 2, scheduler: none}
select: {metric: val/id_accuracy, confirm: {top: 1, seeds: 2}}
""",
}


def _toy(folder: Path, name: str) -> Setup:
    file = folder / "toy.yaml"
    file.write_text(TOYS[name])
    spec = load_space(str(file))
    data = toy_data()
    if spec.data.confirm_fraction:
        data = _cut(data, spec.data.confirm_fraction)
    return toy_setup(spec, data)


def _cut(data: StudyData, fraction: float) -> StudyData:
    val_id, ood_val, kept = keep_part(data.val_id.images, data.ood_val.sets, fraction, seed=0)
    return replace(data, val_id=val_id, ood_val=ood_val, kept=kept)


def _is_struck(point: str) -> bool:
    """Lines of the ledger and files of kept scores; the others are struck in test_faults."""
    in_or_after = point.startswith(("in the write", "after the sync"))
    return ".kept" in point or (in_or_after and "ledger.jsonl" in point)


@pytest.mark.parametrize("name", TOYS)
def test_search_killed_at_every_line_of_a_mode_ends_the_same(
    tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    setup, whole, run = _toy(tmp_path, name), tmp_path / "whole", tmp_path / "run"
    assert searched_in_child(whole, setup) == 0, (tmp_path / "child.txt").read_text()
    text, count = MODES[name].end if name != "kept" else ('"confirm/fpr95"', 4)
    assert (whole / "ledger.jsonl").read_text().count(text) == count
    wanted, different, recovery_s = remains(whole), [], []
    for at, point in enumerate(write_points(tmp_path, setup)):
        if not _is_struck(point):
            continue
        shutil.rmtree(run, ignore_errors=True)
        assert searched_in_child(run, setup, at=at) == KILLED
        begun = time.monotonic()
        ended = searched_in_child(run, setup)
        recovery_s.append(time.monotonic() - begun)
        if ended != 0 or remains(run) != wanted:
            different.append(f"{at}: {point}")
    record_property("strikes", len(recovery_s))
    record_property("recovery_s_mean", sum(recovery_s) / len(recovery_s))
    record_property("recovery_s_max", max(recovery_s))
    assert not different
