"""House rules: prices and other names that the operator sets, above every list; dated, with who and why, ended and never erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Instant, Name, Paged, json_or, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.pricing.names import PLACEHOLDERS, clean
from otel_finops.pricing.providers import canonical

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.price_rules import Draft, Rule, RuleKind
    from otel_finops.operations.pricing_desk import Ruled
    from otel_finops.pricing.engine import PriceEngine

_WHY_CHARS_MAX: Final = 500
_PRICES_CHARS_MAX: Final = 4_000
_ANY_ACCOUNT: Final = "*"
_ORDER: Final = "rules"


def _prices(given: Any) -> Any:
    """`input=2.5,output=10`, a JSON object as text, or an object."""
    from otel_finops.pricing.rule_prices import fields_of, prices_of_text  # noqa: PLC0415 - `--help` must not load the price rooms

    if isinstance(given, str):
        if len(given) > _PRICES_CHARS_MAX:
            raise ValueError(f"more than {_PRICES_CHARS_MAX} characters")
        try:
            given = json_or(given, prices_of_text)
        except BadInput as fault:
            raise ValueError(str(fault)) from None
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError("write NAME=PRICE,NAME=PRICE, or a JSON object of prices by name")
    try:
        return fields_of(given)
    except BadInput as fault:
        raise ValueError(str(fault)) from None


def _named(text: str) -> str:
    name = clean(text)
    if name in PLACEHOLDERS:
        raise ValueError("names no model")
    return name


def _reason(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("say why, for those who look at the bill later")
    return text.strip()


_PRICES_SCHEMA: Final = {
    "anyOf": [{"type": "object", "additionalProperties": {"type": ["string", "number"]}}, {"type": "string"}],
    "example": {"input": "2.5", "output": "10"},
}
Prices: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_prices), WithJsonSchema(_PRICES_SCHEMA)]
Model: TypeAlias = Annotated[Name, Field(min_length=1), AfterValidator(_named)]
Why: TypeAlias = Annotated[str, Field(max_length=_WHY_CHARS_MAX), AfterValidator(_reason)]


class _Dated(Input):
    """What overrides and aliases have in common."""

    provider: Name | None = Field(
        default=None, description="Only where this provider bills, in any spelling; without it for every provider."
    )
    from_: Instant | None = Field(
        default=None, alias="from", description="For calls that started at this instant or later; without it for all that came before."
    )
    to: Instant | None = Field(default=None, description="For calls that started before this instant; without it until the rule is ended.")
    reprice: bool = Field(
        default=False, description="Also give the calls their price that are in the ledger without one; what has a price keeps it."
    )
    dry_run: bool = Field(default=False, description="Check everything and say what would be done; nothing is stored.")

    def said(self, kind: RuleKind, model: str, **more: Any) -> Draft:
        """The rule as it is stored.

        Raises:
            BadInput: the time ends before it begins.
        """
        from otel_finops.ledger.price_rules import Draft  # noqa: PLC0415 - `--help` must not load the database rooms

        begin, end = (None if text is None else parse_ns(text) for text in (self.from_, self.to))
        if begin is not None and end is not None and begin >= end:
            raise BadInput("from: not before `to`; the rule would never hold")
        provider = canonical(self.provider) if self.provider else None
        return Draft(kind, provider, model, from_ns=begin, to_ns=end, **more)


class OverrideInput(_Dated):
    """A price of the operator's own."""

    model: Model = Field(description="The model's name as spans carry it, or a price key.")
    prices: Prices = Field(
        description="NAME=PRICE,NAME=PRICE: tokens in USD per million (input, output, cache_read, ...; input.batch, output.above_200k), "
        "others in USD for one (images, seconds, pages, ...), or the price list's own field names; `free` for 0."
    )
    why: Why = Field(description="For what reason; it stays on record.", json_schema_extra=NAMED)
    account: Name | None = Field(
        default=None,
        description="A contract price: only for calls of this account (docs/pricing.md), `*` for all accounts. It stands below overrides.",
    )
    accept: bool = Field(default=False, description="Take prices that are a thousand times, or a thousandth of, what the list says.")


class AliasInput(_Dated):
    """Another name of a model that has a price."""

    name: Model = Field(description="The name as spans carry it: a deployment, a profile's ARN, a fine-tune.")
    key: Name = Field(min_length=1, description="The price key that it stands for, as `prices show` prints it.")
    why: Why = Field(description="For what reason; it stays on record.", json_schema_extra=NAMED)


class RuleEnding(Output):
    """How a rule was ended."""

    at: At | None = Field(description="From when it holds no longer; null: withdrawn, as if it had never been.")
    who: str
    why: str
    ended_at: At


