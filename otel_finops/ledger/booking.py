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
_PARTIAL: Final = Entry._fields.index("partial")
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
        if decision.role != ROLE_CALL:
            return _row(decision, trace_no, _NO_PRICE)
        quote = self._quote(decision.sighting)
        row = _row(decision, trace_no, quote)
        source = self._priced_before(row)
        if source is None or not _holds(source, quote):
            return row
        return _with_price_of(row, source)

    def _quote(self, sighting: Sighting) -> Quote:
        return self._engine.quote(self._engine.priceable(sighting))

    def _index(self, rows: Iterable[Entry]) -> None:
        for row in rows:
            if row.role == ROLE_CALL and (row.request_model or row.response_model):
                self._known.setdefault(_hashable(_inputs(row)), row)

    def _priced_before(self, facts: Entry) -> Entry | None:
        """A booked call with the same price inputs: the span's own, else another one's; None when there is none."""
        if not self._booked:
            return None
        own = self._booked.get(facts.key)
        if own is not None and own.net is not None and own.net.role == ROLE_CALL and _inputs(own.net) == _inputs(facts):
            return own.net
        return self._known.get(_hashable(_inputs(facts)))


def _holds(source: Entry, quote: Quote) -> bool:
    """Whether a booked price still holds where today's quote is `quote`.

    Under another price book it does: history is not priced anew. Under the same book another row means that the names to look
    up have changed, for example because a late twin knows the model. What is unpriced holds nothing.
    """
    if source.cost_pico is None:
        return quote.cost_pico is None and quote.unpriced_reason == source.unpriced_reason and quote.price_key == source.price_key
    return quote.price_version != source.price_version or quote.price_key == source.price_key


def _hashable(inputs: PriceInputs) -> PriceInputs:
    return (*inputs[:_USAGE], tuple(sorted(inputs[_USAGE].items())), *inputs[_USAGE + 1 :])


def _with_price_of(facts: Entry, source: Entry) -> Entry:
    """`_replace` by slices, since in a replay every call passes here; whether the call is partial is its own fact."""
    return Entry._make((
        *facts[:_PRICE], *source[_PRICE:_PARTIAL], facts[_PARTIAL], *source[_PARTIAL + 1 : _PRICE_END], *facts[_PRICE_END:]
    ))  # fmt: skip


def _row(decision: Decision, trace_no: int, price: Quote) -> Entry:
    """The charge for a decision at a price; user and session of a sighting from the journal are references already.

    Made in the order of `Entry`'s fields without naming them, since every entry passes here and names cost as much as the rest.
    """
    sighting = decision.sighting
    (
        realm, trace_id, span_id, parent_span_id, _name, start_ns, end_ns, _kind, _genai, _instance, _scope, _rank, _dialect, _links,
        operation, provider, request_model, response_model, _price_models, _response_id, usage, _readings, usage_source, usage_rule,
        _missing_reason, service_tier, region, region_kind, speed, streaming, error_type, partial, reported_pico, reported_source,
        attribution, _defaults, tags, _dropped, _speaks_for, _from_cache,
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
