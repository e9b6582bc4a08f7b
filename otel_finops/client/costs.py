"""What a finished call or turn cost, as the service has it: for the application's own row."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from opentelemetry import trace

from otel_finops.base.errors import BadInput
from otel_finops.base.money import parse_usd
from otel_finops.client.attribution import current_trace, said
from otel_finops.client.faults import ServiceAway
from otel_finops.client.rates import Rates
from otel_finops.client.service import Service, the_service
from otel_finops.client.transport import Answer
from otel_finops.client.usage import Usage, told_by

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
"""Between questions while one waits: a trace is booked some hundredths of a second after its root has come, or seconds if it has not."""
_TOKENS: Final = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output")
"""Counts that do not overlap."""
WAIT_MAX_S: Final = 300.0
"""Nobody waits longer for a cost; a mistyped unit is refused instead of hanging an application."""
_NONSENSE: Final = 200
"""The status of an answer that was none."""
_PRICED_BY: Final = ("provider", "model", "service_tier", "tenant", "user", "agent", "cost_center", "purpose")
"""What a price may depend on beside the counts: what is called, and whose contract, discount or flat fee holds."""


class Cost(NamedTuple):
    """What something cost.

    Attributes:
        usd: a plain decimal string; None where the call has no price, which is not 0.
        trace_id: 32 hex digits, by which the service shows it; None where nothing is traced.
        booked: the ledger has it and waits for nothing more of it; False: a price that will be booked, or a sum that may still grow.
        unpriced_calls: calls without a price, which `usd` leaves out.
        calls, tokens: how many; tokens are prompt and output.
        currency: always `USD`: other currencies are a question of dates, which the service answers in its reports.
    """

    usd: str | None
    trace_id: str | None
    booked: bool
    unpriced_calls: int = 0
    calls: int = 1
    tokens: int = 0
    currency: str = "USD"

    @property
    def amount(self) -> Decimal | None:
        """`usd` as a number."""
        return None if self.usd is None else Decimal(self.usd)


def cost(
    answer: object = None,
    *,
    provider: str | None = None,
    model: str | None = None,
    usage: Usage | None = None,
    trace_id: str | int | None = None,
    span_id: str | int | None = None,
    wait: float = 0.0,
    service: Service | None = None,
) -> Cost | None:
    """What one finished call cost.

        cost(answer, provider="openai")                      # by the price book, contracts and discounts of now, at once
        cost(trace_id=..., span_id=..., wait=10)             # as it stands in the ledger

    Args:
        answer: the provider's whole answer, object or dict (OpenAI, Anthropic); or give `model` and `usage`.
        provider: who bills, in any spelling.
        trace_id, span_id: of the span that shows the call; hexadecimal, or numbers as the SDK has them.
        wait: how long to wait until the ledger has it, seconds.

    Returns:
        None when metering is off, when the service does not know it in time, or may not tell it. Nothing is raised for the service.

    Raises:
        BadInput: neither an answer with its provider nor a span is given, or an environment variable is wrong.
    """
    service = service or the_service()
    if span_id is not None:
        return _waited(service, _row_path(_traced(trace_id), span_id), functools.partial(_of_row, service), wait)
    told = told_by(answer)
    usage, model = usage or told.usage, model or told.model
    if provider is None or usage is None:
        raise BadInput("cost: give the provider's answer with its usage and the provider, or trace_id and span_id of a span")
    call = {**said(), "provider": provider, "model": model, "service_tier": told.service_tier}
    answered = _asked(service, _described(call, usage))
    return None if answered is None else _understood(service, functools.partial(_of_quote, usage), answered)


def trace_cost(trace_id: str | int | None = None, *, wait: float = 0.0, service: Service | None = None) -> Cost | None:
    """What all calls of a trace cost, such as those of one turn of a conversation.

    Spans that this process has ended are sent before anybody waits. What other processes of the trace send later joins it later.

    Args:
        trace_id: hexadecimal, or a number as the SDK has it; None: the trace of the current span.
        wait: how long to wait until it is booked, seconds. A trace whose root has not ended is booked when it was quiet for as long as
            the service's `ledger.settle_after` says.

    Returns:
        As `cost`; when the time is up before all is booked, what is known, with `booked` False.

    Raises:
        BadInput: no trace is named and no span is current, or an environment variable is wrong.
    """
    return _waited(service or the_service(), f"/traces/{_hex(_traced(trace_id), 32)}?sums_only=true", _of_trace, wait)


async def cost_async(answer: object = None, **more: Any) -> Cost | None:
    """`cost`, without keeping the event loop."""
    return await asyncio.to_thread(cost, answer, **more)


async def trace_cost_async(trace_id: str | int | None = None, *, wait: float = 0.0, service: Service | None = None) -> Cost | None:
    """`trace_cost`, without keeping the event loop."""
    return await asyncio.to_thread(trace_cost, trace_id, wait=wait, service=service)


def price_of(service: Service, call: Mapping[str, Any], usage: Usage) -> str | None:
    """What the service would book for a call (fields of a decision) with these counts, USD; None where it has no price to tell."""
    answered = _asked(service, _described(call, usage))
    return None if answered is None else _understood(service, _usd, answered)


def rates_of(service: Service, call: Mapping[str, Any], prompt_tokens: int = 0) -> Rates | None:
    """What tokens of a call's model (fields of a decision) cost by the service's prices of now, for a prompt of this length; None where
    nobody knows, as `cost`."""
    plain = _described(call, Usage(input_uncached=max(prompt_tokens, 1), output=1))
    cached = {**plain, "cache_read": 1, "cache_write_5m": 1, "cache_write_1h": 1}
    answered = _asked(service, {"calls": [cached, plain]})
    return None if answered is None else _understood(service, _of_quotes, answered)


# --- asking --------------------------------------------------------------------------------------------------------------


def _described(call: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    return {name: call[name] for name in _PRICED_BY if call.get(name) is not None} | usage.record()


def _asked(service: Service, call: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The service's price of a call; None when it has none to tell."""
    if not service.meters():
        return None
    try:
        answer = service.transport.post("/pricing/quote", call)
        if answer.status == 404:  # a tenant for which the token does not speak: the call is booked under the token's own
            answer = service.transport.post("/pricing/quote", _without_tenant(call))
        return _body(service, answer)
    except ServiceAway as fault:
        _log.debug("No price was told: %s", fault)
        return None


