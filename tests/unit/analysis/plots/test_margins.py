from __future__ import annotations

from analysis.study import Study
from tests.drawn import words_of


def test_energies_show_both_margins_and_the_base(study: Study) -> None:
    text = words_of(study.plots.energies("00000", 4))
    for word in ("Base", "Trial 00000", "m_in", "m_out", "nats"):
        assert word in text
