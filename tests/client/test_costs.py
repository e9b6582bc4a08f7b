"""What finished calls and turns cost, told by the service, for the application's own row."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fake_service import FakeService
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_finops.base.errors import BadInput
from otel_finops.client.attribution import attribution
from otel_finops.client.costs import Cost, cost, cost_async, rates_of, trace_cost, trace_cost_async
from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings
from otel_finops.client.usage import Usage

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TREE = f"/api/v1/traces/{TRACE}?sums_only=true"
ROW = f"/api/v1/usage/{TRACE}/{SPAN}"
QUOTE = "/api/v1/pricing/quote"
HEALTH = "/api/v1/health"
ANSWER = {"model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
STORE = {"name": "store", "ok": True, "detail": ""}
METERING = {"name": "metering", "ok": True, "detail": "off: spans pass on unpriced, and nothing is booked"}


@pytest.fixture
def fake() -> Iterator[FakeService]:
    service = FakeService()
    service.answers[HEALTH] = {"ok": True, "parts": [STORE]}
    service.answers[QUOTE] = {"usd": "0.0035", "unpriced": 0, "lines": [], "quotes": None}
    yield service
    service.close()


@pytest.fixture
def service(fake: FakeService) -> Service:
    return Service(ClientSettings(fake.url, timeout_s=5, pause_s=0))


def tree(usd: str, *, pending: bool, unpriced: int = 0) -> dict[str, Any]:
    steps = [
        {"step": "a", "agent": None, "usd": usd, "calls": 2, "tokens": 1100},
        {"step": "b", "agent": None, "usd": "0", "calls": 1, "tokens": 5},
    ]
    return {"trace_id": TRACE, "total_usd": usd, "unpriced_calls": unpriced, "pending": pending, "nodes": [], "steps": steps}


def row(**standing: Any) -> dict[str, Any]:
    usage = {"input_uncached": 900, "cache_read": 100, "output": 50, "reasoning": 20}
    entry = {"role": "call", "cost_usd": "0.0035", "counted_in": None, "usage": usage, **standing}
    return {"trace_id": TRACE, "span_id": SPAN, "standing": entry}


def asked(fake: FakeService, path: str) -> list[dict[str, Any]]:
    return [one.body for one in fake.asked if one.path == path]


# --- a call, by its answer -----------------------------------------------------------------------------------------------


def test_a_finished_call_costs_what_the_service_would_book_for_it(fake: FakeService, service: Service) -> None:
    span = TracerProvider().get_tracer("t").start_span("turn")
    with trace.use_span(span), attribution(tenant="acme", step="search"):
        found = cost(ANSWER, provider="openai", service=service)
    assert found == Cost("0.0035", trace.format_trace_id(span.get_span_context().trace_id), booked=False, calls=1, tokens=1100)
    assert (found.amount, found.currency) == (Decimal("0.0035"), "USD")
    assert asked(fake, QUOTE) == [
        {"provider": "openai", "model": "gpt-4o-2024-08-06", "tenant": "acme", "input_tokens_uncached": 1000, "output_tokens": 100}
    ]


def test_model_and_counts_may_be_given(fake: FakeService, service: Service) -> None:
    assert cost(provider="house", model="llama", usage=Usage(cache_read=5), service=service) == Cost("0.0035", None, False, tokens=5)
    assert asked(fake, QUOTE) == [{"provider": "house", "model": "llama", "cache_read": 5}]


def test_a_call_without_a_price_does_not_cost_nothing(fake: FakeService, service: Service) -> None:
    fake.answers[QUOTE] = {"usd": None, "unpriced": 1, "reason": "unknown_model"}
    found = cost(ANSWER, provider="house", service=service)
    assert found is not None
    assert (found.usd, found.amount, found.unpriced_calls) == (None, None, 1)


@pytest.mark.parametrize("given", [{}, {"answer": ANSWER}, {"provider": "openai"}, {"answer": {"model": "m"}, "provider": "openai"}])
def test_a_call_of_which_too_little_is_said_is_refused(given: dict[str, Any], service: Service) -> None:
    with pytest.raises(BadInput, match="give the provider's answer with its usage and the provider, or trace_id and span_id"):
        cost(**given, service=service)


def test_a_tenant_for_which_the_token_does_not_speak_is_left_out_as_the_ledger_does_it(fake: FakeService, service: Service) -> None:
    fake.strange_tenants = {"globex"}
    with attribution(tenant="globex"):
        assert cost(ANSWER, provider="openai", service=service) is not None
        rates_of(service, {"provider": "openai", "model": "gpt-4o", "tenant": "globex"})
    assert [one.get("tenant") for one in asked(fake, QUOTE)][:2] == ["globex", None]
    assert [[call.get("tenant") for call in one["calls"]] for one in asked(fake, QUOTE)[2:]] == [["globex", "globex"], [None, None]]


# --- a call, by its span -------------------------------------------------------------------------------------------------


def test_a_span_costs_what_the_ledger_has_booked_for_it(fake: FakeService, service: Service) -> None:
    fake.answers[ROW] = row()
    expected = Cost("0.0035", TRACE, booked=True, calls=1, tokens=1050)
    assert cost(trace_id=TRACE, span_id=SPAN, service=service) == expected
    assert cost(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), service=service) == expected


def test_a_span_that_shows_a_call_once_more_costs_what_that_call_does(fake: FakeService, service: Service) -> None:
    other = "00f067aa0ba902b7"
    fake.answers[ROW] = row(role="duplicate", cost_usd=None, counted_in={"trace_id": TRACE, "span_id": other})
    fake.answers[f"/api/v1/usage/{TRACE}/{other}"] = row(cost_usd="0.5")
    assert cost(trace_id=TRACE, span_id=SPAN, service=service) == Cost("0.5", TRACE, booked=True, tokens=1050)


def test_a_span_that_shows_no_call_costs_nothing(fake: FakeService, service: Service) -> None:
    fake.answers[ROW] = row(role="wrapper", cost_usd=None, counted_in={"trace_id": TRACE, "span_id": SPAN})
    assert cost(trace_id=TRACE, span_id=SPAN, service=service) == Cost("0", TRACE, booked=True, calls=0)


def test_a_booked_call_without_a_price_is_told_as_one(fake: FakeService, service: Service) -> None:
    fake.answers[ROW] = row(cost_usd=None)
    found = cost(trace_id=TRACE, span_id=SPAN, service=service)
    assert found is not None
    assert (found.usd, found.unpriced_calls) == (None, 1)


# --- a turn --------------------------------------------------------------------------------------------------------------


def test_a_trace_costs_what_all_of_its_calls_do(fake: FakeService, service: Service) -> None:
    fake.answers[TREE] = tree("0.75", pending=False, unpriced=1)
    assert trace_cost(TRACE, service=service) == Cost("0.75", TRACE, booked=True, unpriced_calls=1, calls=3, tokens=1105)


def test_one_waits_until_it_is_booked(fake: FakeService, service: Service) -> None:
    fake.answers[TREE] = tree("0.25", pending=True)
    book = threading.Timer(0.2, lambda: fake.answers.update({TREE: tree("0.75", pending=False)}))
    book.start()
    began = time.monotonic()
    assert trace_cost(TRACE, wait=5, service=service) == Cost("0.75", TRACE, booked=True, calls=3, tokens=1105)
    assert 0.2 <= time.monotonic() - began < 2


def test_when_the_time_is_up_what_is_known_is_told_as_such(fake: FakeService, service: Service) -> None:
    fake.answers[TREE] = tree("0.25", pending=True)
    began = time.monotonic()
    assert trace_cost(TRACE, wait=0.2, service=service) == Cost("0.25", TRACE, booked=False, calls=3, tokens=1105)
    assert 0.2 <= time.monotonic() - began < 1


def test_the_current_trace_is_meant_unless_one_is_named(fake: FakeService, service: Service) -> None:
    with pytest.raises(BadInput, match="no span is current, so say which trace"):
        trace_cost(service=service)
    span = TracerProvider().get_tracer("t").start_span("turn")
    trace_id = trace.format_trace_id(span.get_span_context().trace_id)
    fake.answers[f"/api/v1/traces/{trace_id}?sums_only=true"] = tree("0.1", pending=False)
    with trace.use_span(span):
        assert trace_cost(service=service) is not None


def test_spans_that_have_ended_are_sent_first_but_nobody_waits_longer_for_that(
    fake: FakeService, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, release = [], threading.Event()

    class Provider(trace.NoOpTracerProvider):
        def force_flush(self, timeout_millis: int) -> bool:
            flushed.append(timeout_millis)
            return release.wait(5)

    monkeypatch.setattr(trace, "get_tracer_provider", Provider)
    fake.answers[TREE] = tree("0.1", pending=False)
    began = time.monotonic()
    assert trace_cost(TRACE, wait=0.2, service=service) is not None
    assert time.monotonic() - began < 1
    assert flushed == [200]
    release.set()


def test_asynchronous_applications_wait_without_keeping_the_loop(fake: FakeService, service: Service) -> None:
    fake.answers[TREE] = tree("0.25", pending=True)
    ticks = []

    async def use() -> tuple[Cost | None, Cost | None]:
        async def tick() -> None:
            for _ in range(5):
                await asyncio.sleep(0.02)
                ticks.append(1)

        found, quoted, _ = await asyncio.gather(
            trace_cost_async(TRACE, wait=0.3, service=service), cost_async(ANSWER, provider="openai", service=service), tick()
        )
        return found, quoted

    found, quoted = asyncio.run(use())
    assert (found and found.usd, quoted and quoted.usd, len(ticks)) == ("0.25", "0.0035", 5)


@pytest.mark.parametrize("wait", [-1, 3000, float("nan")])
def test_a_mistyped_wait_is_refused(wait: float, service: Service) -> None:
    with pytest.raises(BadInput, match="wait: seconds from 0 to 300"):
        trace_cost(TRACE, wait=wait, service=service)


# --- nothing to tell -----------------------------------------------------------------------------------------------------


def test_with_metering_off_there_is_no_cost_and_nobody_waits_for_one(fake: FakeService, service: Service) -> None:
    fake.answers[HEALTH] = {"ok": True, "parts": [STORE, METERING]}
    fake.missing = {TREE}
    began = time.monotonic()
    assert cost(ANSWER, provider="openai", service=service) is None
    assert trace_cost(TRACE, wait=5, service=service) is None
    assert rates_of(service, {"provider": "openai", "model": "gpt-4o"}) is None
    assert time.monotonic() - began < 1
    assert len(asked(fake, HEALTH)) == 1
    assert asked(fake, QUOTE) == []


def test_without_an_address_there_is_no_cost() -> None:
    off = Service(ClientSettings())
    assert cost(ANSWER, provider="openai", service=off) is None
    assert cost(trace_id=TRACE, span_id=SPAN, wait=5, service=off) is None
    assert trace_cost(TRACE, wait=5, service=off) is None


def test_what_is_not_there_in_time_is_not_known(fake: FakeService, service: Service) -> None:
    fake.missing = {TREE, ROW}
    assert trace_cost(TRACE, wait=0.1, service=service) is None
    assert cost(trace_id=TRACE, span_id=SPAN, service=service) is None


def test_a_token_that_may_not_ask_is_told_of(fake: FakeService, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    fake.status = 403
    assert cost(ANSWER, provider="openai", service=service) is None
    assert "The service does not tell what calls cost (status 403): the token is not known" in caplog.messages


def test_a_service_that_is_away_is_no_reason_to_fail_or_to_wait_long() -> None:
    away = Service(ClientSettings("http://127.0.0.1:9", timeout_s=0.3))
    began = time.monotonic()
    assert cost(ANSWER, provider="openai", service=away) is None
    assert trace_cost(TRACE, wait=0.5, service=away) is None
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "nonsense",
    [
        {"total_usd": "much"},
        {"total_usd": 5, "trace_id": TRACE},
        {"total_usd": "1", "trace_id": TRACE, "steps": [{"calls": "three"}]},
        {"standing": {"role": "call", "cost_usd": "1", "usage": ["output"]}, "trace_id": TRACE},
        {"usd": "a lot", "quotes": 7},
        {"usd": 0.5, "quotes": ["cheap"]},
        {"usd": [], "quotes": [{"usd": "1"}]},
        {"usd": {}, "quotes": [{"usd": "1", "lines": [{"unit": "output", "rate_usd": "dear"}]}]},
    ],
)
def test_an_answer_that_makes_no_sense_is_none_and_fails_nobody(
    nonsense: dict[str, Any], fake: FakeService, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answers = {QUOTE: nonsense, TREE: nonsense, ROW: nonsense, HEALTH: nonsense}
    assert cost(trace_id=TRACE, span_id=SPAN, service=service) is None
    assert trace_cost(TRACE, service=service) is None
    assert rates_of(service, {"provider": "openai", "model": "gpt-4o"}) is None
    known = cost(ANSWER, provider="openai", service=service)
    assert known is None or known.amount is None
    assert len(caplog.messages) == 1