class PriceRule(Output):
    """A rule as it stands."""

    rule: int | None = Field(description="Its number; null in a dry run.")
    kind: Literal["override", "contract", "alias"]
    provider: str | None = Field(description="Null: every provider.")
    model: str
    key: str | None = Field(description="The price key that an alias stands for.")
    account: str | None = Field(description="Of a contract price: whose; null: every account.")
    prices: dict[str, str] = Field(description="Tokens in USD per million, others in USD for one.")
    from_: At | None = Field(alias="from", description="Null: from the beginning.")
    to: At | None = Field(description="Null: until it is ended.")
    holds: bool = Field(description="Whether it holds for calls of this moment.")
    who: str
    why: str
    set_at: At
    ended: RuleEnding | None


class Repriced(Output):
    """What became of the calls without a price."""

    calls: Count = Field(description="Calls that had no price and have one now.")
    cost_usd: Usd = Field(description="What they cost together.")
    entries: Count = Field(description="Entries that were appended.")
    still_unpriced: Count = Field(description="Calls of the model that still have no price: `pricing.unpriced` says why.")
    protected: Count = Field(description="Calls of closed months, left as they are: see `ledger reprice --force`.")
    skipped: Count = Field(description="Calls that wait to be settled.")
    stopped: str | None = Field(
        description="Why not all were repriced: the rule holds, and `ledger.reprice` does the rest. Null: all were."
    )


class RuleAnswer(Output):
    """What was set."""

    rule: PriceRule
    repriced: Repriced | None = Field(description="Null when it was not asked for.")
    dry_run: bool


def _reprices(given: _Dated) -> bool:
    """Calls are repriced round by round, under leases."""
    return given.reprice


@operation(
    "pricing.override",
    "pricing/override",
    takes=OverrideInput,
    output=RuleAnswer,
    permission="manage",
    feature="prices",
    changes=True,
    runs=_reprices,
    agents=False,
    summary="Set a model's price above every list, from a day or for all time.",
)
def override(context: Context, principal: Principal, given: OverrideInput) -> Changed | Unchanged:
    """The rule; prices that were most likely meant for another unit are refused unless they are accepted."""
    _may_rule(principal, "pricing.override")
    contract = given.account is not None
    account = given.account if given.account != _ANY_ACCOUNT else None
    draft = given.said("contract" if contract else "override", given.model, account=account, fields=given.prices)
    if not given.accept:
        _check_plausible(context.pricing.engine(), draft)
    return _set(context, principal, draft, given)


@operation(
    "pricing.alias",
    "pricing/alias",
    takes=AliasInput,
    output=RuleAnswer,
    permission="manage",
    feature="prices",
    changes=True,
    runs=_reprices,
    agents=False,
    summary="Say which price key a name stands for: a deployment, a profile, a fine-tune.",
)
def alias(context: Context, principal: Principal, given: AliasInput) -> Changed | Unchanged:
    """The rule; the key must exist."""
    _may_rule(principal, "pricing.alias")
    key = _existing(context, given)
    if key.lower() == given.name:
        raise BadInput(f"name: {given.name!r} is this key itself; it needs no alias")
    return _set(context, principal, given.said("alias", given.name, target=key), given)


class RulesQuery(Paged):
    """Which rules."""

    kind: Literal["override", "contract", "alias"] | None = Field(default=None, description="Only this kind.")
    model: Name | None = Field(default=None, description="Only of this name, or with this key.")
    holding: bool = Field(default=False, description="Only rules that hold for calls of this moment.")


class RulePage(Output):
    """A page of rules, newest first."""

    rules: list[PriceRule]
    next_cursor: str | None


@operation(
    "pricing.rules",
    "pricing/rules",
    takes=RulesQuery,
    output=RulePage,
    permission="view",
    feature="prices",
    summary="List the house rules: what they say, who set and ended them, when and why.",
)
def rules(context: Context, principal: Principal, given: RulesQuery) -> Json:
    """All but contract prices are for everyone; those are for who sees all tenants."""
    now_ns, place = context.clock.now_ns(), given.place(_ORDER)
    wanted = [
        one
        for one in reversed(context.pricing.rules())
        if (principal.tenants is None or one.said.kind != "contract")
        and (given.kind is None or one.said.kind == given.kind)
        and (given.model is None or clean(given.model) in (one.said.model, (one.said.target or "").lower()))
        and (not given.holding or one.holds[0] <= now_ns < one.holds[1])
        and (place is None or one.no < place[0])
    ]
    page = wanted[: given.limit]
    more = place_cursor(_ORDER, [page[-1].no]) if len(wanted) > len(page) else None
    return {"rules": [_shown(one, now_ns) for one in page], "next_cursor": more}


class EndInput(Input):
    """Which rule ends, and when."""

    rule: int = Field(ge=1, description="The rule's number, as pricing.rules shows it.")
    why: Why = Field(description="For what reason; it stays on record.", json_schema_extra=NAMED)
    at: Instant | None = Field(default=None, description="It holds for calls that started before this instant; now when it is not given.")
    withdraw: bool = Field(default=False, description="It was a mistake: as if it had never been, for calls that are priced from now on.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored.")


