"""What each decision does to a guarded block or function, and what the service is told when a call has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fake_service import FakeService
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_finops.client.attribution import attribution, held, stamp_spans
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guard import guard
from otel_finops.client.rates import Rates
from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings
from otel_finops.client.stream_meter import StreamCut
from otel_finops.client.usage import Usage

RATES = Rates.per_million(input_usd="1", output_usd="10")
ANSWER = {"model": "gpt-5-2025", "usage": {"prompt_tokens": 100, "completion_tokens": 20}}
NOT_THERE = "http://127.0.0.1:9"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    service = FakeService()
    service.answers["/api/v1/health"] = {"ok": True, "parts": [{"name": "store", "ok": True, "detail": ""}]}
    service.answers["/api/v1/pricing/quote"] = {"usd": "0.0003", "unpriced": 0, "lines": [], "quotes": None}
    yield service
    service.close()


@pytest.fixture
def service(fake: FakeService) -> Service:
    return Service(ClientSettings(fake.url, timeout_s=5))


def settled(fake: FakeService, service: Service) -> dict[str, Any]:
    assert service.settlements.flush(5)
    return fake.settled


def released(fake: FakeService) -> list[str]:
    return [asked.path.split("/")[-2] for asked in fake.asked if asked.path.endswith("/release")]


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


class RefusedByProvider(Exception):
    """As the vendors' SDKs raise it."""

    status_code = 429


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


# --- streams -------------------------------------------------------------------------------------------------------------


def events(words: int) -> Iterator[dict[str, Any]]:
    yield {"model": "gpt-5-2025", "choices": [{"delta": {"role": "assistant"}, "finish_reason": None}], "usage": None}
    for _ in range(words):
        yield {"choices": [{"delta": {"content": "four"}, "finish_reason": None}], "usage": None}
    yield {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": words}}


def test_a_stream_settles_when_it_has_ended_also_after_its_block(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", service=service) as call:
        stream = call.meter(events(3))
    assert settled(fake, service) == {}
    assert len(list(stream)) == 5
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 103}}


def test_a_stream_that_nobody_reads_any_more_is_settled_when_it_is_dropped(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", input_tokens=100, service=service) as call:
        stream = call.meter(events(9))
    next(stream)
    next(stream)
    del stream
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 101}}


def test_a_function_that_returns_a_stream_is_guarded_until_its_end(fake: FakeService, service: Service) -> None:
    @guard("openai", "gpt-5", limit_output_tokens=2, service=service)
    def ask() -> Iterator[dict[str, Any]]:
        return iter([*events(5)])

    stream = ask()
    assert settled(fake, service) == {}
    with pytest.raises(StreamCut, match="2 tokens of output reached its limit of 2"):
        list(stream)
    assert settled(fake, service) == {"r1": {}}  # nobody said how long the prompt was, so nobody knows what it came to


