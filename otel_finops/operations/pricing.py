"""What people and programs ask of prices: what a call costs and why, and which models have no price."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import QUOTES_PER_REQUEST_MAX
from otel_finops.base.money import format_usd, parse_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.described_calls import (
    CHOOSING,
    NOTHING,
    WHOSE,
    CallInput,
    CallPricer,
    Text,
    in_words,
    must_be_his,
    unknown_fields,
)
from otel_finops.operations.fields import Name, Paged, TenantScoped, Windowed, place_cursor
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.pricing.providers import canonical
from otel_finops.trees.notes import UNPRICED

if TYPE_CHECKING:  # these rooms load a database toolkit or the prices, which `--help` must not wait for
    from otel_finops.ledger.unpriced import Unpriced
    from otel_finops.pricing.cascade import Charge
    from otel_finops.pricing.explain import ExplainedLine, Explanation, Source


def _calls(given: Any) -> Any:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise ValueError("no JSON list of calls") from None
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise ValueError("write a list of calls, each an object as one call alone would be")
    if len(given) > QUOTES_PER_REQUEST_MAX:
        raise ValueError(f"more than {QUOTES_PER_REQUEST_MAX} calls; ask in pieces, or use the command `price`")
    return given


class QuoteInput(CallInput):  # type: ignore[valid-type,misc]  # a model made of the contract's field names
    """One call, or a list of calls."""

    calls: Annotated[list[dict[str, Any]] | None, BeforeValidator(_calls)] = Field(
        default=None, description=f"A list of calls in place of one, at most {QUOTES_PER_REQUEST_MAX}."
    )


class QuotedLine(Output):
    """One unit of the call."""

    unit: str
    quantity: int | str
    rate_usd: str = Field(description="USD for one.")
    amount_usd: Usd


class Quoted(Output):
    """What one call costs, as `price` answers."""

    id: str
    usd: Usd | None = Field(description="Null: it has no price.")
    key: str | None
    match: str | None
    method: str | None
    lines: list[QuotedLine]
    partial: bool = Field(description="A unit had no rate of its own; the documented fall-back was used.")
    reason: str | None = Field(description="Why it has no price.")
    detail: str | None = Field(description="The reason in words; of a refused call the field and its fault.")
    price_version: str | None = Field(description="The price list's digest, or the house rule that made the price.")
    list_usd: Usd | None = Field(description="By the list, before what was agreed.")
    contracted_usd: Usd | None = Field(description="By what was agreed, before flat fees.")
    account: str | None = Field(description="Who pays, where a rule says so.")
    coverage_id: str | None = Field(description="The flat fee that covers it, so that it costs nothing beside it.")
    ignored: list[str] = Field(description="Fields that a call does not have; nothing was charged for them.")


class QuoteAnswer(Output):
    """The price of one call or, for a list, of each and of all."""

    id: str
    usd: Usd | None = Field(description="For a list: of all calls that have a price; null when none has.")
    key: str | None
    match: str | None
    method: str | None
    lines: list[QuotedLine]
    partial: bool
    reason: str | None
    detail: str | None
    price_version: str | None
    list_usd: Usd | None
    contracted_usd: Usd | None
    account: str | None
    coverage_id: str | None
    ignored: list[str]
    unpriced: Count = Field(description="Calls without a price.")
    quotes: list[Quoted] | None = Field(description="For a list: each call's answer, in order.")


@operation(
    "pricing.quote",
    "pricing/quote",
    takes=QuoteInput,
    output=QuoteAnswer,
    permission="view",
    feature="prices",
    by_body=True,
    summary="Say what a call, or each call of a list, costs; nothing is recorded.",
)
def quote(context: Context, principal: Principal, given: Any) -> Json:
    """What the call would be booked at: the calculation of the command `price`, and the settings' accounts, discounts and flat fees."""
    pricer = CallPricer(context, principal)
    if given.calls is None:
        one = {**pricer.priced(given.record()).shown(), "ignored": unknown_fields(given.model_extra or {})}
        return {**one, "unpriced": int(one["usd"] is None), "quotes": None}
    if given.record().keys() != {"calls"}:
        raise BadInput("calls: a list stands alone; put what describes a call into its object")
    quotes = [{**pricer.priced(record).shown(), "ignored": unknown_fields(record)} for record in given.calls]
    priced = [parse_usd(one["usd"]) for one in quotes if one["usd"] is not None]
    total = format_usd(sum(priced)) if priced else None
    partial = any(one["partial"] for one in quotes)
    return {**NOTHING, "usd": total, "partial": partial, "ignored": [], "unpriced": len(quotes) - len(priced), "quotes": quotes}


