"""The notebooks, executed in kernels of their own on the small study of these tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_ablation import make_ablation
from tests.notebooks import executed, pictures, problems

pytestmark = pytest.mark.ray  # the study that they read starts one
PATH = ("baseline", "energy_weight=0.3", "energy_weight=0.3 + plain=sgd")
STEPS = {"energy_weight": [0.3], "plain": {"sgd": {"nesterov": False}}}
Folders = dict[str, Path]


@pytest.fixture
def folders(finished: Path, tmp_path: Path) -> Folders:
    """What the notebooks read, by the environment variable that names it.

    No test makes an ablation long enough to be read, so its numbers are written by hand.
    """
    again = shutil.copytree(finished, tmp_path / "again")
    ablation = tmp_path / "path"
    make_ablation(
        ablation,
        lambda arm, seed: 0.5 - 0.1 * PATH.index(arm) + 0.01 * seed * (1 + PATH.index(arm)),
        arms=PATH, design="path", factors=STEPS,
    )  # fmt: skip
    return {
        "OOD_STUDY_RUN": finished,
        "OOD_STUDY_A": finished,
        "OOD_STUDY_B": again,
        "OOD_STUDY_ABLATION": ablation,
    }


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("reading_an_ablation", 3),
        ("comparing_two_studies", 1),
        ("margins_and_energies", 4),
    ],
)
def test_notebook_runs_from_a_clean_clone_and_draws(
    name: str, least: int, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed(name, folders, monkeypatch)
    assert problems(notebook) == []
    assert pictures(notebook) >= least


def test_notebook_on_picking_says_that_four_trials_have_no_importance(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed("picking_a_model", folders, monkeypatch)
    ((kind, shown),) = problems(notebook)
    assert kind == "BadInput"
    assert "only 4 trials can be compared" in shown
    assert "Traceback" not in shown
    assert pictures(notebook) >= 4


@pytest.fixture
def kernel_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Folders], None]:
    """Checks that whatever a notebook cannot answer is a sentence."""

    def check(name: str, folders: Folders) -> None:
        found = problems(executed(name, folders, monkeypatch))
        assert found
        assert {kind for kind, _ in found} <= {"BadInput", "NoSelection"}
        assert not any("Traceback" in shown or "File " in shown for _, shown in found)

    return check


@pytest.mark.slow
def test_notebook_on_a_study_without_a_finished_trial_gives_sentences(
    tmp_path: Path, kernel_of: Callable[[str, Folders], None]
) -> None:
    from tests.fake_run import Fake, make_run

    make_run(tmp_path / "failed", Fake(statuses=("failed",) * 2, num_id=30))
    kernel_of("picking_a_model", {"OOD_STUDY_RUN": tmp_path / "failed"})
