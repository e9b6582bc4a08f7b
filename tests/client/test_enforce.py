"""A span processor that asks before each model call, against a service that answers as it is told; the SDK is the real one."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fake_service import FakeService
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_finops.client import attribution as blocks
from otel_finops.client.attribution import Held, attribution, entered
from otel_finops.client.enforce import EnforcingProcessor, install, load
from otel_finops.client.faults import CallBlocked, CallStopped
from otel_finops.client.settings import ClientSettings

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
USED = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 40}


class App:
    """An application whose SDK has the processor; `spans` are those that were exported."""

    def __init__(self, service: FakeService, **settings: Any) -> None:
        self.service = service
        self.provider = TracerProvider(
            resource=Resource({"service.name": "shop", "deployment.environment": "test"}), shutdown_on_exit=False
        )
        self.processor = EnforcingProcessor(ClientSettings(**{"url": service.url, "timeout_s": 20.0, "pause_s": 0.0, **settings}))
        self.provider.add_span_processor(self.processor)
        self._exported = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exported))

    def tracer(self, scope: str = "some.instrumentation.openai") -> trace.Tracer:
        return self.provider.get_tracer(scope)

    def call(self, scope: str = "some.instrumentation.openai", name: str = "chat gpt-4o", **attributes: Any) -> None:
        """One call as an instrumentation makes it; the keyword `after` holds attributes that are set when the answer is there."""
        after = attributes.pop("after", USED)
        with self.tracer(scope).start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes={**CHAT, **attributes}) as span:
            span.set_attributes(after)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exported.get_finished_spans()

    @property
    def reservations(self) -> list[object]:
        return [(span.attributes or {}).get("finops.reservation") for span in self.spans]

    @property
    def settled(self) -> dict[str, dict[str, Any]]:
        assert self.provider.force_flush(5_000)
        return self.service.settled


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def app(service: FakeService) -> Iterator[App]:
    made = App(service)
    yield made
    made.provider.shutdown()


# --- one call ----------------------------------------------------------------------------------------------------


def test_an_allowed_call_is_made_with_its_reservation_and_settled(app: App) -> None:
    app.call()
    asked = app.service.decisions[0]
    assert len(asked.pop("idempotency_key")) == 32
    trace_id = f"{app.spans[0].context.trace_id:032x}"
    place = {"service": "shop", "environment": "test"}
    assert asked == {"provider": "openai", "model": "gpt-4o", "operation": "chat", "trace_id": trace_id, **place}
    assert app.reservations == ["r1"]
    assert app.settled == {"r1": {"tokens": 140}}


def test_a_blocked_call_is_not_made(app: App) -> None:
    app.service.action = "block"
    made = False
    with pytest.raises(CallBlocked, match="10 of 10 USD"), app.tracer().start_as_current_span("chat gpt-4o", attributes=CHAT):
        made = True
    assert not made
    assert app.spans == ()
    assert app.settled == {}


@pytest.mark.parametrize("action", ["require_approval", "throttle", "queue"])
def test_so_is_one_that_has_to_wait(app: App, action: str) -> None:
    """Nothing here may sleep: the span may start on an event loop."""
    app.service.action, app.service.extra = action, {"retry_after_s": 3.0}
    with pytest.raises(CallBlocked) as caught:
        app.call()
    assert (caught.value.action, caught.value.retry_after_s) == (action, 3.0)


def test_a_call_that_should_use_a_cheaper_model_is_made_and_says_so(app: App) -> None:
    """The model of a call that is under way cannot be changed: the guard does that."""
    app.service.action, app.service.extra = "downgrade", {"model": "gpt-4o-mini"}
    app.call()
    assert (app.spans[0].attributes or {})["finops.decision"] == "downgrade"


def test_the_span_around_a_blocked_call_tells_of_it(app: App) -> None:
    app.service.action = "block"
    with app.tracer().start_as_current_span("turn"), pytest.raises(CallBlocked):
        app.call()
    event = app.spans[0].events[0]
    assert (event.name, dict(event.attributes or {})) == (
        "finops.call_blocked",
        {"finops.decision": "block", "finops.decision.id": "d1", "finops.decision.reason": "Budget team: 10 of 10 USD spent."},
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o"},
        {"gen_ai.operation.name": "execute_tool"},
        {"openinference.span.kind": "CHAIN"},
        {"http.request.method": "POST"},
        {**CHAT, **USED},
    ],
)
def test_other_spans_are_not_asked_for(app: App, attributes: dict[str, Any]) -> None:
    """The last one tells of a call that is over."""
    app.tracer().start_span("span", attributes=attributes).end()
    assert app.service.asked == []


def test_a_span_that_is_written_after_the_fact_is_not_asked_for(app: App) -> None:
    app.tracer().start_span("chat", attributes=CHAT, start_time=1_700_000_000_000_000_000).end()
    assert app.service.asked == []


@pytest.mark.parametrize(
    ("attributes", "operation", "provider", "model"),
    [
        ({"llm.request.type": "chat", "gen_ai.system": "Anthropic"}, "chat", "Anthropic", ""),
        ({"openinference.span.kind": "EMBEDDING", "llm.system": "openai", "embedding.model_name": "m"}, "embeddings", "openai", "m"),
        ({"gen_ai.operation.name": "chat"}, "chat", "openai", ""),
    ],
)
def test_other_conventions_are_read(app: App, attributes: dict[str, str], operation: str, provider: str, model: str) -> None:
    """In the last one only the library's name says whom it calls."""
    app.tracer().start_span("call", attributes=attributes).end()
    asked = app.service.decisions[0]
    assert (asked["operation"], asked["provider"], asked["model"]) == (operation, provider, model)


