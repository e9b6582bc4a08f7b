"""From decisions to the charges that should stand: which facts are booked, and when a booked price is kept.

A price is a pure function of its inputs and the price book. Whatever was booked from equal inputs is therefore kept, with
the version that made it: a later price book never touches history, also when a call moves from one span to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final, TypeAlias

from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.sighting import Decision, Sighting
from otel_finops.ledger.entry import CHARGE, ROLE_CALL, Entry
from otel_finops.ledger.standing import EntryKey, Standing
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import Quote

PriceInputs: TypeAlias = tuple[Any, ...]

_INPUT_FIELDS: Final = (
    "provider", "request_model", "response_model", "usage", "usage_source", "service_tier", "region", "region_kind", "speed",
    "error_type", "started_ns",
)  # fmt: skip
_NO_PRICE: Final = Quote(None, "")
"""Stands where a row has no money of its own, or not yet."""
_inputs: Final = itemgetter(*(Entry._fields.index(name) for name in _INPUT_FIELDS))


class Booking:
    """Makes the target rows of one settling round."""

    def __init__(self, engine: PriceEngine, booked: dict[EntryKey, Standing]) -> None:
        self._engine = engine
        self._booked = booked
        self._known: dict[PriceInputs, Entry] = {}
        self._index(state.net for state in booked.values() if state.net is not None)

    def target(self, decision: Decision, trace_no: int) -> Entry:
        """The charge that should stand for a decided span."""
        sighting = decision.sighting
        if decision.role != ROLE_CALL:
            return _row(decision, trace_no, _NO_PRICE)
        if not self._booked:
            return _row(decision, trace_no, self._quote(sighting))
        facts = _row(decision, trace_no, _NO_PRICE)
        source = self._priced_before(facts)
        if source is None or _missing_reason_changed(source, sighting):
            return _row(decision, trace_no, self._quote(sighting))
        return self._kept(facts, source, sighting)

    def _quote(self, sighting: Sighting) -> Quote:
        return self._engine.quote(self._engine.priceable(sighting))

    def _index(self, rows: Iterable[Entry]) -> None:
        for row in rows:
            if row.role == ROLE_CALL and (row.request_model or row.response_model):
                self._known.setdefault(_hashable(_inputs(row)), row)

    def _priced_before(self, facts: Entry) -> Entry | None:
        """A booked call with the same price inputs: the span's own, else another one's.

        A call whose model is inherited has no model of its own to compare, so only an equal price key shows equal inputs.
        """
        if not self._booked:
            return None
        own = self._booked.get(facts.key)
        if own is not None and own.net is not None and own.net.role == ROLE_CALL and _inputs(own.net) == _inputs(facts):
            return own.net
        return self._known.get(_hashable(_inputs(facts)))

    def _kept(self, facts: Entry, source: Entry, sighting: Sighting) -> Entry:
        if sighting.partial == source.partial and (source.request_model or source.response_model):
            return _with_price_of(facts, source)
        quote = self._quote(sighting)
        if not (source.request_model or source.response_model) and quote.price_key != source.price_key:
            return _with_quote(facts, quote)
        return _with_price_of(facts, source)._replace(partial=sighting.partial or quote.partial)


def _missing_reason_changed(source: Entry, sighting: Sighting) -> bool:
    reason = sighting.missing_reason
    return reason is not None and source.unpriced_reason is not None and source.unpriced_reason != reason


def _hashable(inputs: PriceInputs) -> PriceInputs:
    return tuple(tuple(sorted(value.items())) if isinstance(value, dict) else value for value in inputs)


def _with_quote(facts: Entry, quote: Quote) -> Entry:
    return facts._replace(
        cost_pico=quote.cost_pico,
        cost_lines=quote.lines,
        cost_method=quote.method,
        price_key=quote.price_key,
        price_match=quote.price_match,
        price_version=quote.price_version,
        partial=facts.partial or quote.partial,
        unpriced_reason=quote.unpriced_reason,
    )


def _with_price_of(facts: Entry, source: Entry) -> Entry:
    return facts._replace(
        cost_pico=source.cost_pico,
        cost_lines=source.cost_lines,
        cost_method=source.cost_method,
        price_key=source.price_key,
        price_match=source.price_match,
        price_version=source.price_version,
        partial=source.partial,
        unpriced_reason=source.unpriced_reason,
    )


def _row(decision: Decision, trace_no: int, price: Quote) -> Entry:
    """The charge for a decision at a price; user and session of a sighting from the journal are references already."""
    sighting = decision.sighting
    said = sighting.attribution.get
    return Entry(
        CHARGE,
        sighting.realm,
        said("tenant") or DEFAULT_TENANT,
        sighting.trace_id,
        sighting.span_id,
        sighting.parent_span_id,
        decision.role,
        sighting.start_ns,
        trace_no=trace_no,
        role_rule=decision.rule,
        counted_in=decision.counted_in,
        operation=sighting.operation,
        provider=sighting.provider,
        request_model=sighting.request_model,
        response_model=sighting.response_model,
        usage=sighting.usage,
        usage_source=sighting.usage_source,
        usage_rule=sighting.usage_rule,
        service_tier=sighting.service_tier,
        region=sighting.region,
        region_kind=sighting.region_kind,
        speed=sighting.speed,
        streaming=sighting.streaming,
        error_type=sighting.error_type,
        cost_pico=price.cost_pico,
        cost_lines=price.lines,
        cost_method=price.method or None,
        price_key=price.price_key,
        price_match=price.price_match,
        price_version=price.price_version,
        partial=sighting.partial or price.partial,
        unpriced_reason=price.unpriced_reason,
        reported_pico=sighting.reported_pico,
        reported_source=sighting.reported_source,
        agent=said("agent"),
        step=said("step"),
        tool=said("tool"),
        workflow=said("workflow"),
        user=said("user"),
        session=said("session"),
        cost_center=said("cost_center"),
        purpose=said("purpose"),
        service=said("service"),
        environment=said("environment"),
        reservation_id=said("reservation"),
        duration_ns=sighting.end_ns - sighting.start_ns,
        tags=sighting.tags,
    )