# --- why -------------------------------------------------------------------------------------------------------------


class ExplainInput(CallInput):  # type: ignore[valid-type,misc]  # as above
    """One call; without counts it is one of 1,000 tokens in and 1,000 out."""

    model: Text = Field(description="The model's name as spans carry it.")


class RuleThatSpoke(Output):
    """A house rule that spoke."""

    rule: int
    kind: Literal["alias", "contract", "override"]
    effect: str


class ListRow(Output):
    """A row as the lists alone find it."""

    key: str
    match: str


class RowSource(Output):
    """Where the row is from."""

    source: str
    source_version: str
    version: str = Field(description="The snapshot's digest, as charges bear it.")
    date: str
    valid_from: At | None = Field(description="From when the snapshot's changes hold; null: from the beginning.")
    retired: bool = Field(description="The list no longer has the row.")
    dated: bool = Field(description="Its prices change by date or hour.")


class LineReason(Output):
    """A line, and the price field it is from."""

    unit: str
    quantity: int | str
    rate_usd: str
    amount_usd: Usd
    field: str | None = Field(description="The price list's own field; null where another rate stands in.")
    note: str | None


class Why(Output):
    """Why a call costs what it costs, or has no price."""

    usd: Usd | None
    key: str | None
    match: str | None
    price_version: str | None
    partial: bool
    reason: str | None
    steps: list[str] = Field(description="All of it in sentences.")
    names: list[str] = Field(description="Names that were asked in the provider's rows, in order.")
    rules: list[RuleThatSpoke]
    by_list: ListRow | None = Field(description="What the lists alone find; null: nothing.")
    source: RowSource | None = Field(description="Null: no list has it.")
    tier: str = Field(description="The service tier whose prices were used.")
    prompt: Count = Field(description="Tokens of the whole prompt.")
    above: int | None = Field(description="The long-context edge that the prompt crossed.")
    factor: str = Field(description="Surcharge for place and speed; 1: none.")
    lines: list[LineReason]
    inside: list[str] = Field(description="Parts that are billed within their whole.")
    missing: list[str] = Field(description="Units without a rate, where that is why there is no price.")
    suggestions: list[str] = Field(description="Keys that look like the name, where there is no row. Nothing is priced by them.")


_EXAMPLE: Final = {"input_tokens_uncached": 1000, "output_tokens": 1000}


@operation(
    "pricing.explain",
    "pricing/explain",
    takes=ExplainInput,
    output=Why,
    permission="view",
    feature="prices",
    by_body=True,
    summary="Say why a call costs what it costs: names, rules, row, list, tier, fall-backs.",
)
def explain(context: Context, principal: Principal, given: Any) -> Json:
    """The reasons of the very quote that `pricing.quote` gives."""
    from otel_finops.pricing.calculator import RefusedRecord, call_of  # noqa: PLC0415 - `--help` must not load the price rooms
    from otel_finops.pricing.explain import explain as explained  # noqa: PLC0415

    record = given.record()
    must_be_his(principal, record)
    described = {"model", "provider", "id", "at", "account", *CHOOSING, *WHOSE}
    try:
        call = call_of(record if set(record) - described else {**record, **_EXAMPLE}, context.clock)
    except RefusedRecord as refusal:
        raise BadInput(str(refusal)) from None
    pricer = CallPricer(context, principal)
    charge = pricer.charge(call, record)
    found = explained(pricer.engine, call._replace(account=charge.money.account or call.account))
    suggestions = [] if found.match else list(context.pricing.nearest(given.model, given.provider))
    return _why(found, charge, suggestions)