def _without_tenant(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [_without_tenant(one) for one in value] if name == "calls" else value for name, value in call.items() if name != "tenant"}


def _waited(service: Service, path: str, read: Callable[[Mapping[str, Any]], Cost | None], wait: float) -> Cost | None:
    """What a path answers, asked again until it is booked or the time is up."""
    if not 0.0 <= wait <= WAIT_MAX_S:
        raise BadInput(f"wait: seconds from 0 to {WAIT_MAX_S:g}, not {wait:g}")
    if not service.settings.on:
        return None
    deadline, pause_s = time.monotonic() + wait, _FIRST_PAUSE_S
    if wait:
        _send_ended_spans(wait)
    while True:
        known = _read(service, path, read)
        left_s = deadline - time.monotonic()
        if (known is not None and known.booked) or left_s <= 0 or not service.meters():
            return known
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def _read(service: Service, path: str, read: Callable[[Mapping[str, Any]], Cost | None]) -> Cost | None:
    try:
        body = _body(service, service.transport.get(path))
    except ServiceAway as fault:
        _log.debug("No cost was told: %s", fault)
        return None
    return None if body is None else _understood(service, read, body)


def _body(service: Service, answer: Answer) -> Mapping[str, Any] | None:
    """What was asked for. What is not there yet is nothing to tell of; a token that may not ask is."""
    if answer.ok and answer.body:
        return answer.body
    if answer.status != 404 and service.first_time(answer.status):
        _log.warning("The service does not tell what calls cost (status %d): %s", answer.status, answer.detail)
    return None


