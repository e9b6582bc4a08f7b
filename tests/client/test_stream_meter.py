"""Streams are counted while they run and ended at their limit: OpenAI's and Anthropic's own streams, and any iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.client.rates import Rates
from otel_finops.client.stream_meter import AsyncMeteredStream, Limits, MeteredStream, StreamCut, StreamMeter
from otel_finops.client.usage import Usage, told_by
from otel_finops.demo.provider import FakeProvider
from otel_finops.testing import CountingIds

RATES = Rates.per_million(input_usd="1", output_usd="10", cache_read_usd="0.1", cache_write_usd="1.25")
QUESTION: Any = [{"role": "user", "content": "Where is my order?"}]


class Source:
    """An iterator of texts that remembers how far it was read and whether it was closed."""

    def __init__(self, *items: Any, fault: Exception | None = None) -> None:
        self._items, self._fault = iter(items), fault
        self.read, self.closed = 0, 0
        self.response = "the provider's own"

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Any:
        for item in self._items:
            self.read += 1
            return item
        if self._fault is not None:
            raise self._fault
        raise StopIteration

    def close(self) -> None:
        self.closed += 1


class AsyncSource(Source):
    """The same, asynchronous."""

    def __aiter__(self) -> AsyncSource:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


def metered(source: Any, limits: Limits = Limits(), **more: Any) -> MeteredStream[Any]:  # noqa: B008 - immutable
    meter = {name: more.pop(name) for name in ("rates", "prompt", "count", "text") if name in more}
    given: dict[str, Any] = {"on_limit": "raise", "close": None, "done": None, **more}
    return MeteredStream(source, StreamMeter(limits, **meter), **given)


def counted(*items: Any) -> StreamMeter:
    meter = StreamMeter()
    for item in items:
        meter.add(item)
    return meter


# --- usage ---------------------------------------------------------------------------------------------------------------


def test_openai_counts_cached_tokens_inside_of_the_prompt() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2304}, "completion_tokens_details": {"reasoning_tokens": 64}}
    answer = {"id": "chatcmpl-1", "model": "gpt-4o", "usage": {"prompt_tokens": 3517, "completion_tokens": 419, **details}}
    told = told_by(answer)
    assert told.usage == Usage(input_uncached=1213, cache_read=2304, output=419, reasoning=64)
    assert (told.model, told.response_id, told.usage.prompt) == ("gpt-4o", "chatcmpl-1", 3517)
    assert told.usage.record() == {"input_tokens_uncached": 1213, "cache_read": 2304, "output_tokens": 419, "reasoning_tokens": 64}


def test_openais_responses_name_the_same_otherwise() -> None:
    usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 30}, "output_tokens": 7, "total_tokens": 107}
    assert told_by({"usage": usage}).usage == Usage(input_uncached=70, cache_read=30, output=7)


def test_anthropic_counts_cached_tokens_beside_the_input() -> None:
    usage = {
        "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 150,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 100},
    }  # fmt: skip
    assert told_by(usage).usage == Usage(input_uncached=10, cache_read=200, cache_write_5m=50, cache_write_1h=100, output=5)
    usage["cache_creation"] = None
    assert told_by(usage).usage == Usage(input_uncached=10, cache_read=200, cache_write_5m=150, output=5)


@pytest.mark.parametrize(
    "answer", [None, "text", {}, {"usage": None}, {"usage": {"prompt_tokens": "many"}}, {"usage": {"input_tokens": -1}}]
)
def test_what_states_no_usage_has_none(answer: object) -> None:
    assert told_by(answer).usage is None


# --- rates ---------------------------------------------------------------------------------------------------------------


def test_every_unit_costs_its_own_rate() -> None:
    # 1,000 at 1 + 2,000 at 0.1 + 400 at 1.25 + 100 at 10 USD a million: 0.001 + 0.0002 + 0.0005 + 0.001 = 0.0027 USD
    usage = Usage(input_uncached=1000, cache_read=2000, cache_write_5m=300, cache_write_1h=100, output=100)
    assert RATES.pico(usage) == 2_700_000_000


def test_a_unit_of_the_prompt_without_a_rate_costs_what_other_input_does() -> None:
    assert Rates.per_million(input_usd="1", output_usd="10").pico(Usage(cache_read=1000, output=0)) == 1_000_000_000


def test_rates_of_a_quotes_lines() -> None:
    lines = [
        {"unit": "input_uncached", "quantity": 3, "rate_usd": "0.0000025", "amount_usd": "0.0000075"},
        {"unit": "output", "quantity": 2, "rate_usd": "0.00001", "amount_usd": "0.00002"},
        {"unit": "web_searches", "quantity": 1, "rate_usd": "0.01", "amount_usd": "0.01"},
    ]
    assert Rates.of_lines(lines).pico(Usage(input_uncached=3, output=2)) == 27_500_000


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "much", ""])
def test_nonsense_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rates.per_million(input_usd=text, output_usd="1")


# --- counting ------------------------------------------------------------------------------------------------------------


def test_four_bytes_of_text_are_a_token_until_the_provider_says_more() -> None:
    assert counted("four", "five!").output_tokens == 3  # nine bytes
    assert counted("订单在路上").output_tokens == 4  # five characters of three bytes
    assert counted(b"12345").output_tokens == 2


@given(st.lists(st.text(max_size=9), max_size=20), st.integers(1, 30))
def test_however_a_text_is_cut_into_pieces_it_counts_the_same_and_ends_with_the_piece_that_reaches_the_limit(
    pieces: list[str], limit: int
) -> None:
    whole = len("".join(pieces).encode("utf-8", "surrogatepass"))
    assert counted(*pieces).output_tokens == -(-whole // 4)
    read = list(metered(Source(*pieces), Limits(output_tokens=limit), on_limit="end"))
    assert read == pieces[: len(read)]
    assert counted(*read[:-1]).output_tokens < limit
    assert len(read) == len(pieces) or counted(*read).output_tokens >= limit


def test_the_applications_own_tokenizer_counts_instead() -> None:
    meter = StreamMeter(count=lambda text: len(text.split()))
    meter.add("three words here")
    meter.add("and two")
    assert meter.output_tokens == 5


def chunk(content: str | None = None, usage: Any = None, *, end: str | None = None, **delta: Any) -> dict[str, Any]:
    choices = [] if content is None and not delta and end is None else [{"delta": {"content": content, **delta}, "finish_reason": end}]
    return {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": choices, "usage": usage}


def test_chat_chunks_are_counted_by_their_text_and_then_by_what_the_provider_states() -> None:
    arguments = [{"index": 0, "function": {"name": None, "arguments": '{"order'}}]
    meter = counted(chunk("", role="assistant"), chunk("Monday, "), chunk(tool_calls=arguments), chunk("", end="stop"))
    assert meter.output_tokens == 4  # 8 + 7 bytes
    assert not meter.reported
    meter.add(chunk(usage={"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}))
    assert meter.usage == Usage(input_uncached=12, output=9)
    assert (meter.reported, meter.model, meter.response_id) == (True, "gpt-4o-2024-08-06", "chatcmpl-1")


def test_servers_that_state_a_growing_usage_in_every_chunk_are_counted_by_it() -> None:
    meter = counted(chunk("ab", {"prompt_tokens": 5, "completion_tokens": 3}), chunk("abcd"))
    assert meter.output_tokens == 4  # three stated, and four bytes since
    assert not meter.reported


def test_a_message_streams_cached_prompt_is_known_from_its_first_event() -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 0, "output_tokens": 1}
    meter = StreamMeter(rates=RATES)
    meter.add({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": usage}})
    meter.add({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "12345678"}})
    meter.add({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}})
    assert meter.usage == Usage(input_uncached=10, cache_read=90, output=4)  # one stated, ten bytes since
    assert meter.spent_pico == 10_000_000 + 9_000_000 + 40_000_000
    meter.add({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}})
    assert meter.usage == Usage(input_uncached=10, cache_read=90, output=30)
    assert meter.reported


def test_parts_of_a_response_are_counted_once_and_its_sound_is_not() -> None:
    meter = counted(
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5", "usage": None}},
        {"type": "response.output_text.delta", "delta": "12345678"},
        {"type": "response.output_text.done", "text": "12345678"},
        {"type": "response.function_call_arguments.delta", "delta": "1234"},
        {"type": "response.audio.delta", "delta": "UklGRg=="},
    )
    assert meter.output_tokens == 3
    meter.add({"type": "response.completed", "response": {"id": "resp_1", "usage": {"input_tokens": 7, "output_tokens": 8}}})
    assert (meter.usage, meter.reported) == (Usage(input_uncached=7, output=8), True)


def test_an_item_of_unknown_make_counts_for_one_token_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    assert counted(object(), object()).output_tokens == 2
    assert [record.message for record in caplog.records] == [
        "A metered stream gives items of object, whose text is not known: each counts for one token. Pass text= to the meter."
    ]


def test_the_application_may_say_what_an_items_text_is() -> None:
    meter = StreamMeter(text=lambda item: item[1])
    meter.add((1, "four"))
    meter.add((2, None))
    assert meter.output_tokens == 1


# --- the end -------------------------------------------------------------------------------------------------------------


def test_a_stream_under_its_limit_is_left_alone_and_ends_by_itself() -> None:
    source, ends = Source("four", "more"), []
    stream = metered(source, Limits(output_tokens=3), done=lambda meter, fault: ends.append((meter.output_tokens, fault)))
    assert list(stream) == ["four", "more"]
    assert (stream.cut, source.closed, ends) == (False, 0, [(2, None)])
    assert list(stream) == []


def test_at_its_limit_the_providers_stream_is_closed_what_came_is_delivered_and_the_reader_told() -> None:
    source, ends = Source("four", "more", "much", "unread"), []
    stream = metered(source, Limits(output_tokens=3), done=lambda meter, fault: ends.append(fault))
    with pytest.raises(StreamCut, match=r"^The stream was ended: 3 tokens of output reached its limit of 3\.$") as cut:
        list(stream)
    assert (source.read, source.closed, stream.cut) == (3, 1, True)
    assert cut.value.meter.output_tokens == 3
    assert ends == [cut.value]
    with pytest.raises(StreamCut):
        next(stream)


def test_the_item_that_reaches_the_limit_is_delivered() -> None:
    stream = metered(Source("four", "more", "unread"), Limits(output_tokens=2))
    assert [next(stream), next(stream)] == ["four", "more"]
    with pytest.raises(StreamCut):
        next(stream)


def test_a_reader_who_wants_no_exception_gets_an_end() -> None:
    source = Source("four", "more", "unread")
    stream = metered(source, Limits(output_tokens=2), on_limit="end")
    assert list(stream) == ["four", "more"]
    assert (stream.cut, source.closed) == (True, 1)


def test_money_counts_the_prompt_too() -> None:
    # 1,000 of prompt are 0.001 USD; each text of four bytes is one token of output, 0.00001 USD
    stream = metered(Source(*["four"] * 9), Limits(pico=1_030_000_000), rates=RATES, prompt=Usage(input_uncached=1000), on_limit="end")
    assert len(list(stream)) == 3
    assert stream.meter.spent_pico == 1_030_000_000


def test_without_rates_no_limit_of_money_is_reached() -> None:
    stream = metered(Source("four"), Limits(pico=1))
    assert list(stream) == ["four"]
    assert stream.meter.spent_pico is None


def test_what_has_ended_by_itself_is_not_cut() -> None:
    last = chunk(usage={"prompt_tokens": 1, "completion_tokens": 100})
    assert list(metered(Source(last), Limits(output_tokens=10))) == [last]


def test_a_stream_that_cannot_be_closed_delivers_and_settles_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def close() -> None:
        raise ConnectionError

    ended: list[object] = []
    stream: MeteredStream[str] = MeteredStream(
        iter(["four"] * 5), StreamMeter(Limits(output_tokens=2)), "end", close, lambda *end: ended.append(end[1])
    )
    assert list(stream) == ["four", "four"]
    assert [type(end) for end in ended] == [StreamCut]
    assert ["could not be closed" in message for message in caplog.messages] == [True]


def test_what_cannot_be_counted_counts_for_one_token_and_fails_no_reader(caplog: pytest.LogCaptureFixture) -> None:
    def count(text: str) -> int:
        raise LookupError(text)

    meter = StreamMeter(count=count)
    assert list(MeteredStream(iter(["a", "b"]), meter, "raise", None, None)) == ["a", "b"]
    assert meter.output_tokens == 2
    assert len(caplog.messages) == 1


def test_a_fault_of_the_stream_reaches_the_reader_and_whoever_settles() -> None:
    fault, ends = ConnectionError("reset"), []
    with pytest.raises(ConnectionError):
        list(metered(Source("four", fault=fault), done=lambda meter, fault: ends.append((meter.output_tokens, fault))))
    assert ends == [(1, fault)]


def test_a_stream_that_is_left_is_closed_and_settled_once() -> None:
    source, ends = Source("four", "more"), []
    with metered(source, done=lambda meter, fault: ends.append((meter.output_tokens, fault))) as stream:
        next(stream)
    stream.close()
    assert (source.closed, ends, list(stream)) == (2, [(1, None)], [])


def test_everything_else_of_the_providers_stream_is_there() -> None:
    stream = metered(Source())
    assert stream.response == "the provider's own"
    with pytest.raises(AttributeError):
        _ = stream.nothing


def test_a_stream_behind_a_generator_is_closed_by_what_the_application_names() -> None:
    source = Source("four", "more")
    stream = metered((one for one in source), Limits(output_tokens=1), on_limit="end", close=source.close)
    assert list(stream) == ["four"]
    assert source.closed == 1


def test_another_way_of_ending_is_refused() -> None:
    with pytest.raises(ValueError, match="on_limit must be 'raise' or 'end', not 'cut'"):
        metered(Source(), on_limit="cut")


def test_asynchronous_streams_end_alike() -> None:
    async def use() -> tuple[AsyncSource, list[Any], AsyncMeteredStream[Any]]:
        source, ends = AsyncSource("four", "more", "unread"), []
        meter = StreamMeter(Limits(output_tokens=2))
        stream: AsyncMeteredStream[Any] = AsyncMeteredStream(source, meter, "raise", None, lambda meter, fault: ends.append(fault))
        with pytest.raises(StreamCut):
            async for _ in stream:
                pass
        return source, ends, stream

    source, ends, stream = asyncio.run(use())
    assert (source.read, source.closed, len(ends)) == (2, 1, 1)
    assert stream.response == "the provider's own"


def test_an_asynchronous_generator_that_is_left_is_closed() -> None:
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "four"
        finally:
            closed.append(True)

    async def use() -> None:
        async with AsyncMeteredStream[str](source(), StreamMeter(), "raise", None, None) as stream:
            assert await anext(stream) == "four"

    asyncio.run(use())
    assert closed == [True]


# --- the vendors' own streams --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    provider = FakeProvider(seed=3, ids=CountingIds())
    yield provider
    provider.close()


def chat(provider: FakeProvider) -> Any:
    client = openai.OpenAI(base_url=provider.url + "/v1", api_key="none")
    return client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True, stream_options={"include_usage": True})


def messages(provider: FakeProvider) -> Any:
    client = anthropic.Anthropic(base_url=provider.url, api_key="none")
    return client.messages.create(model="claude-haiku-4-5", messages=QUESTION, max_tokens=900, stream=True)


@pytest.mark.parametrize("make", [chat, messages])
def test_a_vendors_stream_is_counted_to_the_token_at_its_end(provider: FakeProvider, make: Any) -> None:
    stream = metered(make(provider))
    items = list(stream)
    stated = [usage for item in items if (usage := told_by(item).usage) is not None]
    assert stream.meter.reported
    assert stream.meter.output_tokens == stated[-1].output > 0
    assert stream.meter.usage.prompt > 0


@pytest.mark.parametrize("make", [chat, messages])
def test_a_vendors_stream_is_closed_when_it_is_cut(provider: FakeProvider, make: Any) -> None:
    own = make(provider)
    stream = metered(own, Limits(output_tokens=5), on_limit="end")
    seen = list(stream)
    assert stream.cut
    assert 2 < len(seen) < 12
    assert own.response.is_closed


def test_the_anthropic_helpers_events_are_not_counted_twice(provider: FakeProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="none")
    with client.messages.stream(model="claude-haiku-4-5", messages=QUESTION, max_tokens=900) as helper:
        stream = metered(helper, Limits(output_tokens=5), on_limit="end")
        texts = "".join(event.delta.text for event in stream if event.type == "content_block_delta")
        assert stream.meter.output_tokens == 5 == 1 + -(-len(texts) // 4)  # the first event states one token
        assert helper.response.is_closed


def test_an_asynchronous_vendors_stream_is_cut_and_closed(provider: FakeProvider) -> None:
    async def use() -> tuple[bool, bool]:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="none") as client:
            own = await client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
            stream: AsyncMeteredStream[Any] = AsyncMeteredStream(own, StreamMeter(Limits(output_tokens=5)), "end", None, None)
            async for _ in stream:
                pass
            return stream.cut, own.response.is_closed

    assert asyncio.run(use()) == (True, True)