def _why(found: Explanation, charge: Charge, suggestions: list[str]) -> Json:
    made, source = charge.quote, found.source
    return {
        "usd": None if made.cost_pico is None else format_usd(made.cost_pico),
        "key": made.price_key,
        "match": made.price_match,
        "price_version": made.price_version,
        "partial": made.partial,
        "reason": made.unpriced_reason,
        "steps": [*_steps(found, suggestions), *_agreed(found, charge)],
        "names": list(found.names),
        "rules": [rule._asdict() for rule in found.rules],
        "by_list": found.by_list and {"key": found.by_list.key, "match": found.by_list.kind},
        "source": source and {
            **{name: value for name, value in source._asdict().items() if name != "valid_from_ns"},
            "valid_from": None if source.valid_from_ns is None else format_ns(source.valid_from_ns),
        },
        "tier": found.tier_billed,
        "prompt": found.prompt,
        "above": found.above,
        "factor": found.factor,
        "lines": [_line(one) for one in found.lines],
        "inside": list(found.inside),
        "missing": list(found.missing),
        "suggestions": suggestions,
    }  # fmt: skip


def _line(one: ExplainedLine) -> Json:
    from otel_finops.pricing.calculator import cost_line_json  # noqa: PLC0415 - `--help` must not load the price rooms

    return {**cost_line_json(one.line), "field": one.field, "note": one.note}


def _steps(found: Explanation, suggestions: list[str]) -> Iterator[str]:
    """The explanation in sentences, in the order in which a price comes about."""
    yield f"Asked for {', '.join(found.names) or 'no name at all'}."
    if found.by_list is not None:
        yield f"The lists have {found.by_list.key} ({found.by_list.kind})."
    elif found.rules:
        yield "No list has it by this name."
    yield from (f"House rule {rule.rule}, {rule.kind}: {rule.effect}." for rule in found.rules)
    if found.source is not None:
        yield f"The row is from {_listed(found.source)}."
    if found.match is None:
        yield f"No row: {in_words(found.quote) or 'no price'}{_meant(suggestions)}."
        return
    yield from _circumstances(found)
    yield from (f"{line.line.unit}: {line.note}." for line in found.lines if line.note)
    yield from (f"{unit} has no price of its own and is billed within its whole." for unit in found.inside)
    if found.quote.cost_pico is None:
        units = f": {', '.join(found.missing)}" if found.missing else ""
        yield f"No price: {in_words(found.quote)}{units}."
    else:
        yield f"The sum of {len(found.lines)} lines, each rounded once: {format_usd(found.quote.cost_pico)} USD."


def _agreed(found: Explanation, charge: Charge) -> Iterator[str]:
    """What the settings' rules and the flat fees make of the price."""
    money, price = charge.money, found.quote.cost_pico
    if money.account is not None:
        yield f"The account {money.account} pays (pricing.accounts)."
    agreed = charge.quote.cost_pico if money.coverage_id is None else money.contracted
    if agreed is not None and agreed != price:
        yield f"After the discount that was agreed (pricing.discounts): {format_usd(agreed)} USD."
    if money.coverage_id is not None:
        yield f"The flat fee {money.coverage_id} covers it: it costs nothing beside the fee."


def _listed(source: Source) -> str:
    version = f" {source.source_version}" if source.source_version else ""
    since = "" if source.valid_from_ns is None else f", whose changes hold from {format_ns(source.valid_from_ns)}"
    gone = "; that list no longer has it, its last price holds" if source.retired else ""
    dated = "; its prices are those of the moment of the call" if source.dated else ""
    return f"the list {source.source}{version} of {source.date or 'an unknown day'} (snapshot {source.version}){since}{gone}{dated}"


def _meant(suggestions: list[str]) -> str:
    return f"; names like it are {', '.join(suggestions)}" if suggestions else ""


def _circumstances(found: Explanation) -> Iterator[str]:
    if found.tier_asked:
        instead = "" if found.tier_billed != "standard" else "; the row has no price for another one"
        yield f"Service tier {found.tier_asked}: billed as {found.tier_billed}{instead if found.tier_asked != 'default' else ''}."
    if found.above is not None:
        yield f"The prompt has {found.prompt} tokens, more than {found.above}: the longer prices hold for the whole call."
    if found.factor != "1":
        yield f"Every token rate is multiplied by {found.factor} for place or speed."


# --- models without a price ------------------------------------------------------------------------------------------