def test_what_the_instrumentation_says_of_the_cost_settles_the_call(app: App) -> None:
    app.call(after={**USED, "gen_ai.usage.cost": 0.0000123})
    assert app.settled == {"r1": {"actual_usd": "0.0000123", "tokens": 140}}


def test_else_the_services_price_of_what_was_used_does(app: App) -> None:
    """100 tokens of prompt, of which 40 came from a cache."""
    app.service.answers["/api/v1/pricing/quote"] = {"usd": "0.00065"}
    app.call(after={**USED, "gen_ai.usage.cache_read.input_tokens": 40, "gen_ai.response.model": "gpt-4o-2024-08-06"})
    assert app.settled == {"r1": {"actual_usd": "0.00065", "tokens": 140}}
    asked = next(asked.body for asked in app.service.asked if asked.path.endswith("/quote"))
    assert asked == {
        "provider": "openai",
        "model": "gpt-4o-2024-08-06",
        "input_tokens_uncached": 60,
        "cache_read": 40,
        "output_tokens": 40,
    }


def test_a_token_that_may_not_be_told_prices_is_heard_of_once(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """And is no reason not to settle."""
    app.service.refused = {"/api/v1/pricing/quote": 403}
    app.call()
    app.call()
    assert app.settled == {"r1": {"tokens": 140}, "r2": {"tokens": 140}}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("nonsense", ["much", True, -1.0, float("nan"), float("inf")])
def test_a_cost_that_is_none_settles_nothing(app: App, nonsense: Any) -> None:
    app.call(after={"gen_ai.usage.cost": nonsense})
    assert app.settled == {"r1": {}}


# --- whose call it is, and how large -------------------------------------------------------------------------------


def test_a_call_belongs_to_whom_the_spans_above_name(app: App) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "finops.tenant": "acme"}
    tracer = app.tracer()
    with tracer.start_as_current_span("POST /ask", attributes={"session.id": "s1", "gen_ai.agent.name": "outer"}) as request:
        request.set_attribute("enduser.id", "u1")  # set after the start, and seen all the same
        with tracer.start_as_current_span("plan", attributes=agent), tracer.start_as_current_span("look up the order"):
            app.call(**{"finops.purpose": "support"})
    asked = app.service.decisions[0]
    named = {name: asked.get(name) for name in ("agent", "tenant", "session", "user", "purpose", "step", "cost_center")}
    assert named == {
        "agent": "planner",
        "tenant": "acme",
        "session": "s1",
        "user": "u1",
        "purpose": "support",
        "step": "look up the order",
        "cost_center": None,
    }


def test_or_whom_a_block_of_code_names(app: App) -> None:
    with attribution(tenant="acme", step="search", cost_center="c1"):
        app.call()
    asked = app.service.decisions[0]
    assert (asked["tenant"], asked["step"], asked["cost_center"]) == ("acme", "search", "c1")


def test_a_call_is_as_large_as_its_like_were(app: App) -> None:
    """100 and 40, then 200 and 40 tokens: a quarter of the newest weighs 125 in the mean. A limit that is said is taken."""
    app.call()
    app.call(after={**USED, "gen_ai.usage.input_tokens": 200})
    app.call()
    app.call(**{"gen_ai.request.max_tokens": 7})
    app.call(**{"gen_ai.agent.name": "another"})
    sizes = [(asked.get("input_tokens"), asked.get("max_output_tokens")) for asked in app.service.decisions]
    assert sizes == [(None, None), (100, 40), (125, 40), (119, 7), (None, None)]


