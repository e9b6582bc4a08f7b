"""The calculator against answers of other people's calculators: the public half of the price oracle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.clock import Clock
from otel_finops.pricing.calculator import price_lines, resolve_lines
from otel_finops.pricing.engine import PriceEngine
from otel_finops.testing import FakeClock

Answering = Callable[[Iterable[str], PriceEngine, Clock], Iterator[str]]


def answered(file: Path, answering: Answering, engine: PriceEngine) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every case of the file with the calculator's answer to it."""
    lines = file.read_text().splitlines()
    answers = [json.loads(line) for line in answering(lines, engine, FakeClock())]
    cases = [json.loads(line) for line in lines]
    assert [case["id"] for case in cases] == [answer["id"] for answer in answers]
    return list(zip(cases, answers, strict=True))


def is_right(case: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Equal to one part in 10^9, or to half a pico-dollar."""
    if answer["usd"] is None:
        return False
    expected = Decimal(case["expected_usd"])
    return abs(Decimal(answer["usd"]) - expected) <= max(abs(expected) * Decimal("1e-9"), Decimal("5e-13"))


def test_every_call_priced_by_litellm_costs_the_same(oracle: Path, engine: PriceEngine) -> None:
    scored = [pair for pair in answered(oracle / "litellm_cases_public.jsonl", price_lines, engine) if "litellm_quirk" not in pair[0]]
    assert len(scored) == 2602
    wrong = [(case["shape"], case["model"], case["expected_usd"], answer) for case, answer in scored if not is_right(case, answer)]
    assert wrong == []


def test_every_total_is_the_sum_of_its_lines(oracle: Path, engine: PriceEngine) -> None:
    for _, answer in answered(oracle / "litellm_cases_public.jsonl", price_lines, engine):
        assert Decimal(answer["usd"]) == sum(Decimal(line["amount_usd"]) for line in answer["lines"])


def test_every_call_that_the_second_source_prices_and_the_list_does_not_contest_costs_the_same(oracle: Path, engine: PriceEngine) -> None:
    """Calls on which both agree, calls at other moments, and calls to models that only the second source knows.

    Of the last the source names a few without any price; these stay unpriced.
    """
    pairs = answered(oracle / "genai_prices_cases_public.jsonl", price_lines, engine)
    scored = [(case, answer) for case, answer in pairs if case["second_source"] != "contested" and case["id_matches_itself"]]
    assert len(scored) == 1031
    scored = [(case, answer) for case, answer in scored if answer["usd"] is not None or case["second_source"] != "only"]
    assert len(scored) == 1000
    wrong = [(case["shape"], case["model"], case["expected_usd"], answer) for case, answer in scored if not is_right(case, answer)]
    assert wrong == []


@pytest.mark.parametrize("file", ["names_public.jsonl", "names_unknown_public.jsonl"])
def test_every_name_finds_its_row_and_no_unknown_name_any(file: str, oracle: Path, engine: PriceEngine) -> None:
    pairs = answered(oracle / file, resolve_lines, engine)
    wrong = [(case, answer["key"]) for case, answer in pairs if answer["key"] not in (case["expect"], *case.get("also_ok", ()))]
    assert wrong == []


def test_unknown_names_are_unpriced_and_never_free(oracle: Path, engine: PriceEngine) -> None:
    names = [json.loads(line) for line in (oracle / "names_unknown_public.jsonl").read_text().splitlines()]
    lines = [json.dumps({**name, "input_tokens_uncached": 1000, "output_tokens": 100}) for name in names]
    for answer in map(json.loads, price_lines(lines, engine, FakeClock())):
        assert (answer["usd"], answer["key"], answer["method"], answer["lines"]) == (None, None, "unpriced", [])
        assert answer["reason"] in {"unknown_model", "no_model", "no_provider"}
