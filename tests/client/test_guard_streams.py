"""Guards over what runs for a while: streams, generators, and blocks that tasks share or leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fake_service import FakeService
from guarding import RefusedByProvider, events, released, settled

from otel_finops.client.attribution import held
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guard import guard
from otel_finops.client.rates import Rates
from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings
from otel_finops.client.stream_meter import StreamCut

RATES = Rates.per_million(input_usd="1", output_usd="10")


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