class UnpricedInput(Paged, Windowed, TenantScoped):
    """Which models."""

    sort: Literal["calls", "tokens", "last_seen"] = Field(default="calls", description="Most first: calls, tokens, or last_seen.")
    provider: Name | None = Field(default=None, description="Only this provider, in any spelling.")
    model: Name | None = Field(default=None, description="Only this model, as sent.")
    reason: Name | None = Field(default=None, description="Only this reason, e.g. unknown_model.")


class UnpricedModel(Output):
    """Standing calls of one model that have no price for one reason."""

    provider: str | None
    model: str | None
    reason: str
    says: str = Field(description="The reason in words.")
    calls: Count
    tokens: Count
    first_seen: At
    last_seen: At
    suggestions: list[str] = Field(description="Price keys that look like the name, best first. Nothing is priced by them.")
    mend: list[str] = Field(description="Commands that mend it; what stands in capitals is for you to fill in.")


class UnpricedPage(Output):
    """A page of models without a price."""

    models: list[UnpricedModel]
    next_cursor: str | None
    total_models: Count = Field(description="Over all pages.")
    total_calls: Count
    total_tokens: Count


@operation(
    "pricing.unpriced",
    "pricing/unpriced",
    takes=UnpricedInput,
    output=UnpricedPage,
    permission="view",
    feature="prices",
    summary="List models whose calls have no price: why, since when, how many, and what mends it.",
)
def unpriced(context: Context, principal: Principal, given: UnpricedInput) -> Json:
    """The principal's tenants' calls, whole hours of the window."""
    from otel_finops.ledger.unpriced import UnpricedQuery  # noqa: PLC0415 - `--help` must not load the database rooms

    order = f"unpriced {given.sort}"
    place = given.place(order)
    offset = place[0] if place else 0
    window = given.window()
    query = UnpricedQuery(
        given.tenants(principal), window.from_ns, window.to_ns, given.provider and canonical(given.provider), given.model, given.reason,
        given.sort, offset, given.limit,
    )  # fmt: skip
    models, totals = context.pricing.unpriced(query)
    beyond = offset + len(models)
    return {
        "models": [_unpriced(context, one) for one in models],
        "next_cursor": place_cursor(order, [beyond]) if models and beyond < totals.models else None,
        "total_models": totals.models,
        "total_calls": totals.calls,
        "total_tokens": totals.tokens,
    }


def _unpriced(context: Context, one: Unpriced) -> Json:
    suggestions = (
        list(context.pricing.nearest(one.model, one.provider)) if one.model and one.reason in ("unknown_model", "no_provider") else []
    )
    return {
        "provider": one.provider,
        "model": one.model,
        "reason": one.reason,
        "says": UNPRICED.get(one.reason, one.reason),
        "calls": one.calls,
        "tokens": one.tokens,
        "first_seen": format_ns(one.first_ns),
        "last_seen": format_ns(one.last_ns),
        "suggestions": suggestions,
        "mend": list(_mends(one, suggestions)),
    }


def _mends(one: Unpriced, suggestions: list[str]) -> Iterator[str]:
    """The commands; a name that a shell would read otherwise is quoted."""
    if one.model is None or one.reason not in _BY_PRICES:
        if one.reason in _BY_USAGE:
            yield "otel-finops coverage report"
        return
    whose = f" --provider {shlex.quote(one.provider)}" if one.provider else ""
    name, end = shlex.quote(one.model), "--why 'WHY' --reprice"
    if one.reason == "missing_rate":
        yield f"otel-finops prices show {name}{whose}"
        yield f"otel-finops pricing override {name} UNIT=USD{whose} {end}"
        return
    yield f"otel-finops pricing alias {name} {shlex.quote(suggestions[0]) if suggestions else 'KEY'}{whose} {end}"
    yield f"otel-finops pricing override {name} input=USD_PER_MILLION,output=USD_PER_MILLION{whose} {end}"


_BY_PRICES: Final = ("unknown_model", "no_provider", "missing_rate")
_BY_USAGE: Final = ("no_usage", "no_usage_stream", "no_usage_timeout", "bad_usage", "no_model")
"""What is missing comes from the sender; the report says what to do about it."""
