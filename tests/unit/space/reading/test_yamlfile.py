from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from study.errors import BadInput
from study.space.reading.yamlfile import dotted, dump, parse, read


def test_read_gives_plain_data_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nb:\n  c: [x, 2.5]\n  d: null\n")
    document = read(file)
    assert document.value == {"a": 1, "b": {"c": ["x", 2.5], "d": None}}
    lines = {dotted(path): line for path, line in document.lines.items()}
    assert (lines["a"], lines["b"], lines["b.c"], lines["b.d"]) == (1, 2, 3, 4)


def test_read_byte_order_mark_and_windows_lines_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read(file).value == {"a": 1, "b": 2}


def test_parse_anchors_and_merges_as_yaml_says() -> None:
    document = parse("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n", "t")
    assert document.value == yaml.safe_load("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n")
    assert not document.faults


def test_parse_merge_of_several_first_wins_as_pyyaml() -> None:
    text = "a: &a {p: 1}\nb: &b {p: 2, q: 2}\nc: {<<: [*a, *b]}\n"
    assert parse(text, "t").value == yaml.safe_load(text)


def test_parse_merge_below_a_key_leaves_the_key_its_line() -> None:
    document = parse("a: &x {p: 1}\nb:\n  p: 2\n  <<: *x\n", "t")
    assert document.value["b"] == {"p": 2}
    assert document.lines["b", "p"] == 3


@pytest.mark.parametrize("text", ["1e-4", "1e4", "1.5e3", "-2E-3", "+.5e1"])
def test_parse_number_that_pyyaml_reads_as_text_told(text: str) -> None:
    assert isinstance(yaml.safe_load(text), str)
    document = parse(f"a: {text}", "t")
    assert "as text" in document.faults[0].rule
    assert document.value == {"a": float(text)}


def test_parse_way_out_of_a_text_number_is_read_as_that_number() -> None:
    for text in ("1e-4", "1e5", "2.5E7", "1e-30"):
        way_out = parse(f"a: {text}", "t").faults[0].way_out
        written = way_out.removeprefix("Write ").rstrip(".")
        again = parse(f"a: {written}", "t")
        assert not again.faults
        assert again.value["a"] == float(text)


def test_parse_quoted_number_is_text() -> None:
    document = parse("a: '1e-4'\nb: \"0.1\"", "t")
    assert document.value == {"a": "1e-4", "b": "0.1"}
    assert not document.faults


def test_parse_every_fault_told_with_its_line() -> None:
    document = parse("a: 1e-4\nb: 010\na: 2\nc: !!set {x}\n1: 2\n", "t")
    assert [fault.line for fault in document.faults] == [1, 2, 3, 4, 5]
    assert document.value["a"] == 1e-4  # the first of two equal keys


def test_parse_tag_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    text = f"a: !!python/object/apply:os.system ['touch {target}']"
    assert parse(text, "t").faults
    assert not target.exists()


def test_parse_two_documents_refused() -> None:
    with pytest.raises(BadInput, match="one file holds one space"):
        parse("a: 1\n---\nb: 2\n", "t")


def test_parse_tab_names_line_and_cure() -> None:
    with pytest.raises(BadInput, match=r"^t:2: not valid YAML.*replace the tab"):
        parse("a:\n\tb: 1\n", "t")


def test_dump_quotes_what_would_be_read_as_something_else() -> None:
    content = {"a": "1e-4", "b": "yes", "c": "010", "d": "1:30", "e": "null", "f": "nan", "g": ""}
    document = parse(dump(content), "t")
    assert document.value == content
    assert not document.faults


def test_dump_floats_stay_floats() -> None:
    content = {"a": 1e-6, "b": 1e16, "c": 0.1, "d": 5.0, "e": 123456789.123}
    document = parse(dump(content), "t")
    assert document.value == content
    assert all(type(value) is float for value in document.value.values())


def test_dotted_positions_in_brackets() -> None:
    assert dotted(("data", "ood_val", 1)) == "data.ood_val[1]"
    assert dotted(("a\u0000",)) == r"a\x00"
