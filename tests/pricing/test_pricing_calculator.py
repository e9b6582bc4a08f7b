"""`price` and `resolve` line by line: what comes back, in which order, and what is refused with which words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from otel_finops.pricing.calculator import price_lines, resolve_lines
from otel_finops.pricing.engine import PriceEngine
from otel_finops.testing import FakeClock

CALL = {"id": "1", "provider": "openai", "model": "gpt-4o", "input_tokens_uncached": 1400, "cache_read": 2982, "output_tokens": 1651}


def price(engine: PriceEngine, *records: Any) -> list[dict[str, Any]]:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    return [json.loads(line) for line in price_lines(lines, engine, FakeClock())]


def test_a_record_is_answered_with_its_lines(engine: PriceEngine) -> None:
    """gpt-4o: 2.5 in, 1.25 cached, 10 out per million: 0.0035 + 0.0037275 + 0.01651."""
    assert price(engine, CALL) == [
        {
            "id": "1",
            "usd": "0.0237375",
            "key": "gpt-4o",
            "match": "exact",
            "method": "computed",
            "lines": [
                {"unit": "input_uncached", "quantity": 1400, "rate_usd": "0.0000025", "amount_usd": "0.0035"},
                {"unit": "cache_read", "quantity": 2982, "rate_usd": "0.00000125", "amount_usd": "0.0037275"},
                {"unit": "output", "quantity": 1651, "rate_usd": "0.00001", "amount_usd": "0.01651"},
            ],
        }
    ]


def test_order_is_kept_and_bad_lines_do_not_stop_the_run(engine: PriceEngine) -> None:
    answers = price(engine, CALL, "{", "[1]", "", {**CALL, "id": "2", "output_tokens": -1}, {**CALL, "id": "3"})
    assert [(answer["id"], answer["usd"], answer.get("reason")) for answer in answers] == [
        ("1", "0.0237375", None),
        ("", None, "bad_line"),
        ("", None, "bad_line"),
        ("", None, "bad_line"),
        ("2", None, "bad_usage"),
        ("3", "0.0237375", None),
    ]


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        ({"output_tokens": -1}, "output_tokens: negative"),
        ({"output_tokens": 1.5}, "output_tokens: not an integer"),
        ({"output_tokens": True}, "output_tokens: not an integer"),
        ({"output_tokens": "7"}, "output_tokens: not an integer"),
        ({"output_tokens": float("nan")}, "output_tokens: not an integer"),
        ({"output_tokens": 10**30}, "output_tokens: not an integer"),
        ({"cache_read": 10**9 + 1}, "cache_read: more than 1000000000"),
        ({"reasoning_tokens": 1652}, "reasoning: more than output, of which they are parts"),
        ({"audio_in": 1401}, "audio_in: more than input_uncached, of which they are parts"),
        ({"seconds": -0.5}, "seconds: negative"),
        ({"seconds": float("inf")}, "seconds: not finite"),
        ({"seconds": "5"}, "seconds: not a number"),
        ({"seconds": 1e300}, "seconds: more than 1000000000"),
        ({"at": "yesterday"}, "at: no RFC 3339 instant"),
        ({"at": "9999-12-31T23:59:59-14:00"}, "at: not between 1970 and 2200"),
        ({"model": 7}, "model: not a text"),
        ({"service_tier": ["flex"]}, "service_tier: not a text"),
    ],
)
def test_an_impossible_record_is_refused_with_field_and_reason(engine: PriceEngine, fault: dict[str, Any], detail: str) -> None:
    (answer,) = price(engine, {**CALL, **fault})
    assert (answer["id"], answer["usd"], answer["key"], answer["reason"], answer["detail"]) == ("1", None, None, "bad_usage", detail)


def test_without_a_moment_the_price_is_that_of_now(engine: PriceEngine) -> None:
    """The fake clock stands on a Saturday: off peak, 0.15 instead of 0.3."""
    call = {"id": "1", "provider": "deepseek", "model": "deepseek-v4-flash", "input_tokens_uncached": 1_000_000}
    now, peak = price(engine, call, {**call, "at": "2026-11-18T07:00:00+00:00"})
    assert (now["usd"], peak["usd"]) == ("0.15", "0.3")


def test_no_tokens_cost_nothing_when_the_model_is_known(engine: PriceEngine) -> None:
    (answer,) = price(engine, {"id": "1", "provider": "openai", "model": "gpt-4o"})
    assert (answer["usd"], answer["lines"]) == ("0", [])


def test_an_id_that_is_no_text_or_no_utf8_does_not_break_the_line(engine: PriceEngine) -> None:
    number, half = price(engine, {**CALL, "id": 5}, '{"id": "\\ud800", "model": "gpt-4o", "provider": "openai"}')
    assert (number["id"], half["id"]) == ("", "\ud800")


def test_lines_are_answered_one_at_a_time(engine: PriceEngine) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            read.append(number)
            yield json.dumps({**CALL, "id": str(number)})
            number += 1

    answers = price_lines(endless(), engine, FakeClock())
    assert [json.loads(next(answers))["id"] for _ in range(3)] == ["0", "1", "2"]
    assert len(read) == 3


def test_resolve(engine: PriceEngine) -> None:
    lines = [
        '{"id": "a", "provider": "azure.ai.openai", "model": "gpt-4o"}',
        '{"id": "b", "provider": "openai", "model": "gpt-9"}',
        '{"id": "c", "provider": "openai", "model": "gpt-6-sol-20261002"}',
        "nonsense",
    ]
    answers = [json.loads(line) for line in resolve_lines(lines, engine, FakeClock())]
    assert answers[:3] == [
        {"id": "a", "key": "azure/gpt-4o", "match": "exact"},
        {"id": "b", "key": None, "match": None},
        {"id": "c", "key": "gpt-6-sol", "match": "inferred"},
    ]
    assert (answers[3]["id"], answers[3]["key"]) == ("", None)


PRICE_OUT = {
    "type": "object",
    "required": ["id", "usd", "key"],
    "properties": {
        "id": {"type": "string"},
        "usd": {"type": ["string", "null"], "pattern": r"^-?\d+(\.\d{1,12})?$"},
        "key": {"type": ["string", "null"]},
        "match": {"type": ["string", "null"]},
        "method": {"type": ["string", "null"]},
        "lines": {"type": "array"},
        "reason": {"type": ["string", "null"]},
    },
}


def test_answers_have_the_contracts_form(engine: PriceEngine) -> None:
    for answer in price(engine, CALL, "{", {**CALL, "model": "gpt-9"}, {**CALL, "output_tokens": -1}, {**CALL, "seconds": 1.5}):
        jsonschema.validate(answer, PRICE_OUT)
