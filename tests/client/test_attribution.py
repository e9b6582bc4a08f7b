"""Blocks of code say whose calls they make: on the first spans in them, in baggage, and to whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer

from otel_finops.base.errors import BadInput
from otel_finops.client.attribution import Held, attribution, entered, held, said, stamp_spans
from otel_finops.client.settings import ClientSettings


class Spans:
    """A tracer and what came of it."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        assert stamp_spans(self.provider)
        self.tracer: Tracer = self.provider.get_tracer("test")

    def attributes(self) -> dict[str, dict[str, Any]]:
        return {span.name: dict(span.attributes or {}) for span in self.spans()}

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def test_the_first_span_of_a_block_says_whose_it_is_and_those_below_inherit(spans: Spans) -> None:
    with (
        attribution(tenant="acme", step="search"),
        spans.tracer.start_as_current_span("first"),
        spans.tracer.start_as_current_span("below"),
    ):
        pass
    assert spans.attributes() == {"first": {"finops.tenant": "acme", "finops.step": "search"}, "below": {}}


def test_a_block_says_nothing_of_the_span_around_it_nor_of_what_follows(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("around"):
        with attribution(purpose="summary"), spans.tracer.start_as_current_span("within"):
            pass
        with spans.tracer.start_as_current_span("after"):
            pass
    assert spans.attributes() == {"within": {"finops.purpose": "summary"}, "after": {}, "around": {}}
    assert said() == {}


def test_inner_blocks_add_to_what_outer_ones_say_and_win(spans: Spans) -> None:
    with attribution(tenant="acme", step="plan"), spans.tracer.start_as_current_span("outer"):
        with attribution(step="act"):
            assert said() == {"tenant": "acme", "step": "act"}
            with spans.tracer.start_as_current_span("inner"):
                pass
        with spans.tracer.start_as_current_span("sibling"):
            pass
    with attribution(tenant="acme", step="plan"), attribution(step="act"), spans.tracer.start_as_current_span("both"):
        pass
    assert spans.attributes() == {
        "inner": {"finops.step": "act"},
        "sibling": {},
        "outer": {"finops.tenant": "acme", "finops.step": "plan"},
        "both": {"finops.tenant": "acme", "finops.step": "act"},
    }


def test_what_an_instrumentation_says_of_a_span_and_of_those_below_it_is_left_alone(spans: Spans) -> None:
    with (
        attribution(agent="outer"),
        spans.tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.agent.name": "inner"}),
        spans.tracer.start_as_current_span("chat"),
    ):
        pass
    assert spans.attributes() == {"invoke_agent": {"gen_ai.agent.name": "inner"}, "chat": {}}


def test_a_span_kept_from_a_block_that_has_ended_does_not_speak_for_the_block_that_runs(spans: Spans) -> None:
    with attribution(step="first"):
        kept = spans.tracer.start_span("kept")
    with attribution(step="second"):
        spans.tracer.start_span("late", trace.set_span_in_context(kept)).end()
    kept.end()
    assert spans.attributes() == {"late": {"finops.step": "second"}, "kept": {"finops.step": "first"}}


def test_baggage_tells_other_services_all_but_people(spans: Spans) -> None:
    with attribution(tenant="acme", user="u-1", session="s-1", agent="support", cost_center="c", purpose="p", step="s"):
        carried = dict(baggage.get_all())
    assert carried == {
        "finops.tenant": "acme", "gen_ai.agent.name": "support", "finops.cost_center": "c", "finops.purpose": "p", "finops.step": "s",
    }  # fmt: skip
    with attribution(tenant="acme", user="u-1", carry=["user"]):
        assert dict(baggage.get_all()) == {"finops.user": "u-1"}
    assert dict(baggage.get_all()) == {}


def test_the_first_span_of_another_service_says_what_came_as_baggage(spans: Spans) -> None:
    remote = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)))
    came = baggage.set_baggage("finops.tenant", "acme", trace.set_span_in_context(remote))
    came = baggage.set_baggage("unrelated", "x", came)
    token = context.attach(came)
    try:
        assert said() == {"tenant": "acme"}
        with spans.tracer.start_as_current_span("server"), attribution(step="s"), spans.tracer.start_as_current_span("below"):
            pass
    finally:
        context.detach(token)
    assert spans.attributes() == {"below": {"finops.step": "s"}, "server": {"finops.tenant": "acme"}}


