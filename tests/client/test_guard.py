"""What each decision does to a guarded block or function, and what the service is told when a call has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_service import FakeService
from guarding import RefusedByProvider, events, released, settled
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_finops.client.attribution import attribution, held, stamp_spans
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guard import guard
from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings
from otel_finops.client.usage import Usage

ANSWER = {"model": "gpt-5-2025", "usage": {"prompt_tokens": 100, "completion_tokens": 20}}
NOT_THERE = "http://127.0.0.1:9"


# --- let through ---------------------------------------------------------------------------------------------------------


def test_a_block_asks_before_and_settles_after(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", max_output_tokens=500, input_tokens=10, service=service) as call:
        assert call.model == "gpt-5"
        assert held() is not None
        assert fake.settled == {}
    assert held() is None
    asked = {name: value for name, value in fake.decisions[0].items() if name != "idempotency_key"}
    assert asked == {"provider": "openai", "model": "gpt-5", "operation": "chat", "max_output_tokens": 500, "input_tokens": 10}
    assert settled(fake, service) == {"r1": {}}


def test_what_is_said_around_and_the_trace_are_asked_with(fake: FakeService, service: Service) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("turn") as span, attribution(tenant="acme", step="search"), guard("openai", "gpt-5", service=service):
        pass
    asked = fake.decisions[0]
    assert (asked["tenant"], asked["step"], asked["trace_id"]) == (
        "acme",
        "search",
        trace.format_trace_id(span.get_span_context().trace_id),
    )


def test_spans_in_the_block_bear_the_reservation_and_nobody_there_asks_again(service: Service) -> None:
    provider = TracerProvider()
    stamp_spans(provider)
    with guard("openai", "gpt-5", service=service):
        decision, span = held(), provider.get_tracer("test").start_span("chat")
    assert dict(getattr(span, "attributes", {})) == {"finops.reservation": "r1"}
    assert decision is not None
    assert (decision.reservation_id, decision.refused_model) == ("r1", None)


def test_a_call_belongs_to_whom_the_spans_around_it_name(fake: FakeService, service: Service) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "shop", "deployment.environment": "test"}))
    stamp_spans(provider)
    tracer = provider.get_tracer("test")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
    with (
        tracer.start_as_current_span("invoke_agent support", attributes=agent),
        tracer.start_as_current_span("look up"),
        attribution(tags={"team": "blue"}),
        guard("openai", "gpt-5", service=service),
    ):
        pass
    asked = fake.decisions[0]
    assert asked["tags"] == {"team": "blue"}
    assert {name: asked[name] for name in ("agent", "step", "service", "environment")} == {
        "agent": "support", "step": "look up", "service": "shop", "environment": "test",
    }  # fmt: skip


def test_an_answer_is_settled_at_the_services_own_price(fake: FakeService, service: Service) -> None:
    with attribution(tenant="acme"), guard("openai", "gpt-5", max_output_tokens=500, service=service) as call:
        call.used(ANSWER)
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 120}}
    quoted = next(asked.body for asked in fake.asked if asked.path == "/api/v1/pricing/quote")
    assert quoted == {"provider": "openai", "model": "gpt-5-2025", "tenant": "acme", "input_tokens_uncached": 100, "output_tokens": 20}


def test_a_call_without_a_price_is_settled_without_an_amount(fake: FakeService, service: Service) -> None:
    fake.answers["/api/v1/pricing/quote"] = {"usd": None, "unpriced": 1, "lines": [], "quotes": None}
    with guard("openai", "house-model", service=service) as call:
        call.used(ANSWER)
    assert settled(fake, service) == {"r1": {"tokens": 120}}


def test_the_application_may_know_the_amount_or_the_counts_itself(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", service=service) as call:
        call.used(actual_usd="0.25")
    with guard("openai", "gpt-5", service=service) as call:
        call.used(usage=Usage(input_uncached=7))
    assert settled(fake, service) == {"r1": {"actual_usd": "0.25"}, "r2": {"actual_usd": "0.0003", "tokens": 7}}
    with guard("openai", "gpt-5", service=service) as call, pytest.raises(ValueError, match="not a plain decimal amount"):
        call.used(actual_usd="1e-3")


def test_what_the_provider_refused_cost_nothing_and_of_other_faults_nobody_knows(fake: FakeService, service: Service) -> None:
    with pytest.raises(RefusedByProvider), guard("openai", "gpt-5", service=service):
        raise RefusedByProvider
    with pytest.raises(TimeoutError), guard("openai", "gpt-5", service=service):
        raise TimeoutError
    with pytest.raises(CallBlocked), guard("openai", "gpt-5", service=service):
        raise CallBlocked("by an inner guard")
    assert settled(fake, service) == {"r1": {"actual_usd": "0", "tokens": 0}, "r2": {}}
    assert released(fake) == ["r3"]


def test_a_call_for_which_nothing_is_held_is_not_settled(fake: FakeService, service: Service) -> None:
    fake.extra = {"reservation_id": None}
    with guard("openai", "gpt-5", service=service) as call:
        call.used(ANSWER)
    assert settled(fake, service) == {}


# --- not let through -----------------------------------------------------------------------------------------------------


def test_block_raises_with_the_reason_and_the_call_is_not_made(fake: FakeService, service: Service) -> None:
    fake.action = "block"
    with (
        pytest.raises(CallBlocked, match=r"\(decision d1\)\. Budget team: 10 of 10 USD spent\.") as blocked,
        guard("openai", "gpt-5", service=service),
    ):
        pytest.fail("the call was made")
    assert (blocked.value.action, blocked.value.http_status, blocked.value.reasons[0]["rule"]) == ("block", 402, "team")


def test_require_approval_raises_and_says_what_to_do(fake: FakeService, service: Service) -> None:
    fake.action, fake.extra = "require_approval", {"approval_id": "a7"}
    with (
        pytest.raises(CallBlocked, match=r"Have it approved \(approval a7\) and try again\.") as blocked,
        guard("openai", "gpt-5", service=service),
    ):
        pytest.fail("the call was made")
    assert blocked.value.approval_id == "a7"


def test_throttle_waits_as_long_as_it_is_told_and_asks_again(fake: FakeService, service: Service) -> None:
    answers = iter([("throttle", {"retry_after_s": 0.05}), ("throttle", {"retry_after_s": 0.05}), ("allow", {})])
    service.desk.ask = _answering(fake, service, answers)  # type: ignore[method-assign]
    began = time.monotonic()
    with guard("openai", "gpt-5", service=service) as call:
        assert call.decision.action == "allow"
    assert time.monotonic() - began >= 0.1
    assert len({asked["idempotency_key"] for asked in fake.decisions}) == 3


def test_throttle_raises_by_choice_and_when_it_would_take_too_long(fake: FakeService, service: Service) -> None:
    fake.action, fake.extra = "throttle", {"retry_after_s": 5}
    for asked in (guard("openai", "gpt-5", throttle="raise", service=service), guard("openai", "gpt-5", longest_wait_s=4, service=service)):
        with pytest.raises(CallBlocked, match=r"Try again in 5 s\.") as blocked, asked:
            pytest.fail("the call was made")
        assert blocked.value.retry_after_s == 5


def test_queue_raises_with_the_time_to_come_back_or_waits_by_choice(fake: FakeService, service: Service) -> None:
    fake.action, fake.extra = "queue", {"retry_after_s": 0.02}
    with pytest.raises(CallBlocked, match=r"Try again in 0\.02 s\."), guard("openai", "gpt-5", service=service):
        pytest.fail("the call was made")
    service.desk.ask = _answering(fake, service, iter([("queue", {"retry_after_s": 0.02}), ("allow", {})]))  # type: ignore[method-assign]
    with guard("openai", "gpt-5", queue="wait", service=service) as call:
        assert call.decision.decision_id == "d3"


def _answering(fake: FakeService, service: Service, answers: Iterator[tuple[str, dict[str, Any]]]) -> Any:
    real = service.desk.ask

    def ask(call: Any) -> Any:
        fake.action, fake.extra = next(answers)
        return real(call)

    return ask


def test_nonsense_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="queue must be 'wait' or 'raise', not 'later'"):
        guard("openai", queue="later")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="longest_wait_s must be seconds from 0 on"):
        guard("openai", longest_wait_s=-1)
    with pytest.raises(ValueError, match="not a plain decimal amount"):
        guard("openai", limit_usd="a lot")
    with pytest.raises(ValueError, match="limit_usd must be an amount from 0 on, not '-1'"):
        guard("openai", limit_usd="-1")
    with pytest.raises(ValueError, match="limit_output_tokens must be 1 or more, not 0"):
        guard("openai", limit_output_tokens=0)


# --- another model -------------------------------------------------------------------------------------------------------


def test_a_block_is_told_the_model_to_use_and_inner_spans_which_not_to(fake: FakeService, service: Service) -> None:
    fake.action, fake.extra = "downgrade", {"model": "gpt-5-mini"}
    with guard("openai", "gpt-5", service=service) as call:
        decision = held()
    assert call.model == "gpt-5-mini"
    assert decision is not None
    assert decision.refused_model == "gpt-5"


def test_a_function_is_called_with_the_model_to_use(fake: FakeService, service: Service) -> None:
    @guard("openai", service=service)
    def ask(question: str, *, model: str = "gpt-5") -> str:
        return model

    @guard("openai", model_argument="engine", service=service)
    def forward(question: str, **others: Any) -> Any:
        return others["engine"]

    assert (ask("?"), forward("?", engine="gpt-5")) == ("gpt-5", "gpt-5")
    fake.action, fake.extra = "downgrade", {"model": "gpt-5-mini"}
    assert (ask("?"), forward("?", engine="gpt-5")) == ("gpt-5-mini", "gpt-5-mini")
    assert [asked["model"] for asked in fake.decisions] == ["gpt-5"] * 4


def test_a_function_that_cannot_be_told_another_model_is_not_called(fake: FakeService, service: Service) -> None:
    fake.action, fake.extra = "downgrade", {"model": "gpt-5-mini"}

    @guard("openai", "gpt-5", service=service)
    def ask(question: str) -> str:
        pytest.fail("the call was made")

    with pytest.raises(CallBlocked, match="gpt-5-mini is to be used instead, and the function has no argument 'model'"):
        ask("?")
    assert settled(fake, service) == {}
    assert released(fake) == ["r1"]


# --- functions -----------------------------------------------------------------------------------------------------------


def test_a_functions_arguments_may_describe_its_call(fake: FakeService, service: Service) -> None:
    @guard("openai", "gpt-5", describe=lambda question, limit=9: {"text_chars": len(question), "max_output_tokens": limit}, service=service)
    def ask(question: str, limit: int = 9) -> dict[str, Any]:
        assert held() is not None
        return ANSWER

    assert ask("twelve chars") is ANSWER
    assert (fake.decisions[0]["text_chars"], fake.decisions[0]["max_output_tokens"]) == (12, 9)
    assert ask.__name__ == "ask"
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 120}}


def test_coroutines_and_asynchronous_blocks_are_guarded_alike(fake: FakeService, service: Service) -> None:
    @guard("openai", service=service)
    async def ask(*, model: str) -> dict[str, Any]:
        assert held() is not None
        return ANSWER

    async def use() -> None:
        await ask(model="gpt-5")
        async with guard("openai", "gpt-5", service=service) as call:
            assert held() is not None
            call.used(ANSWER)

    asyncio.run(use())
    assert held() is None
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 120}, "r2": {"actual_usd": "0.0003", "tokens": 120}}
    fake.action = "block"
    with pytest.raises(CallBlocked):
        asyncio.run(use())


def test_asynchronous_waiting_lets_others_work(fake: FakeService, service: Service) -> None:
    service.desk.ask = _answering(fake, service, iter([("throttle", {"retry_after_s": 0.1}), ("allow", {})]))  # type: ignore[method-assign]
    seen = []

    async def call() -> None:
        async with guard("openai", "gpt-5", service=service):
            seen.append("called")

    async def both() -> None:
        async def other() -> None:
            await asyncio.sleep(0.05)
            seen.append("worked")

        await asyncio.gather(call(), other())

    asyncio.run(both())
    assert seen == ["worked", "called"]


def test_a_fault_in_a_guarded_function_settles_too(fake: FakeService, service: Service) -> None:
    @guard("openai", "gpt-5", service=service)
    def refused() -> None:
        raise RefusedByProvider

    @guard("openai", "gpt-5", service=service)
    async def lost() -> None:
        raise TimeoutError

    with pytest.raises(RefusedByProvider):
        refused()
    with pytest.raises(TimeoutError):
        asyncio.run(lost())
    assert settled(fake, service) == {"r1": {"actual_usd": "0", "tokens": 0}, "r2": {}}


# --- no service ----------------------------------------------------------------------------------------------------------


def test_while_the_service_is_away_the_settings_decide_within_the_time_out() -> None:
    began = time.monotonic()
    with guard("openai", "gpt-5", service=Service(ClientSettings(NOT_THERE, timeout_s=0.5))) as call:
        assert (call.decision.away, call.model) == (True, "gpt-5")
    closed = Service(ClientSettings(NOT_THERE, fail="closed", timeout_s=0.5))
    with pytest.raises(CallBlocked, match="set to fail closed") as blocked, guard("openai", "gpt-5", service=closed):
        pytest.fail("the call was made")
    assert blocked.value.http_status == 503
    assert time.monotonic() - began < 1.5


def test_a_service_that_does_not_answer_holds_nobody_longer_than_the_time_out(fake: FakeService) -> None:
    fake.delay_s = 1.0
    began = time.monotonic()
    with guard("openai", "gpt-5", service=Service(ClientSettings(fake.url, timeout_s=0.2))) as call:
        assert call.decision.away
    assert time.monotonic() - began < 0.6


def test_without_an_address_nothing_is_asked_and_everything_goes_through() -> None:
    with guard("openai", "gpt-5", limit_usd="0.1", service=Service(ClientSettings())) as call:
        assert (call.model, call.decision.reservation_id) == ("gpt-5", None)
        assert len(list(call.meter(events(3)))) == 5
