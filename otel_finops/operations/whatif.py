"""What recorded calls would have cost otherwise, and saved questions of that kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from otel_finops.base.errors import BadInput
from otel_finops.base.money import format_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.fields import NAMED, Instant, Name, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.scope_fields import owner_of, shown_owner
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.operations.whatif_fields import (
    CallSelection,
    ComparedWindow,
    Factor,
    LeftOutCalls,
    PriceRowUsed,
    Ratio,
    RecordedModel,
    Share,
    TokenMix,
    fraction_of,
    ratio_text,
    refuse_people,
    selection_of,
    shown_left_out,
    shown_mix,
    shown_targets,
)

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.definitions import Definition
    from otel_finops.insight.repricing import Repriced
    from otel_finops.insight.whatif import Change, Sums

_DRY_TEXT: Final = "Check everything and say what would be done; nothing is stored."


class WhatIfQuestion(CallSelection):
    """Which recorded calls, and how they are made otherwise."""

    to_model: Name | None = Field(default=None, min_length=1, description="By this model.")
    to_provider: Name | None = Field(
        default=None,
        min_length=1,
        description="By this provider, in any spelling; with `to_model` alone each call's own, where that has the model.",
    )
    to_tier: Name | None = Field(
        default=None, min_length=1, description="In this service tier, e.g. batch, flex, priority or standard; as recorded when not given."
    )
    cache_hit_rate: Share | None = Field(
        default=None, description="With this share of each prompt read from a cache, 0 to 1; as recorded when not given."
    )
    token_factor: Factor = Field(
        default="1", description="How many tokens the other model needs for one of the recorded: models count the same text differently."
    )
    prices_at: Instant | None = Field(default=None, description="At the prices of this moment; at those of each call's own when not given.")


_CHANGES: Final = ("to_model", "to_provider", "to_tier", "cache_hit_rate", "prices_at")


class WhatIfInput(WhatIfQuestion):
    """The question, or a saved one."""

    scenario: int | None = Field(
        default=None, ge=1, le=2**53, description="The number of a saved question; what is given beside it takes the place of what it says."
    )


class RecordedModelOtherwise(RecordedModel):
    """Compared calls of one model as they were recorded, and what they would have cost."""

    list_usd: Usd = Field(description="The same calls as recorded by the price book, without reported costs and agreed discounts.")
    projected_usd: Usd
    saved_usd: Usd = Field(description="Negative where it is dearer.")


class WhatIfAnswer(ComparedWindow):
    """What came of it."""

    scenario: int | None
    calls: Count = Field(description="Calls that were compared: priced as recorded, and otherwise.")
    booked_usd: Usd = Field(description="What the compared calls cost.")
    list_usd: Usd = Field(description="The same calls as recorded by the price book, without reported costs and agreed discounts.")
    projected_usd: Usd = Field(description="What they would have cost, by the price book.")
    saved_usd: Usd = Field(description="Booked less projected; negative where it is dearer.")
    saved_at_list_usd: Usd = Field(description="By the price book on both sides.")
    saved_share: Ratio | None = Field(description="Of what was booked; null where that is nothing.")
    break_even_factor: Ratio | None = Field(
        description="With so many tokens for one of the recorded nothing is saved any more; null where it would cost nothing."
    )
    mix: TokenMix
    priced_by: list[PriceRowUsed]
    models: list[RecordedModelOtherwise] = Field(description="What was recorded, dearest first.")
    left_out: list[LeftOutCalls]
    notes: list[str] = Field(description="What the figures do not know.")


@operation(
    "whatif.simulate",
    "whatif",
    takes=WhatIfInput,
    output=WhatIfAnswer,
    permission="view",
    feature="whatif",
    by_body=True,
    summary="Say what recorded calls would have cost by another model, provider, service tier or cache-hit rate.",
)
def simulate(context: Context, principal: Principal, given: WhatIfInput) -> Json:
    """Every call priced anew, exactly; nothing is stored."""
    question = _saved(context, principal, given)
    return {"scenario": given.scenario, **_answered(context, principal, question)}


def _saved(context: Context, principal: Principal, given: WhatIfInput) -> WhatIfQuestion:
    """The question, a saved one with what is given in place of what it says."""
    own = given.model_dump(by_alias=True, exclude_unset=True, exclude={"scenario"})
    if given.scenario is None:
        return WhatIfQuestion.model_validate(own)
    saved = context.whatif.scenarios.find(given.scenario, principal.tenants)
    return _question({**saved.said["question"], **own}, f"scenario {given.scenario}")


def _question(said: Mapping[str, Any], place: str) -> WhatIfQuestion:
    try:
        return WhatIfQuestion.model_validate(said)
    except ValidationError as fault:
        raise BadInput(f"{place}: {explained(fault)}") from None


def _answered(context: Context, principal: Principal, question: WhatIfQuestion) -> dict[str, Any]:
    selection, change = selection_of(context, principal, question), _change(context, question)
    found = context.whatif.run(selection, [change])
    total = found.compared.total
    return {
        "from": format_ns(selection.from_ns),
        "to": format_ns(selection.to_ns),
        "finished": found.until_ns == selection.to_ns,
        "until": format_ns(found.until_ns),
        "pruned_until": pruned_until(context, question.window()._replace(from_ns=selection.from_ns)),
        **_sums(total),
        "saved_at_list_usd": format_usd(total.listed - total.projected[0]),
        "saved_share": ratio_text(total.booked - total.projected[0], total.booked),
        "break_even_factor": ratio_text(total.booked * change.token_factor.numerator, total.projected[0] * change.token_factor.denominator),
        "mix": shown_mix(found.compared.mix),
        "priced_by": shown_targets(found.compared.targets[0]),
        "models": _models(found),
        "left_out": shown_left_out(found.compared),
        "notes": list(_notes(found, change)),
    }


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        "calls": sums.calls,
        "booked_usd": format_usd(sums.booked),
        "list_usd": format_usd(sums.listed),
        "projected_usd": format_usd(sums.projected[0]),
        "saved_usd": format_usd(sums.booked - sums.projected[0]),
    }


def _models(found: Repriced) -> list[dict[str, Any]]:
    groups = sorted(found.compared.groups.items(), key=lambda item: (-item[1].booked, item[0][0] or "", item[0][1] or ""))
    return [{"provider": provider, "model": model, **_sums(sums)} for (provider, model), sums in groups]


def _change(context: Context, question: WhatIfQuestion) -> Change:
    """What is to be otherwise.

    Raises:
        BadInput: nothing, or a model that the price book has not.
    """
    from otel_finops.insight.whatif import Change  # noqa: PLC0415 - `--help` must not load the database rooms

    if all(getattr(question, name) is None for name in _CHANGES):
        raise BadInput(f"say what is to be otherwise: {', '.join(_CHANGES)}")
    at_ns = None if question.prices_at is None else parse_ns(question.prices_at)
    if question.to_model is not None:
        must_be_priced(context, "to_model", question.to_provider, question.to_model, at_ns)
    factor = fraction_of(question.token_factor)
    assert factor is not None, "it has a default"
    return Change(question.to_provider, question.to_model, question.to_tier, fraction_of(question.cache_hit_rate), factor, at_ns)


def must_be_priced(context: Context, field: str, provider: str | None, model: str, at_ns: int | None = None) -> None:
    """Refuse a model that no row of the price book prices; without a provider anybody's will do."""
    from otel_finops.insight.whatif import has_price  # noqa: PLC0415 - `--help` must not load the price rooms

    if has_price(context.whatif.engine, provider, model, at_ns):
        return
    near = context.pricing.nearest(model, provider)
    meant = f"; names like it are {', '.join(near)}" if near else "; prices.models lists what there is"
    whose = "" if provider is None else f" of {provider}"
    raise BadInput(f"{field}: the price book has no model {model!r}{whose}{meant}")


