"""From decisions to the charges that should stand: which facts are booked, and when a booked price is kept.

A price is a pure function of its inputs, the price book and the rules about money. Whatever was booked from equal inputs is
therefore kept, with the version that made it: a later price book and later rules never touch history, also when a call moves from
one span to another. An estimate (`ledger.estimate`) is kept in the same way while nobody knows the usage. Only corrections
(`ledger.corrections`) ask for today's price.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.sighting import Decision, Sighting
from otel_finops.genai.usage import Usage
from otel_finops.ledger.entry import CHARGE, ESTIMATED, ROLE_CALL, Entry
from otel_finops.ledger.free_searches import free_searches, with_free_searches
from otel_finops.ledger.standing import MONEY_FIELDS, EntryKey, Standing, merged_lines
from otel_finops.pricing.cascade import Cascade, Charge
from otel_finops.pricing.engine import COMPUTED, PriceEngine
from otel_finops.pricing.quote import COVERED, Quote

PriceInputs: TypeAlias = tuple[Any, ...]

GUESSED: Final = "estimated"
MISSING: Final = "missing"
"""Values of `usage_source`."""

_INPUT_FIELDS: Final = (
    "provider", "request_model", "response_model", "usage", "usage_source", "service_tier", "region", "region_kind", "speed",
    "error_type", "started_ns", "reported_pico", "reported_source",
)  # fmt: skip
_NO_PRICE: Final = Charge(Quote(None, ""))
"""Stands where a row has no money of its own, or not yet."""
_PRICE: Final = Entry._fields.index("cost_pico")
_PARTIAL: Final = Entry._fields.index("partial")
_PRICE_END: Final = Entry._fields.index("agent")
assert Entry._fields[_PRICE:_PRICE_END] == (
    "cost_pico", "cost_lines", "cost_method", "price_key", "price_match", "price_version", "partial", "unpriced_reason", "reported_pico",
    "reported_source", "billed_pico", "list_pico", "contracted_pico", "effective_pico", "account", "coverage_id",
)  # fmt: skip
_UNPLACED: Final = (-1, -1, -1, None)
assert Entry._fields[-len(_UNPLACED) :] == ("shard", "block_seq", "idx", "before")
_money: Final = itemgetter(
    *map(Entry._fields.index, (*MONEY_FIELDS, "cost_method", "unpriced_reason", "reported_source", "account", "coverage_id"))
)
NO_RULES: Final = Cascade()


class Booking:
    """Makes the target rows of one settling round."""

    def __init__(self, engine: PriceEngine, booked: dict[EntryKey, Standing], cascade: Cascade = NO_RULES) -> None:
        self._engine = engine
        self._booked = booked
        self._cascade = cascade
        self._inputs = _inputs_with(cascade.asks)
        self._known: dict[PriceInputs, Entry] = {}
        self._index(state.net for state in booked.values() if state.net is not None)

    def target(self, decision: Decision, trace_no: int) -> Entry:
        """The charge that should stand for a decided span."""
        if decision.role != ROLE_CALL:
            return _row(decision, trace_no, _NO_PRICE)
        row = self._fresh(decision, trace_no)
        if not self._booked:
            return row
        source = self._priced_before(row)
        if source is not None and source.cost_method == ESTIMATED:
            row = _with_price_of(row, source)._replace(**_guess_of(source))
        elif source is not None and self._holds(source, row, decision.sighting):
            row = _with_price_of(row, source)
        return self._with_share(row) if row.cost_method == COVERED else row

    def fresh(self, decision: Decision, trace_no: int) -> Entry:
        """The charge for a decided call at today's prices, whatever was booked."""
        row = self._fresh(decision, trace_no)
        return self._with_share(row) if row.cost_method == COVERED else row

    def estimate(self, decision: Decision, trace_no: int, usage: Usage, rule: str) -> Entry:
        """The charge for a decided call without usage, as if it had used so much; unpriced where that has no price either."""
        guessed = decision.sighting._replace(usage=usage, usage_source=GUESSED, usage_rule=rule, missing_reason=None)
        row = self.fresh(decision._replace(sighting=guessed), trace_no)
        return row._replace(cost_method=ESTIMATED) if row.cost_method == COMPUTED else row

    def same_inputs(self, one: Entry, other: Entry) -> bool:
        """Whether two rows are priced from the same facts."""
        return self._inputs_of(one) == self._inputs_of(other)

    def _fresh(self, decision: Decision, trace_no: int) -> Entry:
        return _row(decision, trace_no, self._cascade.charge(self._engine, decision.sighting))

    def _holds(self, source: Entry, fresh: Entry, sighting: Sighting) -> bool:
        """Whether a booked price still holds where today's is that of `fresh`.

        Under another price book it does: history is not priced anew. While the book still has the row that made it, another row means
        that the names to look up have changed, for example because a late twin knows the model. What is unpriced holds nothing. Where
        the operator's rules spoke or speak, the row says nothing of that: a new alias leads from the same name to another row of the
        same list. There a name that still leads to the booked row shows that the others are new.
        """
        if source.cost_pico is None:
            return fresh.cost_pico is None and fresh.unpriced_reason == source.unpriced_reason and fresh.price_key == source.price_key
        if source.price_match == "override" and fresh.cost_pico is None:
            return True
        if fresh.price_key == source.price_key:
            return True
        if "override" in (source.price_match, fresh.price_match):
            return not self._leads_to(source, sighting)
        if fresh.price_version == source.price_version:
            return False
        key, version = source.price_key, source.price_version
        return key is None or version is None or not self._engine.offers(key, version, source.started_ns)

    def _leads_to(self, source: Entry, sighting: Sighting) -> bool:
        """Whether one of the call's names by itself is priced by the row that made the booked price."""
        call = self._engine.priceable(sighting)._replace(account=source.account)
        return any(self._engine.quote(call._replace(models=(name,))).price_key == source.price_key for name in call.models)

    def _with_share(self, covered: Entry) -> Entry:
        """Its own share of the flat fee, if it was spread already, and no other row's; the next spreading puts all shares right."""
        own = self._booked.get(covered.key)
        net = own.net if own is not None else None
        share = net.effective_pico if net is not None and net.coverage_id == covered.coverage_id else None
        return covered._replace(effective_pico=share)

    def _index(self, rows: Iterable[Entry]) -> None:
        for row in rows:
            if row.role == ROLE_CALL and (row.request_model or row.response_model):
                self._known.setdefault(_hashable(self._inputs_of(row)), row)

    def _priced_before(self, facts: Entry) -> Entry | None:
        """A booked call with the same price inputs: the span's own, else another one's; None when there is none."""
        own = self._booked.get(facts.key)
        inputs = self._inputs(facts)
        if own is not None and own.net is not None and own.net.role == ROLE_CALL and self._inputs_of(own.net) == inputs:
            return own.net
        return self._known.get(_hashable(inputs))

    def _inputs_of(self, row: Entry) -> PriceInputs:
        """What a row was priced from; of an estimated one, what is really known: that its usage is missing."""
        facts = row._replace(usage={}, usage_source=MISSING) if row.cost_method == ESTIMATED else row
        inputs: PriceInputs = self._inputs(facts)
        return inputs


