from __future__ import annotations

from pathlib import Path

import pytest
from optuna.samplers import RandomSampler

from study.errors import BadInput, StudyFailed
from study.searchers import methods
from study.searchers.catalog import SHIPPED, Asked, build_sampler, searchers
from tests.examples import Write, joined_folder
from tests.toys import run_toy_search

TOY = """
from optuna.samplers import RandomSampler

SEARCHER = {"text": "a toy of {width}", "learns": False, "parameters": {"width": {"default": 2}}}


def sampler(asked):
    return RandomSampler(seed=asked.seed + asked.parameters["width"])
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    return joined_folder(methods, tmp_path / "more", monkeypatch)


def test_shipped_searchers_come_first_and_say_what_they_are() -> None:
    assert tuple(searchers()) == SHIPPED
    assert [name for name, one in searchers().items() if one.learns] == [
        "tpe", "gp", "cmaes", "nsga2",
    ]  # fmt: skip
    assert [name for name, one in searchers().items() if not one.several] == ["cmaes"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", SHIPPED)
def test_sampler_of_every_searcher_is_built_anew(name: str) -> None:
    defaults = {n: one.default for n, one in searchers()[name].parameters.items()}
    asked = Asked(3, defaults, frozenset({"y"}), 1, False, ())
    assert build_sampler(name, asked) is not build_sampler(name, asked)


def test_file_in_the_folder_is_a_searcher(write: Write, tmp_path: Path) -> None:
    write(TOY, "width_toy")
    assert list(searchers())[-1] == "width_toy"
    asked = Asked(1, {"width": 3}, frozenset(), 1, False, ())
    assert isinstance(build_sampler("width_toy", asked), RandomSampler)
    two, three = (
        run_toy_search(tmp_path / str(n), 3, searcher="width_toy", parameters={"width": n})
        for n in (2, 3)
    )
    assert two.trials[0].params != three.trials[0].params


@pytest.mark.parametrize("at", ["sampler(asked)", "sample(self)"])
def test_searcher_that_raises_is_named_with_its_reason(
    write: Write, tmp_path: Path, at: str
) -> None:
    fails = 'raise KeyError("no idea")'
    if at == "sampler(asked)":
        text = TOY.partition("    return")[0] + f"    {fails}\n"
    else:
        text = TOY.replace("return RandomSampler(", "return Bad(") + (
            "\n\nclass Bad(RandomSampler):\n"
            f"    def sample_independent(self, *given):\n        {fails}\n"
        )
    path = write(text, f"fails_in_{at.partition('(')[0]}")
    with pytest.raises(StudyFailed, match=rf"{path.name}: .*KeyError.*no idea"):
        run_toy_search(tmp_path / "run", 2, searcher=path.stem)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('SEARCHER = {"text": "a toy"}\n', r"has a function sampler"),
        (TOY.replace('"text": "a toy of {width}", ', ""), r"SEARCHER\.text: .*required"),
        (TOY.replace("{width}", "{wide}"), r"stands for one of the parameters \('wide'\)"),
        (TOY.replace('"width"', '"population"'), r"nsga2\.py has a parameter of this name"),
        (TOY.replace('"learns"', '"smoke": {"wide": 1}, "learns"'), "there is no such parameter"),
    ],
)
def test_searchers_file_at_fault_is_told_with_its_name(write: Write, text: str, told: str) -> None:
    write(text)
    with pytest.raises(BadInput, match=rf"toy\.py.*{told}"):
        searchers()


def test_first_trials_at_random_may_be_a_parameter_of_the_searcher(write: Write) -> None:
    write(TOY.replace('"learns": False', '"random_first": "width"'))
    assert searchers()["toy"].random_first == "width"


def test_first_trials_at_random_that_name_no_parameter_are_refused(write: Write) -> None:
    write(TOY.replace('"learns": False', '"random_first": "height"'))
    with pytest.raises(BadInput, match="one of the searcher's parameters"):
        searchers()