def _notes(found: Repriced, change: Change) -> Iterator[str]:
    compared, targets = found.compared, found.compared.targets[0]
    if not compared.total.calls:
        yield "There is no call to compare."
        return
    if change.model is not None:
        yield (
            "Tokens are those that the recorded models counted: another model counts the same text differently and answers at another "
            "length. token_factor stands in for it; at break_even_factor nothing is saved."
        )
    if any(not one.has_tier for one in targets):
        yield "The price list has no prices for that tier of some models: see priced_by."
    if change.cache_hit_rate is not None:
        yield (
            "The hit rate is taken for every prompt, however short; what filling the cache costs goes on in the proportion in which it was "
            "recorded."
        )
    if any(not one.has_cache for one in targets) and (compared.mix.cache_read or change.cache_hit_rate):
        yield "The price list has no price for cached tokens of some models: they cost what others cost there."
    if compared.total.booked != compared.total.listed:
        yield (
            "What is booked is not what the price book says (reported costs, discounts, or prices that changed since); saved_at_list_usd "
            "compares like with like."
        )


# --- saved questions ---------------------------------------------------------------------------------------------------


class NewScenario(WhatIfQuestion):
    """The question, and what it is called. With `tenant` it is that tenant's; else that of all, for whoever sees all."""

    name: Name = Field(min_length=1, description="What people call it; one scenario of a tenant is called so.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class ScenarioNumber(Input):
    """Which scenario."""

    no: int = Field(ge=1, le=2**53, description="The scenario's number, as whatif.scenarios shows it.")


class ScenarioDeletion(ScenarioNumber):
    """Which scenario."""

    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class SavedResult(Output):
    """What came of the question when it was saved."""

    from_: At = Field(alias="from")
    to: At
    finished: bool
    calls: Count
    booked_usd: Usd
    list_usd: Usd
    projected_usd: Usd
    saved_usd: Usd


class Scenario(Output):
    """A saved question."""

    no: int | None = Field(description="Null: it was only tried.")
    name: str
    tenant: str | None = Field(description="Whose it is; null: of all.")
    question: dict[str, Any] = Field(description="What is asked, field by field as whatif.simulate takes it.")
    result: SavedResult = Field(description="What came of it then; whatif.simulate asks again.")
    saved_at: At
    saved_by: str


class Scenarios(Output):
    """A page of saved questions, oldest first."""

    scenarios: list[Scenario]
    next_cursor: str | None


@operation(
    "whatif.save",
    "whatif/scenarios",
    takes=NewScenario,
    output=Scenario,
    permission="manage",
    feature="whatif",
    changes=True,
    runs=True,
    summary="Save a question of what calls would have cost, with what comes of it now.",
)
def save(context: Context, principal: Principal, given: NewScenario) -> Changed | Unchanged:
    """A question without a time is asked of the last thirty days whenever it is."""
    owner = owner_of(principal, given.tenant)
    said = given.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True, exclude={"name", "dry_run", "tenant"})
    refuse_people(said)
    question = {**said, **({} if owner == ANY_TENANT else {"tenant": owner})}
    answer = _answered(context, principal, _question(question, "question"))
    saved = {"question": question, "result": {name: answer[name] for name in _KEPT}}
    made = context.whatif.scenarios.create(given.name, owner, saved, principal.editor, dry_run=given.dry_run)
    shown = _shown(made)
    return Unchanged({**shown, "no": None}) if given.dry_run else Changed(shown, None, shown, owner)


