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
_USAGE: Final = _INPUT_FIELDS.index("usage")
_NO_PRICE: Final = Quote(None, "")
"""Stands where a row has no money of its own, or not yet."""
_PRICE: Final = Entry._fields.index("cost_pico")
_PRICE_END: Final = Entry._fields.index("reported_pico")
assert Entry._fields[_PRICE:_PRICE_END] == (
    "cost_pico", "cost_lines", "cost_method", "price_key", "price_match", "price_version", "partial", "unpriced_reason",
)  # fmt: skip
_UNPLACED: Final = (-1, -1, -1, None)
assert Entry._fields[-len(_UNPLACED) :] == ("shard", "block_seq", "idx", "before")
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
    return (*inputs[:_USAGE], tuple(sorted(inputs[_USAGE].items())), *inputs[_USAGE + 1 :])


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
    """`_replace` by slices: in a replay every call passes here."""
    return Entry._make((*facts[:_PRICE], *source[_PRICE:_PRICE_END], *facts[_PRICE_END:]))


def _row(decision: Decision, trace_no: int, price: Quote) -> Entry:
    """The charge for a decision at a price; user and session of a sighting from the journal are references already.

    Made in the order of `Entry`'s fields without naming them, since every entry passes here and names cost as much as the rest.
    """
    sighting = decision.sighting
    (
        realm, trace_id, span_id, parent_span_id, _name, start_ns, end_ns, _kind, _genai, _instance, _scope, _rank, _dialect, _links,
        operation, provider, request_model, response_model, _price_models, _response_id, usage, _readings, usage_source, usage_rule,
        _missing_reason, service_tier, region, region_kind, speed, streaming, error_type, partial, reported_pico, reported_source,
        attribution, _defaults, tags, _dropped, _speaks_for,
    ) = sighting  # fmt: skip
    cost_pico, method, lines, price_key, price_match, price_version, price_partial, unpriced_reason = price
    said = attribution.get
    return Entry._make((
        CHARGE, realm, said("tenant") or DEFAULT_TENANT, trace_id, span_id, parent_span_id, decision.role, start_ns, trace_no,
        decision.rule, None, decision.counted_in, 0, operation, provider, request_model, response_model, usage, usage_source,
        usage_rule, service_tier, region, region_kind, speed, streaming, error_type, cost_pico, lines, method or None, price_key,
        price_match, price_version, partial or price_partial, unpriced_reason, reported_pico, reported_source, None, None, None, None,
        None, None, said("agent"), said("step"), said("tool"), said("workflow"), said("user"), said("session"), said("cost_center"),
        said("purpose"), said("service"), said("environment"), said("reservation"), end_ns - start_ns, 0, False, tags, *_UNPLACED,
    ))  # fmt: skip