class EndAnswer(Output):
    """The rule as it stands now."""

    rule: PriceRule
    dry_run: bool


@operation(
    "pricing.end",
    "pricing/end",
    takes=EndInput,
    output=EndAnswer,
    permission="manage",
    feature="prices",
    changes=True,
    agents=False,
    summary="End a house rule, or withdraw one that was a mistake; what was charged by it stays as it is.",
)
def end(context: Context, principal: Principal, given: EndInput) -> Changed | Unchanged:
    """Charges keep the price that made them; `ledger reprice` corrects them where that is wanted."""
    _may_rule(principal, "pricing.end")
    if given.withdraw and given.at is not None:
        raise BadInput("at: a rule that is withdrawn ends at no instant; give one of the two")
    now_ns = context.clock.now_ns()
    before = next((one for one in context.pricing.rules() if one.no == given.rule), None)
    at_ns = None if given.withdraw else now_ns if given.at is None else parse_ns(given.at)
    ended = context.pricing.end_rule(given.rule, at_ns, who=principal.who, why=given.why, dry_run=given.dry_run)
    answer = {"rule": _shown(ended, now_ns), "dry_run": given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, before and _shown(before, now_ns), answer["rule"])


def _may_rule(principal: Principal, name: str) -> None:
    principal.must_see_all(f"{name} changes the prices of all tenants")


def _set(context: Context, principal: Principal, draft: Draft, given: OverrideInput | AliasInput) -> Changed | Unchanged:
    done = context.pricing.set_rule(draft, who=principal.who, why=given.why, repricing=given.reprice, dry_run=given.dry_run)
    rule = _shown(done.rule, context.clock.now_ns(), numbered=not given.dry_run)
    answer = {"rule": rule, "repriced": _repriced(done), "dry_run": given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, answer)


def _check_plausible(engine: PriceEngine, draft: Draft) -> None:
    """Compare with the list's price of the model on the first day of the rule.

    Raises:
        BadInput: a price looks as if it was meant for another unit.
    """
    from otel_finops.pricing.house_rules import NO_RULES  # noqa: PLC0415 - `--help` must not load the price rooms
    from otel_finops.pricing.match import Matcher  # noqa: PLC0415
    from otel_finops.pricing.rule_prices import absurd  # noqa: PLC0415

    listed = Matcher(engine.book.under(NO_RULES)).find(draft.provider, draft.model)
    fault = absurd(draft.fields or {}, listed and listed.row.fields, engine.book)
    if fault is not None:
        raise BadInput(f"prices: {fault}; tokens are priced per million here. If it is right all the same, say --accept (accept=true)")


def _existing(context: Context, given: AliasInput) -> str:
    """The key in its own capitals.

    Raises:
        NotFound: no list and no rule has it; the message names the nearest ones.
    """
    row = context.pricing.engine().book.by_key(given.key)
    if row is not None:
        return row.key
    if any(one.said.kind != "alias" and one.said.model == clean(given.key) for one in context.pricing.rules()):
        return clean(given.key)
    nearest = context.pricing.nearest(given.key, given.provider)
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; give it a price first (pricing.override)"
    raise NotFound(f"key: the price book has no key {given.key!r}{hint}")


def _repriced(done: Ruled) -> Json | None:
    if done.repriced is None:
        return None
    totals = [run.total for run in done.repriced]
    calls, unpriced = sum(one.priced for one in totals), sum(one.rows - one.priced for one in totals)
    return {
        "calls": calls,
        "cost_usd": format_usd(sum(one.after_pico - one.before_pico for one in totals)),
        "entries": sum(run.entries for run in done.repriced),
        "still_unpriced": unpriced,
        "protected": sum(run.protected for run in done.repriced),
        "skipped": sum(run.skipped for run in done.repriced),
        "stopped": done.fault,
    }


def _shown(rule: Rule, now_ns: int, *, numbered: bool = True) -> dict[str, Any]:
    from otel_finops.pricing.rule_prices import shown  # noqa: PLC0415 - `--help` must not load the price rooms

    said, ended = rule.said, rule.ended
    return {
        "rule": rule.no if numbered else None,
        "kind": said.kind,
        "provider": said.provider,
        "model": said.model,
        "key": said.target,
        "account": said.account,
        "prices": shown(said.fields or {}),
        "from": _at(said.from_ns),
        "to": _at(said.to_ns),
        "holds": rule.holds[0] <= now_ns < rule.holds[1],
        "who": rule.who,
        "why": rule.why,
        "set_at": format_ns(rule.recorded_ns),
        "ended": ended and {"at": _at(ended.at_ns), "who": ended.who, "why": ended.why, "ended_at": format_ns(ended.recorded_ns)},
    }


def _at(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else format_ns(instant_ns)