_KEPT: Final = ("from", "to", "finished", "calls", "booked_usd", "list_usd", "projected_usd", "saved_usd")


@operation(
    "whatif.scenarios",
    "whatif/scenarios",
    takes=Paged,
    output=Scenarios,
    permission="view",
    feature="whatif",
    summary="List saved questions.",
)
def scenarios(context: Context, principal: Principal, given: Paged) -> Json:
    """Those of the principal's tenants; those of all only for whoever sees all."""
    page, more = page_of(context.whatif.scenarios.all(principal.tenants), given, "whatif.scenarios", lambda one: (one.no,))
    return {"scenarios": [_shown(one) for one in page], "next_cursor": more}


@operation(
    "whatif.show",
    "whatif/scenarios/{no}",
    takes=ScenarioNumber,
    output=Scenario,
    permission="view",
    feature="whatif",
    summary="Show a saved question.",
)
def show(context: Context, principal: Principal, given: ScenarioNumber) -> Json:
    """With what came of it when it was saved."""
    return _shown(context.whatif.scenarios.find(given.no, principal.tenants))


@operation(
    "whatif.delete",
    "whatif/scenarios/{no}/delete",
    takes=ScenarioDeletion,
    output=Scenario,
    permission="manage",
    feature="whatif",
    changes=True,
    summary="Take a saved question away.",
)
def delete(context: Context, principal: Principal, given: ScenarioDeletion) -> Changed | Unchanged:
    """The question as it was."""
    before = context.whatif.scenarios.delete(given.no, principal.editor, dry_run=given.dry_run)
    shown = _shown(before)
    return Unchanged(shown) if given.dry_run else Changed(shown, shown, None, before.tenant)


def _shown(one: Definition) -> dict[str, Any]:
    return {
        "no": one.no,
        "name": one.name,
        "tenant": shown_owner(one.tenant),
        "question": one.said["question"],
        "result": one.said["result"],
        "saved_at": format_ns(one.made_ns),
        "saved_by": one.made_by,
    }
