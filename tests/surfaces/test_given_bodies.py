"""Bodies of requests say the same whether they are plain, and read quickly, or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.surfaces.api import given as given_module

_VALUES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4) | st.lists(st.text(max_size=2), max_size=2)
)
_NAMES = st.text('ab{["\\', max_size=2)


def _said(read: Any, body: bytes) -> Any:
    try:
        return repr(read(body))
    except BadInput as fault:
        return f"refused: {fault}"


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=4), st.booleans())
def test_what_is_read_quickly_says_the_same(pairs: list[tuple[str, Any]], ascii_only: bool) -> None:
    """Names that come twice, brackets and quotes within texts, numbers of any size."""
    members = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs)
    body = ("{" + ", ".join(members) + "}").encode(errors="replace")
    assert _said(given_module._from_body, body) == _said(given_module._read_apart, body)


def test_a_question_for_a_decision_is_read_quickly() -> None:
    body = b'{"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "user": null, "dry_run": true}'
    fields = {"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "user": None, "dry_run": True}
    assert given_module._plain(body) == fields


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "x", "a": "y"}', b'{"a": "x", "a": 1}', b'{"a": 1, "a": 2}', b'{"a": 18446744073709551616}', b'{"a": 1e400}', b'{"a": NaN}',
        b'{"a": "\\ud800"}', b'{"a": "\xff"}', b'\xef\xbb\xbf{"a": 1}', b'{"a": {"b": 1}}', b'{"a": [1]}', b'"{"', b"{", b"",
    ],
)  # fmt: skip
def test_everything_else_is_read_with_all_care(body: bytes) -> None:
    assert given_module._plain(body) is None
