import pytest

from study.counted import counted, some, wrapped


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (12000, "12,000 trials")],
)
def test_counted_is_in_the_number_of_the_number(number: int, text: str) -> None:
    assert counted(number, "trial") == text


def test_counted_takes_an_irregular_plural() -> None:
    assert counted(2, "study", "studies") == "2 studies"


def test_wrapped_breaks_between_words_and_indents_what_follows() -> None:
    assert wrapped("one two three four", 10) == ["one two", "  three", "  four"]


@pytest.mark.parametrize("word", ["/a/very/long/path/of/a/study", "well-known-hyphens-in-a-word"])
def test_wrapped_leaves_a_long_word_whole(word: str) -> None:
    assert wrapped(f"see {word}", 10) == ["see", f"  {word}"]


def test_wrapped_keeps_a_number_with_its_unit() -> None:
    assert wrapped("from 51.8 to 84.1 %", 17) == ["from 51.8 to", "  84.1 %"]


def test_wrapped_keeps_columns_and_an_empty_line() -> None:
    assert wrapped("a    b", 10) == ["a    b"]
    assert wrapped("", 10) == [""]


def test_some_tells_the_first_and_how_many_more() -> None:
    assert some(["a", "b", "c"], 3) == "a, b, c"
    assert some(["a", "b", "c", "d"], 2) == "a, b and 2 more"
