"""docs/instrumentations.md says of every recording what our rules make of it today."""

from __future__ import annotations

from pathlib import Path

from genai_corpus import case, cases
from instrumentations_page import HEAD, losses, result, row

PAGE = (Path(__file__).parents[2] / "docs" / "instrumentations.md").read_text()
AGAIN = "run: python tests/rigs/instrumentations_page.py CORPUS docs/instrumentations.md"


def test_every_row_is_current(corpus: Path) -> None:
    """Of the recordings that are at hand; the page may have more."""
    assert PAGE.startswith(HEAD), AGAIN
    lines = PAGE.splitlines()
    stale = {one.name: made for one in cases(corpus, "") if (made := row(one)) not in lines}
    assert stale == {}, AGAIN


def test_what_spans_do_not_tell_is_said_in_words(corpus: Path) -> None:
    """The stream that was not asked for usage has none, the other call lacks nothing; older versions lose single facts."""
    assert list(losses(case(corpus, "otel-genai__openai-stream"))) == ["**counts** of 1 streamed chat"]
    assert list(losses(case(corpus, "traceloop-0.33__openai-chat"))) == [
        "cached tokens",
        "reasoning tokens (1 of 2)",
        "service tier",
    ]


def test_results_are_counted(corpus: Path) -> None:
    found = result(case(corpus, "otel-genai__openai-stream"))
    assert (found.billed, found.visible, found.right, found.extra, dict(found.unpriced)) == (2, 1, 1, 0, {"no_usage_stream": 1})
