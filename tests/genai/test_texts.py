"""Names, flags and JSON as senders write them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.genai.texts import clean_name, read_flag, read_json


def test_names_lose_json_quotes_and_blanks() -> None:
    assert clean_name('"gpt-4o"') == "gpt-4o"
    assert clean_name("  gpt 4o ") == "gpt 4o"
    assert clean_name(42) == "42"


def test_nothings_are_no_names() -> None:
    assert [clean_name(value) for value in ("", " ", '""', "None", None, True, 1.5, ("a",), {})] == [None] * 9


def test_long_names_are_cut_visibly() -> None:
    name = clean_name("x" * 1000)
    assert name is not None
    assert len(name) == NAME_CHARS_MAX
    assert name.endswith("…")


def test_characters_that_no_database_stores_are_taken_out() -> None:
    assert clean_name("a\x00b\ud800c") == "abc"


def test_flags_are_booleans_or_words() -> None:
    assert [read_flag(value) for value in (True, "false", "TRUE", 1, "yes", None)] == [True, False, True, None, None, None]


def test_json_is_read() -> None:
    assert read_json(' {"usage": {"input_tokens": 7}} ') == {"usage": {"input_tokens": 7}}


def test_a_python_literal_is_read() -> None:
    assert read_json("{'prompt_tokens': 7, 'cached': True, 'details': None, 'of': ['it\\'s']}") == {
        "prompt_tokens": 7,
        "cached": True,
        "details": None,
        "of": ["it\\'s"],
    }


def test_an_object_inside_of_a_python_literal_is_read_by_its_fields() -> None:
    assert read_json("{'usage': Usage(prompt_tokens=7, completion_tokens=9), 'x': 1}") == {
        "usage": {"prompt_tokens": 7, "completion_tokens": 9},
        "x": 1,
    }


def test_the_representation_of_an_object_is_read_by_its_fields() -> None:
    answer = (
        "Completion(id='x', choices=[Choice(index=0, message=Message(content=\"it's (so: a=1)\"))], usage=Usage(total=7, details=None))"
    )
    assert read_json(answer) == {
        "id": "x",
        "choices": [{"index": 0, "message": {"content": "it's (so: a=1)"}}],
        "usage": {"total": 7, "details": None},
    }
    assert read_json("Paris (as usual=yes)") is None


def test_what_stands_before_a_cut_is_kept() -> None:
    assert read_json('{"usage": {"input_tokens": 7, "output_tokens": 12}, "text": "and so') == {
        "usage": {"input_tokens": 7, "output_tokens": 12}
    }


def test_a_number_at_the_cut_may_have_lost_digits_and_is_dropped() -> None:
    assert read_json('{"usage": {"input_tokens": 7, "output_tokens": 12') == {"usage": {"input_tokens": 7}}


def test_plain_text_is_no_json() -> None:
    assert [read_json(value) for value in ("fine", "", "12", None, 7, "<object at 0x7f>")] == [None] * 6


def test_bombs_are_bounded() -> None:
    assert read_json("[" * 60_000) is not None
    assert read_json("{'a':" * 10_000) is not None
    assert isinstance(read_json("[" + "1," * 32_000), list)


@given(st.text(alphabet="{}[]():,='\"\\ ab1.e-NTrueon", max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    read_json("{" + text)
    clean_name(text)
