from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import BadInput, Fault
from study.space.loading import SPACES, load_resolved, load_space
from study.space.reading.yamlfile import dump, parse

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | FLOATS
TEXT = st.text(
    st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=20
)
ODD = ["1e-4", "yes", "nan", "0x1f", "1:30", "~", "<<", "=", "2020-01-01"]
WORDS = TEXT | st.sampled_from(ODD)
PLAIN = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)
TOKENS = ["1e-4", "-1", "0", "null", "true", "off", ".nan", "[1, 2]", "[2, 1]", "{}", "x", "''",
          "{uniform: [0, 1]}", "{choice: [1]}", "&a", "*a", "!!python/name:os", "- ", ":", "\t",
          "}", "]", "#", "---", "\x07", "é", "99999999999999999999", "lr", "search:"]  # fmt: skip


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    def ends(low: float, high: float) -> list[float]:
        two = st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True)
        return sorted(draw(two))

    margin = {"below": "id_energy", "sd": draw(st.floats(0, 9))}
    search: dict[str, Any] = {"lr": {"loguniform": ends(1e-6, 1.0)}}
    if draw(st.booleans()):
        sd = {"uniform": ends(-3, 6)}
        search["m_in"] = {draw(st.sampled_from(["below", "above"])): "id_energy", "sd": sd}
    else:
        search["temperature"] = {"uniform": ends(0.5, 5)}
    sizes = st.lists(st.integers(2, 512), min_size=2, max_size=4, unique=True)
    search["batch_size"] = {"choice": draw(sizes)}
    low = draw(st.integers(1, 5))
    search["epochs"] = {"int": [low, low + 2 * draw(st.integers(1, 9))], "step": 2}
    return {
        "recipe": "energy",
        "model": {"backbone": draw(st.sampled_from(["resnet20", "wrn_40_2"])), "dropout": 0.1},
        "train": {"weight_decay": draw(st.floats(0, 1)), "augment": "none"}
        | ({} if "m_in" in search else {"m_in": margin}),
        "search": search,
        "tune": {"seed": draw(st.integers(0, 2**62)), "num_trials": draw(st.integers(1, 99))},
        "select": {"floor": {"id_accuracy": {"at_least": draw(st.floats(0, 1))}}},
    }


def load_text(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "space.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        spec = load_space(str(file))
        file.write_text(spec.dump(), encoding="utf-8")
        return spec, load_resolved(file)


def check_text(text: str) -> tuple[Fault, ...]:
    """Faults of a text; where there are none its dump must be read back equal."""
    try:
        spec, reloaded = load_text(text)
    except BadInput as bad:
        assert bad.faults  # noqa: PT017 - both outcomes are good ones
        return bad.faults
    assert reloaded == spec
    return ()


@given(spaces())
@settings(deadline=None, max_examples=60)
def test_load_of_dump_is_identity(plain: dict[str, Any]) -> None:
    spec, reloaded = load_text(dump(plain))
    assert reloaded == spec
    assert reloaded.dump() == spec.dump()


@given(st.dictionaries(WORDS, PLAIN, max_size=4))
@settings(deadline=None)
def test_dump_then_parse_is_identity_types_included(content: dict[str, Any]) -> None:
    document = parse(dump(content), "t")
    assert not document.faults
    assert repr(document.value) == repr(content)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_space_loads_or_is_bad_input_never_a_traceback(data: st.DataObject) -> None:
    text = (SPACES / data.draw(st.sampled_from(["energy.yaml", "cifar10.yaml"]))).read_text()
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:position] + data.draw(st.sampled_from(TOKENS)) + text[position + cut :]
    faults = check_text(text)
    assert all(fault.rule and fault.way_out for fault in faults)


@given(
    st.sampled_from(["recipe", "data", "model", "base", "train", "search", "tune", "select"]),
    PLAIN,
    st.data(),
)
@settings(deadline=None, max_examples=300)
def test_any_value_anywhere_loads_or_is_bad_input(
    section: str, value: Any, data: st.DataObject
) -> None:
    plain = yaml.safe_load((SPACES / "energy.yaml").read_text())
    inner = plain[section]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(sorted(inner)) | WORDS)] = value
    else:
        plain[section] = value
    for fault in check_text(dump(plain)):
        assert str(fault).isprintable()


@given(st.lists(st.text(max_size=30), max_size=3), st.sampled_from(["", "train.", "search.lr="]))
@settings(deadline=None, max_examples=200)
def test_any_override_is_taken_or_bad_input(texts: list[str], prefix: str) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        load_space("energy", [prefix + text for text in texts])
    except BadInput as bad:
        faults = bad.faults
    assert all(fault.place == "--set" or fault.line for fault in faults)
