"""Budgets and policies for an application that knows nothing of them: a span processor asks before each model call that is instrumented.

`opentelemetry-instrument` loads `load` by an entry point; applications that set up the SDK themselves call `install`.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_finops.base.errors import BadInput
from otel_finops.base.money import PICO_MAX, PICO_PER_USD, format_usd
from otel_finops.client.attribution import RESERVATION, Held, held, remember_parent, spans_above, stamp_spans
from otel_finops.client.costs import price_of
from otel_finops.client.decisions import Decision
from otel_finops.client.faults import CallBlocked, CallStopped
from otel_finops.client.habits import Habits, Kind
from otel_finops.client.service import Service
from otel_finops.client.settings import INSIST, URL, ClientSettings
from otel_finops.client.settling import Came
from otel_finops.client.spans import answered_by, asked_of, is_call, scope_of, usage_of
from otel_finops.client.usage import Usage

_log: Final = logging.getLogger(__name__)

SWALLOWING: Final = (
    "openinference.instrumentation.", "logfire", "com.anthropic.sdk.python", "opentelemetry.instrumentation.openai_agents",
    "opentelemetry.instrumentation.genai.langchain",
)  # fmt: skip
"""Beginnings of the names of libraries that catch whatever an SDK raises when a span starts, or run in a framework's callback that does,
and make the call without a span."""
LIVE_MAX: Final = 10_000
"""Calls that run at the same time in one process; of more, or of spans that never end, the oldest settle by their expiry."""
DECISION: Final = "finops.decision"
"""What was decided, on spans of calls that were let through with something to say."""


class _Live(NamedTuple):
    """A call that runs.

    Attributes:
        reservation_id: what is held for it; None where nothing is.
        kind: by which its size is remembered; empty for a span that shares another one's decision, whose end settles nothing.
        call: what was asked for.
    """

    reservation_id: str | None
    kind: Kind = ()
    call: Mapping[str, Any] = MappingProxyType({})


class EnforcingProcessor(SpanProcessor):
    """Asks for a decision when a span of a model call starts, and stops the call by raising when it must not be made.

    What is held for a call is stamped on its span as `finops.reservation` and settled when the span ends. A span within a guard, or right
    within the span of the same call by an outer library, is covered by that one's decision. There is no lock, which a fork could leave
    locked for ever: each step on what is shared is one operation of a built-in type.

    Args:
        settings: None: from the environment.

    Raises:
        BadInput: an environment variable is wrong.
    """

    def __init__(self, settings: ClientSettings | None = None) -> None:
        self._service = Service(settings)
        self._settings = self._service.settings
        self._habits = Habits()
        self._live: OrderedDict[int, _Live] = OrderedDict()
        self._covered: set[int] = set()
        self._told: set[str] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Ask whether the call may be made.

        Raises:
            CallBlocked: it must not be; the instrumentation hands this on to the application, and the provider is not called.
            CallStopped: the same under an instrumentation that swallows exceptions, when the settings insist.
        """
        call = False
        try:
            remember_parent(span, parent_context)
            call = is_call(span)
            if call:
                self._decide(span, parent_context)
        except CallBlocked:
            raise
        except Exception:  # noqa: BLE001 - a fault of ours is no reason that a call fails, unless it must not be made undecided
            self._tell_once("start", "A model call could not be decided on.")
            undecided = self._service.desk.undecided("The client itself failed.")
            if call and undecided.halts:
                raise self._stop(span, undecided) from None

    def _decide(self, span: Span, parent_context: Context | None) -> None:
        guarded = held(parent_context)
        if guarded is not None:
            self._follow(span, parent_context, guarded)
        elif not self._reaches_the_application(span):
            self._tell_of(scope_of(span))
        elif (outer := self._cover(span)) is not None:
            self._run(span, _Live(outer.reservation_id))
        else:
            self._ask(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Settle what was held for the call, and learn how large it was; never raises, as the answer is there."""
        try:
            self._settle(span)
        except Exception:  # noqa: BLE001 - as above
            self._tell_once("end", "What a model call came to could not be told.")

    def _settle(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        number = context.span_id if context else 0
        live = self._live.pop(number, None)
        self._covered.discard(number)
        if live is None or not live.kind:
            return
        attributes = span.attributes or {}
        usage = usage_of(attributes)
        if usage is not None:
            self._habits.learn(live.kind, usage)
        if live.reservation_id is not None:
            self._service.settlements.add(live.reservation_id, self._came(live, attributes, usage))

    def _came(self, live: _Live, attributes: Mapping[str, Any], usage: Usage | None) -> Came:
        """What a call came to: as reported, else by the service's price, which is asked for when it is settled."""
        reported = _cost(attributes.get("gen_ai.usage.cost"))
        if usage is None:
            return Came(reported)
        price = functools.partial(self._price, live.kind, {**live.call, "model": answered_by(attributes)}, usage)
        return Came(price if reported is None else reported, usage.prompt + usage.output)

    def _price(self, kind: Kind, call: Mapping[str, Any], usage: Usage) -> str | None:
        usd = price_of(self._service, call, usage)
        if usd is not None:
            self._habits.learn_cost(kind, usd)
        return usd

    def shutdown(self) -> None:
        """Tell what has ended, for as long as one question may take, and hang up."""
        self._service.settlements.flush(self._settings.timeout_s)
        self._service.desk.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the ends of all finished calls are told."""
        return self._service.settlements.flush(timeout_millis / 1000)

    # --- one call ------------------------------------------------------------------------------------------------

    def _ask(self, span: Span, parent_context: Context | None) -> None:
        call = asked_of(span, parent_context)
        kind = (scope_of(span), span.name, call["model"], call.get("agent", ""))
        usual = self._habits.size(kind)
        if "text_chars" in call:
            usual.pop("input_tokens", None)
        cost = {} if call["model"] else self._habits.cost(kind)
        decision = self._service.desk.ask({**usual, **cost, **call})
        if decision.halts:
            _note(trace.get_current_span(parent_context), decision)
            raise self._stop(span, decision)
        if decision.action != "allow":
            span.set_attribute(DECISION, decision.action)
        self._run(span, _Live(decision.reservation_id, kind, call))

    def _follow(self, span: Span, parent_context: Context | None, guarded: Held) -> None:
        """Keep to what a guard was told: a model that it must not use any more is not called."""
        refused = guarded.refused_model is not None and asked_of(span, parent_context)["model"] == guarded.refused_model
        if refused and self._reaches_the_application(span):
            why = f"The guard around it was told to use another model than {guarded.refused_model}: call the one in its `model`."
            raise self._stop(span, Decision("downgrade", 402, ({"text": why},)))
        self._run(span, _Live(guarded.reservation_id))

    def _stop(self, span: Span, decision: Decision) -> BaseException:
        blocked = decision.blocked()
        return CallStopped(blocked) if scope_of(span).startswith(SWALLOWING) else blocked

    def _run(self, span: Span, live: _Live) -> None:
        """Let the call through, with what is held for it on its span."""
        if live.reservation_id is not None and RESERVATION not in (span.attributes or {}):
            span.set_attribute(RESERVATION, live.reservation_id)
        self._live[span.get_span_context().span_id] = live
        if len(self._live) > LIVE_MAX:
            forgotten, _ = self._live.popitem(last=False)
            self._covered.discard(forgotten)

    def _cover(self, span: Span) -> _Live | None:
        """The decision of the same call's span by an outer library; it covers the first call within it, further ones are calls of their
        own."""
        for above in spans_above(span):
            number = above.get_span_context().span_id
            live = self._live.get(number)
            if live is not None:
                first = number not in self._covered
                self._covered.add(number)
                return live if first else None
        return None

    def _reaches_the_application(self, span: Span) -> bool:
        """Whether raising would."""
        return self._settings.insist or not scope_of(span).startswith(SWALLOWING)

    def _tell_once(self, what: str, message: str) -> None:
        """Within the handling of an exception."""
        if what not in self._told:
            self._told.add(what)
            _log.exception(message)

    def _tell_of(self, scope: str) -> None:
        """Tell once of a library that swallows."""
        if scope not in self._told:
            self._told.add(scope)
            _log.warning(
                "Calls that %s instruments are not governed: it swallows the exception that would stop them. Put a guard around them, or "
                "set %s=true.",
                scope,
                INSIST,
            )


def _note(parent: trace.Span, decision: Decision) -> None:
    """Leave a word of a blocked call in the trace: the call itself has no span, as nothing was called."""
    said = {DECISION: decision.action, "finops.decision.id": decision.decision_id, "finops.decision.reason": decision.why}
    parent.add_event("finops.call_blocked", {key: value for key, value in said.items() if value})


def _cost(reported: Any) -> str | None:
    """What an instrumentation says that the call cost, as a decimal string; None where it says nothing of use."""
    if not isinstance(reported, (int, float)) or isinstance(reported, bool) or not 0 <= reported <= PICO_MAX / PICO_PER_USD:
        return None
    exact = Decimal(int(reported)) if isinstance(reported, int) else Decimal(repr(float(reported)))
    return format_usd(round(exact * PICO_PER_USD))


# --- installing ----------------------------------------------------------------------------------------------------


@runtime_checkable
class _TakesProcessors(Protocol):
    def add_span_processor(self, span_processor: SpanProcessor) -> None: ...


_installed: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def install(provider: trace.TracerProvider | None = None, settings: ClientSettings | None = None) -> bool:
    """Have a tracer provider's model calls governed; more than once is once.

    Args:
        provider: None: the global one, which has to be set by then.
        settings: None: from the environment.

    Returns:
        Whether it is: not without an address of the service, nor when there is no SDK to add a processor to.

    Raises:
        BadInput: the settings are wrong.
    """
    settings = settings or ClientSettings.from_environment()
    provider = provider or trace.get_tracer_provider()
    if not settings.on:
        meant = settings.fail == "closed" or settings.token is not None
        _log.log(logging.WARNING if meant else logging.DEBUG, "%s is not set: model calls are not governed.", URL)
        return False
    if not isinstance(provider, _TakesProcessors):
        _log.warning(
            "Model calls are not governed: no OpenTelemetry SDK is set up yet. Call otel_finops.client.enforce.install() after it is."
        )
        return False
    if provider not in _installed:
        _installed.add(provider)
        stamp_spans(provider)
        provider.add_span_processor(EnforcingProcessor(settings))
    return True


def load() -> None:
    """What `opentelemetry-instrument` calls: `install`, and never a reason for an application not to start."""
    try:
        install()
    except BadInput as fault:
        _log.error("Model calls are not governed: %s", fault)
    except Exception:  # noqa: BLE001 - whatever it is
        _log.exception("Model calls are not governed.")
