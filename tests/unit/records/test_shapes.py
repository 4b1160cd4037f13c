"""study.records.shapes: a damaged section is told by its key."""

import json
from pathlib import Path

import pytest
import yaml

from study.records.shapes import OF_MANIFEST, OF_SPEC, misshapen

RUNS = Path(__file__).resolve().parents[2] / "golden" / "runs"
PATH = Path("manifest.json")


@pytest.mark.parametrize("run", sorted(RUNS.glob("*-finished")), ids=lambda run: run.name)
def test_what_studies_wrote_has_its_shape(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert misshapen(PATH, manifest, OF_MANIFEST) == []
    assert misshapen(PATH, yaml.safe_load((run / "spec.yaml").read_text()), OF_SPEC) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"floor": "x"}, "manifest.json: floor: 'x': must be a section."),
        ({"floor": {"value": "x"}}, "manifest.json: floor.value: 'x': must be a number."),
        ({"floor": {"value": True}}, "manifest.json: floor.value: True: must be a number."),
        ({"own_score": 3}, "manifest.json: own_score: 3: must be a text."),
        ({"data": {"roles": []}}, "manifest.json: data.roles: []: must be a section."),
        ([], "manifest.json: holds no sections."),
        (None, "manifest.json: holds no sections."),
    ],
)
def test_entry_of_another_kind_is_told_by_its_key(content: object, told: str) -> None:
    (fault,) = misshapen(PATH, content, OF_MANIFEST)
    assert str(fault) == f"{told} Restore it from a copy."


def test_all_wrong_entries_are_told_at_once_and_what_is_not_there_is_not() -> None:
    wrong = misshapen(PATH, {"floor": 3, "base": [], "git": None}, OF_MANIFEST)
    assert [fault.key for fault in wrong] == ["base", "floor"]