def test_a_call_whose_model_is_named_too_late_costs_what_its_like_did(app: App) -> None:
    """0.002 USD, then 0.004: a quarter of the newest weighs 0.0025 in the mean."""
    quote = {"/api/v1/pricing/quote": {"usd": "0.002"}}
    for _ in range(3):
        app.service.answers = quote
        with app.tracer().start_as_current_span("openai.chat", attributes={"gen_ai.operation.name": "chat"}) as span:
            span.set_attributes({**USED, "gen_ai.request.model": "gpt-4o"})
        assert app.provider.force_flush(5_000)
        quote = {"/api/v1/pricing/quote": {"usd": "0.004"}}
    assert [(asked["model"], asked.get("estimate_usd")) for asked in app.service.decisions] == [("", None), ("", "0.002"), ("", "0.0025")]


def test_of_a_prompt_only_its_length_is_sent(app: App) -> None:
    app.call(**{"gen_ai.input.messages": '[{"secret": 1}]'})
    assert app.service.decisions[0]["text_chars"] == 15
    assert "secret" not in str(app.service.asked)


# --- one decision for one call --------------------------------------------------------------------------------------


def test_two_libraries_around_one_call_ask_once(app: App) -> None:
    with app.tracer("framework").start_as_current_span("chat gpt-4o", attributes=CHAT), app.tracer().start_as_current_span("POST"):
        app.call()
    assert len(app.service.decisions) == 1
    assert app.reservations == ["r1", None, "r1"]
    assert app.settled == {"r1": {}}
    assert sum(asked.path.endswith("/settle") for asked in app.service.asked) == 1


def test_further_calls_within_a_span_are_calls_of_their_own(app: App) -> None:
    with app.tracer("agent loop").start_as_current_span("chat gpt-4o", attributes=CHAT):
        app.call()
        app.call()
    assert app.reservations == ["r1", "r2", "r1"]
    assert sorted(app.settled) == ["r1", "r2"]


def test_a_guard_has_asked_already(app: App) -> None:
    with entered({}, decision=Held("r-guard")):
        app.call()
        app.call()
    assert app.service.decisions == []
    assert app.reservations == ["r-guard", "r-guard"]
    assert app.settled == {}


def test_the_model_that_a_guard_must_not_use_any_more_is_not_called(app: App) -> None:
    with entered({}, decision=Held("r-guard", "gpt-4o")):
        with pytest.raises(CallBlocked, match=r"told to use another model than gpt-4o: call the one in its `model`\.") as stopped:
            app.call()
        app.call(**{"gen_ai.request.model": "gpt-4o-mini"})
    assert stopped.value.action == "downgrade"
    assert app.reservations == ["r-guard"]


def test_calls_on_other_threads_of_control_ask_for_themselves(app: App) -> None:
    """A span that was left open somewhere else covers nothing here."""
    app.tracer().start_span("chat gpt-4o", attributes=CHAT)
    token = context.attach(context.Context())
    app.call()
    context.detach(token)
    assert len(app.service.decisions) == 2


# --- the service is away ---------------------------------------------------------------------------------------------


def test_an_open_client_makes_calls_without_the_service(service: FakeService) -> None:
    app = App(service)
    service.status = 503
    app.call()
    assert app.reservations == [None]
    app.provider.shutdown()


def test_a_closed_one_does_not(service: FakeService) -> None:
    app = App(service, fail="closed")
    service.status = 503
    with pytest.raises(CallBlocked, match="fail closed") as caught:
        app.call()
    assert caught.value.http_status == 503
    app.provider.shutdown()