@cache
def _inputs_with(asked: frozenset[str]) -> itemgetter[PriceInputs]:
    """Reads from a row what its price depends on: the facts, and what rules about money ask of its attribution. What they do not ask
    may come later without pricing the row anew."""
    return itemgetter(*map(Entry._fields.index, (*_INPUT_FIELDS, *sorted(asked))))


def repriced(net: Entry, fresh: Entry) -> Entry:
    """What stands, with the price of another row and nothing else of it; `net` itself where that is the same money.

    As many searches as were free stay free: which ones are is not a matter of prices (`ledger.allowances`).
    """
    fresh = with_free_searches(fresh, free_searches(net))
    if _money(net) == _money(fresh) and merged_lines(net.cost_lines) == merged_lines(fresh.cost_lines):
        return net
    return _with_price_of(net, fresh)._replace(partial=fresh.partial)


def _guess_of(source: Entry) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("usage", "usage_source", "usage_rule", "partial")}


def _hashable(inputs: PriceInputs) -> PriceInputs:
    return tuple([tuple(sorted(value.items())) if isinstance(value, dict) else value for value in inputs])


def _with_price_of(facts: Entry, source: Entry) -> Entry:
    """`_replace` by slices, since in a replay every call passes here; whether the call is partial is its own fact."""
    return Entry._make((
        *facts[:_PRICE], *source[_PRICE:_PARTIAL], facts[_PARTIAL], *source[_PARTIAL + 1 : _PRICE_END], *facts[_PRICE_END:]
    ))  # fmt: skip


def _row(decision: Decision, trace_no: int, charge: Charge) -> Entry:
    """The row for a decision and its charge; user and session of a sighting from the journal are references already.

    Made in the order of `Entry`'s fields without naming them, since every entry passes here and names cost as much as the rest.
    """
    sighting = decision.sighting
    (
        realm, trace_id, span_id, parent_span_id, _name, start_ns, end_ns, _kind, _genai, _instance, _scope, _rank, _dialect, _links,
        operation, provider, request_model, response_model, _price_models, _response_id, usage, _readings, usage_source, usage_rule,
        _missing_reason, service_tier, region, region_kind, speed, streaming, error_type, partial, reported_pico, reported_source,
        attribution, _defaults, tags, _dropped, _speaks_for, _from_cache, _finish_reasons, _guardrail, _outcome,
    ) = sighting  # fmt: skip
    (cost_pico, method, lines, price_key, price_match, price_version, price_partial, unpriced_reason), money = charge
    said = attribution.get
    return Entry._make((
        CHARGE, realm, said("tenant") or DEFAULT_TENANT, trace_id, span_id, parent_span_id, decision.role, start_ns, trace_no,
        decision.rule, None, decision.counted_in, 0, operation, provider, request_model, response_model, usage, usage_source,
        usage_rule, service_tier, region, region_kind, speed, streaming, error_type, cost_pico, lines, method or None, price_key,
        price_match, price_version, partial or price_partial, unpriced_reason, reported_pico, reported_source, *money, said("agent"),
        said("step"), said("tool"), said("workflow"), said("user"), said("session"), said("cost_center"), said("purpose"),
        said("service"), said("environment"), said("reservation"), end_ns - start_ns, 0, False, tags, *_UNPLACED,
    ))  # fmt: skip