@pytest.mark.parametrize(("word", "believed"), [("", True), ("true", True), ("No", False), ("0", False), ("perhaps", False)])
def test_what_strangers_say_by_baggage_need_not_be_believed(
    spans: Spans, word: str, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_FINOPS_BAGGAGE", word)
    token = context.attach(baggage.set_baggage("finops.tenant", "acme"))
    try:
        assert said() == ({"tenant": "acme"} if believed else {})
        spans.tracer.start_span("server").end()
        with attribution(step="s"):
            assert said()["step"] == "s"
    finally:
        context.detach(token)
    assert spans.attributes() == {"server": {"finops.tenant": "acme"} if believed else {}}


def test_a_word_that_says_neither_is_told_of_where_settings_are_read() -> None:
    with pytest.raises(BadInput, match="OTEL_FINOPS_BAGGAGE must be true or false, not 'perhaps'"):
        ClientSettings.from_environment({"OTEL_FINOPS_BAGGAGE": "perhaps"})


def test_tags_are_attributes_of_their_own_names(spans: Spans) -> None:
    with attribution(tags={"team": "blue"}), spans.tracer.start_as_current_span("one"):
        assert said() == {}
    assert spans.attributes() == {"one": {"team": "blue"}}


def test_nothing_said_changes_nothing(spans: Spans) -> None:
    with attribution(tenant=None), spans.tracer.start_as_current_span("one"):
        pass
    assert spans.attributes() == {"one": {}}


def test_an_unknown_name_to_carry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"carry: 'colour' is none of tenant, "):
        attribution(tenant="acme", carry=["colour"])


def test_blocks_see_to_the_global_providers_stamping_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for _ in range(2):
        with attribution(tenant="acme"):
            provider.get_tracer("t").start_span("one").end()
    assert [dict(span.attributes or {}) for span in exporter.get_finished_spans()] == [{"finops.tenant": "acme"}] * 2
    assert len(provider._active_span_processor._span_processors) == 2


def test_an_application_without_the_sdk_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert not stamp_spans()
    with attribution(tenant="acme"):
        assert said() == {"tenant": "acme"}


def test_functions_of_every_kind_run_inside(spans: Spans) -> None:
    @attribution(step="s")
    def plain(one: int) -> int:
        assert said() == {"step": "s"}
        return one + 1

    @attribution(step="s")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return said()["step"]

    assert plain(1) == 2
    assert plain.__name__ == "plain"
    assert asyncio.run(coroutine()) == "s"
    assert said() == {}


def test_a_generator_is_inside_only_while_it_runs() -> None:
    @attribution(step="s")
    def counting() -> Iterator[str]:
        for _ in range(2):
            yield said()["step"]

    seen = [(one, said()) for one in counting()]
    assert seen == [("s", {}), ("s", {})]


def test_what_is_sent_and_thrown_reaches_the_generator_and_its_value_comes_back() -> None:
    events: list[object] = []

    @attribution(step="s")
    def inner() -> Any:
        try:
            events.append((yield "first"))
            yield "second"
        except KeyError:
            events.append(said())
            yield "caught"
        return "value"

    def outer() -> Any:
        events.append((yield from inner()))

    running = outer()
    assert (next(running), running.send("sent"), running.throw(KeyError("x"))) == ("first", "second", "caught")
    assert list(running) == []
    assert events == ["sent", {"step": "s"}, "value"]


def test_a_generator_that_is_left_is_closed() -> None:
    closed = []

    @attribution(step="s")
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    running = endless()
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_an_asynchronous_generator_is_inside_only_while_it_runs_and_closed_when_left() -> None:
    closed = []

    @attribution(step="s")
    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                await asyncio.sleep(0)
                yield said()["step"]
        finally:
            closed.append(True)

    async def use() -> list[object]:
        running: Any = endless()
        seen: list[object] = [await anext(running), said()]
        await running.aclose()
        return seen

    assert asyncio.run(use()) == ["s", {}]
    assert closed == [True]


def test_tasks_that_run_at_the_same_time_keep_their_blocks_apart() -> None:
    async def work(tenant: str) -> str:
        with attribution(tenant=tenant):
            await asyncio.sleep(0.01)
            return said()["tenant"]

    async def both() -> list[str]:
        return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(both()) == ["a", "b"]


def test_a_decision_holds_within_its_block_alone(spans: Spans) -> None:
    assert held() is None
    with entered({}, decision=Held("r1", "large")), spans.tracer.start_as_current_span("framework"):
        spans.tracer.start_span("call").end()
        spans.tracer.start_span("other", attributes={"finops.reservation": "r2"}).end()
        assert held() == Held("r1", "large")
    assert held() is None
    assert {name: said["finops.reservation"] for name, said in spans.attributes().items()} == {
        "framework": "r1", "call": "r1", "other": "r2",
    }  # fmt: skip


def test_one_block_may_be_entered_by_several_tasks_at_once() -> None:
    """Each leaves its own, so that nothing of it stays behind."""
    acme = attribution(tenant="acme")

    async def turn(mine: asyncio.Event, others: asyncio.Event) -> tuple[object, object]:
        with acme:
            mine.set()
            await others.wait()
            within = said()
        return within, said()

    async def both() -> list[tuple[object, object]]:
        first, second = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(turn(first, second), turn(second, first)))

    assert asyncio.run(both()) == [({"tenant": "acme"}, {})] * 2


def test_a_block_may_be_left_on_another_thread_than_it_was_entered() -> None:
    """As a framework's dependency may be."""
    acme = attribution(tenant="acme")
    entering = threading.Thread(target=acme.__enter__)
    entering.start()
    entering.join()
    acme.__exit__(None, None, None)
    assert said() == {}
    assert acme._open._open == {}
