"""A sample of the damage cases; all of them with ``-m slow``, or by the script itself."""

from __future__ import annotations

import pytest

from tests.integration.damage import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("damage") / "world")


def _wrong(world: World, num: int, *, slow: bool) -> dict[str, str]:
    cases = world.cases(num, seed=0)
    kept = cases if slow else [case for case in cases if case.command in QUICK][:12]
    return {str(case): told for case in kept if (told := world.run(case))}


QUICK = ("select", "trials", "margins", "report", "export", "test", "caches")


def test_command_on_a_damaged_study_ends_with_a_sentence_or_the_undamaged_answer(
    world: World,
) -> None:
    assert _wrong(world, 60, slow=False) == {}


@pytest.mark.slow
def test_three_hundred_damages_end_with_a_sentence_or_the_undamaged_answer(world: World) -> None:
    assert _wrong(world, 300, slow=True) == {}