def test_a_cut_stream_is_settled_at_what_had_come_when_the_prompt_is_known(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", input_tokens=100, service=service) as call:
        assert len(list(call.meter(events(5), limit_output_tokens=2, on_limit="end"))) == 3
    settled(fake, service)
    quoted = next(asked.body for asked in fake.asked if asked.path == "/api/v1/pricing/quote")
    assert quoted == {"provider": "openai", "model": "gpt-5-2025", "input_tokens_uncached": 100, "output_tokens": 2}


def test_generators_are_guarded_while_they_run(fake: FakeService, service: Service) -> None:
    @guard("openai", limit_output_tokens=2, on_limit="end", service=service)
    def texts(*, model: str) -> Iterator[str]:
        for _ in range(9):
            assert held() is not None
            yield "four"

    @guard("openai", limit_output_tokens=2, on_limit="end", service=service)
    async def texts_async(*, model: str) -> AsyncIterator[str]:
        for _ in range(9):
            assert held() is not None
            yield "four"

    async def read() -> list[str]:
        return [text async for text in texts_async(model="gpt-5")]

    running = texts(model="gpt-5")
    assert fake.decisions == []
    assert list(running) == ["four", "four"]
    assert asyncio.run(read()) == ["four", "four"]
    assert settled(fake, service) == {"r1": {}, "r2": {}}
    assert held() is None


def test_a_blocked_generator_gives_nothing(fake: FakeService, service: Service) -> None:
    fake.action = "block"

    @guard("openai", "gpt-5", service=service)
    def texts() -> Iterator[str]:
        pytest.fail("the call was made")
        yield ""

    with pytest.raises(CallBlocked):
        next(texts())


def test_a_generator_that_is_left_is_closed_and_settled(fake: FakeService, service: Service) -> None:
    closed = []

    @guard("openai", "gpt-5", service=service)
    def texts() -> Iterator[str]:
        try:
            while True:
                yield "four"
        finally:
            closed.append(True)

    running: Any = texts()
    next(running)
    running.close()
    assert closed == [True]
    assert settled(fake, service) == {"r1": {}}


def test_a_call_whose_block_failed_is_settled_once_when_its_stream_has_ended(fake: FakeService, service: Service) -> None:
    stream: Any = None
    try:
        with guard("openai", "gpt-5", service=service) as call:
            stream = call.meter(events(3))
            next(stream)
            raise TimeoutError
    except TimeoutError:
        assert settled(fake, service) == {}
    assert len(list(stream)) == 4
    assert settled(fake, service) == {"r1": {"actual_usd": "0.0003", "tokens": 103}}
    assert sum(asked.path.endswith("/settle") for asked in fake.asked) == 1


@pytest.mark.parametrize(
    ("fault", "told"), [(RefusedByProvider(), {"actual_usd": "0", "tokens": 0}), (CallBlocked("no"), None), (TimeoutError(), {})]
)
def test_a_generator_that_fails_before_its_first_item_is_no_prompt_that_was_paid_for(
    fault: Exception, told: object, fake: FakeService, service: Service
) -> None:
    @guard("openai", "gpt-5", input_tokens=100, service=service)
    def texts() -> Iterator[str]:
        if fault:
            raise fault
        yield ""

    with pytest.raises(type(fault)):
        next(texts())
    assert settled(fake, service) == ({} if told is None else {"r1": told})
    assert released(fake) == (["r1"] if told is None else [])


def test_what_outlives_a_guarded_block_asks_for_itself(fake: FakeService, service: Service) -> None:
    """A worker that was started in the block keeps its context, but not its permission."""
    seen: list[object] = []

    async def turn() -> None:
        gone_on = asyncio.Event()

        async def worker() -> None:
            seen.append(held())
            await gone_on.wait()
            seen.append(held())

        async with guard("openai", "gpt-5", service=service):
            task = asyncio.ensure_future(worker())
            await asyncio.sleep(0)
        gone_on.set()
        await task

    asyncio.run(turn())
    assert [one is not None for one in seen] == [True, False]


@pytest.mark.parametrize("limit_usd", [None, "1"])
def test_what_is_held_for_a_task_that_was_cancelled_while_it_asked_is_given_back(
    limit_usd: str | None, fake: FakeService, service: Service
) -> None:
    fake.answers["/api/v1/pricing/quote"] = QUOTES
    fake.delay_s = 0.2

    async def call() -> None:
        async with guard("openai", "gpt-5", limit_usd=limit_usd, service=service):
            pytest.fail("the call was made")

    async def leave() -> None:
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert settled(fake, service) == {}
    assert released(fake) == ["r1"]


def test_one_guard_may_serve_blocks_of_several_tasks(fake: FakeService, service: Service) -> None:
    """Each leaves its own block, in whatever order they end."""
    shared = guard("openai", "gpt-5", service=service)

    async def call(amount: str, mine: asyncio.Event, others: asyncio.Event) -> object:
        async with shared as made:
            mine.set()
            await others.wait()
            made.used(actual_usd=amount)
        return held()

    async def both() -> list[object]:
        first, second = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(call("0.1", first, second), call("0.2", second, first)))

    assert asyncio.run(both()) == [None, None]
    settled(fake, service)
    assert sorted(asked.body["actual_usd"] for asked in fake.asked if asked.path.endswith("/settle")) == ["0.1", "0.2"]


QUOTES = {
    "usd": "0.1",
    "unpriced": 0,
    "lines": [],
    "quotes": [
        {"usd": None, "lines": []},
        {
            "usd": "0.1",
            "lines": [
                {"unit": "input_uncached", "quantity": 100, "rate_usd": "0.000001"},
                {"unit": "output", "quantity": 1, "rate_usd": "0.00001"},
            ],
        },
    ],
}


def test_a_limit_of_money_is_kept_by_the_services_rates(fake: FakeService, service: Service) -> None:
    # 100 tokens of prompt are 0.0001 USD and each text 0.00001: the limit is reached with the second one
    fake.answers["/api/v1/pricing/quote"] = QUOTES
    with guard("openai", "gpt-5", input_tokens=100, limit_usd="0.00012", on_limit="end", service=service) as call:
        assert len(list(call.meter(events(9)))) == 3
    asked = next(asked.body for asked in fake.asked if asked.path == "/api/v1/pricing/quote")
    plain = {"provider": "openai", "model": "gpt-5", "input_tokens_uncached": 100, "output_tokens": 1}
    assert asked == {"calls": [{**plain, "cache_read": 1, "cache_write_5m": 1, "cache_write_1h": 1}, plain]}


def test_rates_that_the_application_knows_are_not_asked_for(fake: FakeService, service: Service) -> None:
    with guard("openai", "gpt-5", input_tokens=100, service=service) as call:
        assert len(list(call.meter(events(9), limit_usd="0.00012", rates=RATES, on_limit="end"))) == 3


def test_without_a_price_a_stream_runs_or_is_not_begun_as_the_settings_say(fake: FakeService) -> None:
    fake.answers["/api/v1/pricing/quote"] = {"usd": None, "unpriced": 2, "lines": [], "quotes": []}
    with guard("openai", "house", limit_usd="0.1", service=Service(ClientSettings(fake.url, timeout_s=5))) as call:
        assert len(list(call.meter(events(3)))) == 5
    closed = Service(ClientSettings(fake.url, fail="closed", timeout_s=5))
    with (
        pytest.raises(CallBlocked, match=r"what house costs is not known.*at 0\.1 USD"),
        guard("openai", "house", limit_usd="0.1", service=closed),
    ):
        pytest.fail("the call was made")


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