def _send_ended_spans(wait: float) -> None:
    """Have the tracer provider export what it holds, for at most so long: exporters have time-outs of their own, and longer ones."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is None:
        return
    sending = threading.Thread(target=flush, args=(round(wait * 1000),), name="otel-finops-client-flush", daemon=True)
    try:
        sending.start()
    except RuntimeError:  # no new thread, as at the interpreter's end
        return
    sending.join(wait)


def _understood(service: Service, read: Callable[[Mapping[str, Any]], _T | None], body: Mapping[str, Any]) -> _T | None:
    """What an answer says; None where it is not of the agreed form, as a proxy's: that is no reason to fail an application."""
    try:
        return read(body)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        if service.first_time(_NONSENSE):
            _log.warning("The service's answer makes no sense; what calls cost is not known.")
        return None


# --- reading -------------------------------------------------------------------------------------------------------------


def _of_quote(usage: Usage, answered: Mapping[str, Any]) -> Cost:
    usd = _usd(answered)
    return Cost(usd, current_trace(), False, int(usd is None), 1, usage.prompt + usage.output)


def _of_trace(body: Mapping[str, Any]) -> Cost:
    steps = [step for step in body.get("steps") or () if isinstance(step, Mapping)]
    calls, tokens = (sum(int(step.get(name) or 0) for step in steps) for name in ("calls", "tokens"))
    return Cost(
        _amount(body["total_usd"]), str(body["trace_id"]), body.get("pending") is False, int(body.get("unpriced_calls") or 0), calls, tokens
    )


def _of_row(service: Service, body: Mapping[str, Any], *, follow: bool = True) -> Cost | None:
    """A row that shows a call once more is told as that call; a sum of calls costs nothing beside them; what was taken back is none."""
    row = body.get("standing")
    if not isinstance(row, Mapping):
        return None
    counted_in = row.get("counted_in")
    if follow and row.get("role") == "duplicate" and isinstance(counted_in, Mapping):
        path = _row_path(str(counted_in.get("trace_id")), str(counted_in.get("span_id")))
        return _read(service, path, functools.partial(_of_row, service, follow=False))
    if row.get("role") != "call":
        return Cost("0", str(body["trace_id"]), True, calls=0)
    counts, usd = row.get("usage") or {}, row.get("cost_usd")
    return Cost(
        None if usd is None else _amount(usd),
        str(body["trace_id"]),
        True,
        int(usd is None),
        1,
        sum(int(counts.get(unit, 0)) for unit in _TOKENS),
    )


def _row_path(trace_id: str | int, span_id: str | int) -> str:
    return f"/usage/{_hex(trace_id, 32)}/{_hex(span_id, 16)}"


def _of_quotes(answered: Mapping[str, Any]) -> Rates | None:
    """The rates of the first call that has a price."""
    priced = (quoted for quoted in answered.get("quotes") or () if quoted.get("usd") is not None)
    return next((Rates.of_lines(quoted["lines"]) for quoted in priced), None)


def _usd(answered: Mapping[str, Any]) -> str | None:
    """The amount of an answer, once it is seen to be one."""
    usd = answered.get("usd")
    return None if usd is None else _amount(usd)


def _amount(usd: str) -> str:
    """An amount as the service writes it; raises for what is none."""
    parse_usd(usd)
    return usd


def _traced(trace_id: str | int | None) -> str | int:
    found = current_trace() if trace_id is None else trace_id
    if found is None:
        raise BadInput("trace_id: no span is current, so say which trace")
    return found


def _hex(given: str | int, digits: int) -> str:
    return f"{given:0{digits}x}" if isinstance(given, int) else quote(given.lower(), safe="")