def test_a_price_that_makes_no_sense_is_none(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.service.answers["/api/v1/pricing/quote"] = {"usd": "a lot"}
    app.call()
    app.call()
    assert app.settled == {"r1": {"tokens": 140}, "r2": {"tokens": 140}}
    assert ["makes no sense" in record.getMessage() for record in caplog.records] == [True]


def test_settling_keeps_nobody_waiting(service: FakeService) -> None:
    app = App(service, timeout_s=0.2)
    app.call()
    service.delay_s = 1.0
    app.provider.force_flush(5_000)
    assert not app.processor._service.settlements._waiting
    app.provider.shutdown()


# --- a fault of the client itself ---------------------------------------------------------------------------------------


def broken(*_: object) -> Any:
    raise LookupError("an oversight")


@pytest.mark.parametrize("part", ["is_call", "asked_of"])
def test_a_fault_of_the_client_is_no_reason_that_a_call_fails(
    app: App, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"otel_finops.client.enforce.{part}", broken)
    app.call()
    app.call()
    assert (len(app.spans), app.service.asked) == (2, [])
    assert caplog.messages == ["A model call could not be decided on."]


def test_but_a_closed_client_makes_no_call_undecided(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(service, fail="closed")
    monkeypatch.setattr("otel_finops.client.enforce.asked_of", broken)
    with pytest.raises(CallBlocked, match="The client itself failed"):
        app.call()
    app.tracer().start_span("no call").end()
    app.provider.shutdown()


def test_nor_that_an_answer_is_lost(app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("otel_finops.client.enforce.usage_of", broken)
    app.call()
    assert len(app.spans) == 1
    assert caplog.messages == ["What a model call came to could not be told."]


def test_a_number_of_another_library_is_a_cost_too(app: App) -> None:
    class Float64(float):
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    app.call(after={"gen_ai.usage.cost": Float64(0.25)})
    app.call(after={"gen_ai.usage.cost": 3})
    assert app.settled == {"r1": {"actual_usd": "0.25"}, "r2": {"actual_usd": "3"}}


# --- instrumentations that swallow ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scope",
    [
        "openinference.instrumentation.openai",
        "logfire.openai",
        "com.anthropic.sdk.python",
        "opentelemetry.instrumentation.openai_agents",
        "opentelemetry.instrumentation.genai.langchain",
    ],
)
def test_where_an_exception_would_be_swallowed_nothing_is_asked(app: App, caplog: pytest.LogCaptureFixture, scope: str) -> None:
    """To raise there would only lose the span, and the cost of the call with it."""
    app.service.action = "block"
    for _ in range(3):
        app.call(scope=scope)
    assert len(app.spans) == 3
    assert app.service.asked == []
    assert ["Put a guard around them" in record.getMessage() for record in caplog.records] == [True]


def test_the_vendors_sdk_below_such_a_library_is_asked_for_itself(app: App) -> None:
    app.service.action = "block"
    with (
        app.tracer("openinference.instrumentation.langchain").start_as_current_span("ChatOpenAI", attributes=CHAT),
        pytest.raises(CallBlocked),
    ):
        app.call()
    assert len(app.service.decisions) == 1


def test_nor_is_it_told_of_within_a_guard_which_has_asked(app: App, caplog: pytest.LogCaptureFixture) -> None:
    with entered({}, decision=Held("r-guard", "gpt-4o")):
        app.call("openinference.instrumentation.openai")
    assert app.reservations == ["r-guard"]
    assert caplog.messages == []


def test_unless_the_settings_insist(service: FakeService) -> None:
    app = App(service, insist=True)
    app.call(scope="openinference.instrumentation.openai")
    service.action = "block"
    with pytest.raises(CallStopped) as caught:
        app.call(scope="openinference.instrumentation.openai")
    assert not isinstance(caught.value, Exception)
    assert caught.value.blocked.decision_id == "d2"
    with pytest.raises(CallBlocked):
        app.call()
    app.provider.shutdown()


# --- memory ----------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_of_spans_that_ended(app: App) -> None:
    gc.collect()
    kept = len(blocks._parents)
    with app.tracer().start_as_current_span("turn"):
        for _ in range(20):
            app.call()
    gc.collect()
    assert (len(app.processor._live), len(app.processor._covered), len(blocks._parents)) == (0, 0, kept)


def test_spans_that_never_end_are_forgotten(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.client.enforce.LIVE_MAX", 3)
    open_spans = [app.tracer().start_span("chat", attributes=CHAT) for _ in range(5)]
    assert len(app.processor._live) == 3
    for span in open_spans:
        span.end()
    assert sorted(app.settled) == ["r3", "r4", "r5"]


def test_kinds_that_were_not_made_for_longest_are_forgotten(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.client.habits.KINDS_MAX", 2)
    for name in ("a", "b", "c", "a"):
        app.call(name=name)
    assert "input_tokens" not in app.service.decisions[-1]


# --- installing ------------------------------------------------------------------------------------------------------


def test_installing_twice_asks_once(service: FakeService) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    settings = ClientSettings(url=service.url)
    assert install(provider, settings)
    assert install(provider, settings)
    provider.get_tracer("some.openai").start_span("chat", attributes=CHAT).end()
    assert len(service.decisions) == 1
    provider.shutdown()


@pytest.mark.parametrize(("settings", "told"), [({}, 0), ({"fail": "closed"}, 1), ({"token": "ofk_1"}, 1)])
def test_without_an_address_nothing_is_installed(settings: dict[str, Any], told: int, caplog: pytest.LogCaptureFixture) -> None:
    """Which is told where somebody seems to have meant otherwise."""
    assert not install(TracerProvider(shutdown_on_exit=False), ClientSettings(**settings))
    assert ["OTEL_FINOPS_URL is not set" in record.getMessage() for record in caplog.records] == [True] * told


def test_without_an_sdk_it_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    assert not install(trace.NoOpTracerProvider(), ClientSettings(url="http://127.0.0.1:1"))
    assert "Call otel_finops.client.enforce.install()" in caplog.text


def test_nor_is_anything_else_a_reason_not_to_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("otel_finops.client.enforce.install", broken)
    load()
    assert caplog.messages == ["Model calls are not governed."]


def test_wrong_settings_are_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_FINOPS_FAIL", "sometimes")
    load()
    assert (caplog.records[0].levelno, "OTEL_FINOPS_FAIL must be open or closed" in caplog.text) == (logging.ERROR, True)
