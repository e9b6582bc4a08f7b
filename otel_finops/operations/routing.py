"""Routing rules: which of some models is the cheapest that is good enough, for the calls of a scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import NAME_CHARS_MAX, ROUTING_CANDIDATES_MAX
from otel_finops.base.money import divide_half_even, format_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.fields import NAMED, CallFilters, Name, Paged, TenantScoped, page_of
from otel_finops.operations.quality import QualityScore, shown_score
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.scope_fields import owner_of, shown_owner
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.operations.spend import FinerFilters
from otel_finops.operations.whatif import must_be_priced
from otel_finops.operations.whatif_fields import (
    CallSelection,
    ComparedWindow,
    LeftOutCalls,
    PriceRowUsed,
    RecordedModel,
    Share,
    TokenMix,
    fraction_of,
    refuse_people,
    selection_of,
    shown_left_out,
    shown_mix,
    shown_targets,
)
from otel_finops.pricing.providers import is_known

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.definitions import Definition
    from otel_finops.insight.quality import Score
    from otel_finops.insight.routing import Assessed
    from otel_finops.operations.routing_desk import Simulated

_DRY_TEXT: Final = "Check everything and say what would be done; nothing is stored."
_SAMPLES_MAX: Final = 10**9


def _candidates(given: Any) -> Any:
    """`openai/gpt-4o-mini,claude-haiku-4-5`, or a list of such texts or of objects with `provider` and `model`."""
    rows = given.split(",") if isinstance(given, str) else given
    if not isinstance(rows, list | tuple):
        raise ValueError("write models, PROVIDER/MODEL or MODEL, as a list or with commas between them")
    found = [_candidate(row) for row in rows if not isinstance(row, str) or row.strip()]
    if not 1 <= len(found) <= ROUTING_CANDIDATES_MAX:
        raise ValueError(f"write 1 to {ROUTING_CANDIDATES_MAX} models")
    if len({(one["provider"], one["model"]) for one in found}) < len(found):
        raise ValueError("a model stands there twice")
    return found


def _candidate(row: Any) -> dict[str, str | None]:
    if isinstance(row, str):
        first, slash, rest = row.strip().partition("/")
        known = slash and rest and is_known(first.lower())
        row = {"provider": first if known else None, "model": rest if known else row.strip()}
    if not isinstance(row, dict) or not set(row) <= {"provider", "model"}:
        raise ValueError("a model is PROVIDER/MODEL, MODEL, or an object with `model` and `provider`")
    provider, model = row.get("provider"), row.get("model")
    for text in (model,) if provider is None else (provider, model):
        if not isinstance(text, str) or not text.strip() or len(text) > NAME_CHARS_MAX or "\0" in text:
            raise ValueError(f"names have 1 to {NAME_CHARS_MAX} characters and no NUL")
    return {"provider": provider, "model": model}


_SCHEMA: Final = {
    "anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": ROUTING_CANDIDATES_MAX}, {"type": "string"}],
    "example": ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"],
}
Candidates: TypeAlias = Annotated[list[dict[str, str | None]], BeforeValidator(_candidates), WithJsonSchema(_SCHEMA)]
_CANDIDATES_TEXT: Final = (
    "Models to choose from: PROVIDER/MODEL or MODEL with commas between them, or a list; without a provider each call's own, where that "
    "has the model."
)
_BAR_TEXT: Final = "The least score that is good enough, 0 to 1."
_TASK_TEXT: Final = "Scores of this task count before those of any; of outcomes the kind of outcome."
_SOURCE_TEXT: Final = "Only scores of this source; `outcomes`: the ledger's own."
_SAMPLES_TEXT: Final = "Scores of fewer answers are as good as none; those that do not say of how many count."
_UNKNOWN_TEXT: Final = "Whether a model that nobody scored may be chosen."
Unknown: TypeAlias = Literal["refuse", "allow"]


class NewRoutingRule(TenantScoped, CallFilters, FinerFilters):
    """The rule. With `tenant` it is that tenant's; else that of all, for whoever sees all."""

    name: Name = Field(min_length=1, description="What people call it; one rule of a tenant is called so.")
    candidates: Candidates = Field(description=_CANDIDATES_TEXT)
    bar: Share = Field(description=_BAR_TEXT, json_schema_extra=NAMED)
    task: Name | None = Field(default=None, min_length=1, description=_TASK_TEXT)
    source: Name | None = Field(default=None, min_length=1, description=_SOURCE_TEXT)
    min_samples: int = Field(default=0, ge=0, le=_SAMPLES_MAX, description=_SAMPLES_TEXT)
    unknown: Unknown = Field(default="refuse", description=_UNKNOWN_TEXT)
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class RoutingRuleNumber(Input):
    """Which rule."""

    no: int = Field(ge=1, le=2**53, description="The rule's number, as routing.list shows it.")


class RoutingRuleEdit(RoutingRuleNumber, CallFilters, FinerFilters):
    """What is to be another; what is not given stays. An empty text takes a filter, the task or the source away."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    candidates: Candidates | None = Field(default=None, description=_CANDIDATES_TEXT)
    bar: Share | None = Field(default=None, description=_BAR_TEXT)
    task: Name | None = Field(default=None, description=_TASK_TEXT)
    source: Name | None = Field(default=None, description=_SOURCE_TEXT)
    min_samples: int | None = Field(default=None, ge=0, le=_SAMPLES_MAX, description=_SAMPLES_TEXT)
    unknown: Unknown | None = Field(default=None, description=_UNKNOWN_TEXT)
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still: nobody's change is overwritten.")
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class RoutingRuleDeletion(RoutingRuleNumber):
    """Which rule."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class OfferedModel(Output):
    """A model to choose from."""

    provider: str | None = Field(description="Null: each call's own provider, where that has the model.")
    model: str


class RoutingRule(Output):
    """A routing rule."""

    no: int
    name: str
    tenant: str | None = Field(description="Whose it is; null: of all.")
    candidates: list[OfferedModel]
    bar: str
    task: str | None
    source: str | None
    min_samples: int
    unknown: Unknown
    filters: dict[str, str] = Field(description="For which calls; empty: all of the tenant.")
    revision: int
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


class RoutingRuleAnswer(Output):
    """The rule as it is now."""

    rule: RoutingRule
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


class RoutingRules(Output):
    """A page of rules, oldest first."""

    rules: list[RoutingRule]
    next_cursor: str | None


_FILTERS: Final = tuple(name for kind in (CallFilters, FinerFilters) for name in kind.model_fields)
_SAID: Final = ("candidates", "bar", "task", "source", "min_samples", "unknown")


@operation(
    "routing.create",
    "routing/rules",
    takes=NewRoutingRule,
    output=RoutingRuleAnswer,
    permission="manage",
    feature="routing",
    changes=True,
    summary="Make a routing rule: models to choose from, for some calls, and how good they must be.",
)
def create(context: Context, principal: Principal, given: NewRoutingRule) -> Changed | Unchanged:
    """A rule advises; calls are made otherwise by who makes them, or by a policy that downgrades."""
    owner = owner_of(principal, given.tenant)
    said = _said(given)
    _check(context, said)
    made = context.routing.rules.create(given.name, owner, said, principal.editor, dry_run=given.dry_run)
    return _changed(None, made, dry_run=given.dry_run)


@operation(
    "routing.update",
    "routing/rules/{no}",
    takes=RoutingRuleEdit,
    output=RoutingRuleAnswer,
    permission="manage",
    feature="routing",
    changes=True,
    summary="Change a routing rule; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: RoutingRuleEdit) -> Changed | Unchanged:
    """Every definition is kept."""
    own = _said(given)
    if "candidates" in own:
        _check(context, own)

    def edited(said: Mapping[str, Any]) -> dict[str, Any]:
        filters = {name: value for name, value in {**said["filters"], **own["filters"]}.items() if value}
        return {**said, **{name: value or None if name in ("task", "source") else value for name, value in own.items()}, "filters": filters}

    before, after = context.routing.rules.update(
        given.no, given.name, edited, principal.editor, revision=given.revision, dry_run=given.dry_run
    )
    return _changed(before, after, dry_run=given.dry_run)


@operation(
    "routing.delete",
    "routing/rules/{no}/delete",
    takes=RoutingRuleDeletion,
    output=RoutingRuleAnswer,
    permission="manage",
    feature="routing",
    changes=True,
    summary="Take a routing rule away.",
)
def delete(context: Context, principal: Principal, given: RoutingRuleDeletion) -> Changed | Unchanged:
    """The rule as it was."""
    before = context.routing.rules.delete(given.no, principal.editor, revision=given.revision, dry_run=given.dry_run)
    shown = _shown(before)
    answer = {"rule": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown, None, before.tenant)


@operation(
    "routing.list",
    "routing/rules",
    takes=Paged,
    output=RoutingRules,
    permission="view",
    feature="routing",
    summary="List routing rules.",
)
def listed(context: Context, principal: Principal, given: Paged) -> Json:
    """Those of the principal's tenants; those of all only for whoever sees all."""
    page, more = page_of(context.routing.rules.all(principal.tenants), given, "routing.list", lambda one: (one.no,))
    return {"rules": [_shown(one) for one in page], "next_cursor": more}


@operation(
    "routing.show",
    "routing/rules/{no}",
    takes=RoutingRuleNumber,
    output=RoutingRule,
    permission="view",
    feature="routing",
    summary="Show a routing rule.",
)
def show(context: Context, principal: Principal, given: RoutingRuleNumber) -> Json:
    """As it stands; routing.simulate says what it comes to."""
    return _shown(context.routing.rules.find(given.no, principal.tenants))


def _said(given: NewRoutingRule | RoutingRuleEdit) -> dict[str, Any]:
    """What is given of a rule, as it is stored; of a new one all of it."""
    everything = given.model_dump(mode="json", exclude_unset=isinstance(given, RoutingRuleEdit))
    refuse_people(everything)
    filters = {name: everything[name] for name in _FILTERS if everything.get(name) is not None}
    return {name: everything[name] for name in _SAID if name in everything} | {"filters": filters}


def _check(context: Context, said: Mapping[str, Any]) -> None:
    for one in said["candidates"]:
        must_be_priced(context, "candidates", one["provider"], one["model"])


def _changed(before: Definition | None, after: Definition, *, dry_run: bool) -> Changed | Unchanged:
    shown, changed = _shown(after), after != before and not dry_run
    answer = {"rule": shown, "changed": changed}
    return Changed(answer, None if before is None else _shown(before), shown, after.tenant) if changed else Unchanged(answer)


def _shown(one: Definition) -> dict[str, Any]:
    return {
        "no": one.no,
        "name": one.name,
        "tenant": shown_owner(one.tenant),
        **one.said,
        "revision": one.revision,
        "made_at": format_ns(one.made_ns),
        "made_by": one.made_by,
        "changed_at": format_ns(one.changed_ns),
        "changed_by": one.changed_by,
    }


# --- what a rule comes to ----------------------------------------------------------------------------------------------


class Trial(CallSelection):
    """Which calls, which models to choose from, and how good they must be."""

    candidates: Candidates | None = Field(default=None, description=_CANDIDATES_TEXT)
    bar: Share = Field(default="0", description=_BAR_TEXT)
    task: Name | None = Field(default=None, min_length=1, description=_TASK_TEXT)
    source: Name | None = Field(default=None, min_length=1, description=_SOURCE_TEXT)
    min_samples: int = Field(default=0, ge=0, le=_SAMPLES_MAX, description=_SAMPLES_TEXT)
    unknown: Unknown = Field(default="refuse", description=_UNKNOWN_TEXT)


class RoutingSimulateInput(Trial):
    """The same, or a stored rule."""

    no: int | None = Field(
        default=None, ge=1, le=2**53, description="The number of a stored rule; what is given beside it takes the place of what it says."
    )


class CandidateOutcome(Output):
    """A model to choose from, judged."""

    provider: str | None
    model: str
    verdict: Literal["chosen", "good_enough", "below_bar", "unknown_quality", "no_price"]
    projected_usd: Usd | None = Field(description="What the compared calls would have cost by it.")
    usd_per_call: Usd | None
    saved_usd: Usd | None = Field(description="Of what was booked for the compared calls; negative where it is dearer.")
    quality: QualityScore | None = Field(description="Null: nobody scored it, its quality is not known.")
    uncertain: bool = Field(description="The bar lies within what chance explains of its score (95 %).")
    on_front: bool = Field(description="No other one is both at least as good and at least as cheap, and one of both more so.")
    usd_per_success: Usd | None = Field(
        description="What a good answer costs in the end, attempts that fail included: the cost of a call divided by the score."
    )
    priced_by: list[PriceRowUsed]
    no_price_calls: Count = Field(description="Calls that it cannot price; they are compared for none.")


class RecordedModelWithQuality(RecordedModel):
    """Compared calls of one model as they were recorded, and how good it is."""

    usd_per_call: Usd
    quality: QualityScore | None
    usd_per_success: Usd | None


class RoutingAnswer(ComparedWindow):
    """What the rule comes to."""

    no: int | None
    name: str | None
    bar: str
    calls: Count = Field(description="Calls that were compared: every candidate that the price book has can price them.")
    booked_usd: Usd
    list_usd: Usd = Field(description="The same calls as recorded by the price book, without reported costs and agreed discounts.")
    mix: TokenMix
    chosen: str | None = Field(description="The cheapest that is good enough; null: none is, or there is no call.")
    says: str = Field(description="Why.")
    cheapest_success: str | None = Field(description="The one with the least usd_per_success, whatever the bar.")
    candidates: list[CandidateOutcome]
    recorded: list[RecordedModelWithQuality] = Field(description="By what the calls were made, dearest first.")
    left_out: list[LeftOutCalls]
    notes: list[str]


@operation(
    "routing.simulate",
    "routing/simulate",
    takes=RoutingSimulateInput,
    output=RoutingAnswer,
    permission="view",
    feature="routing",
    by_body=True,
    summary="Say which model is the cheapest that is good enough, at the tokens and the cache-hit rate of recorded calls.",
)
def simulate(context: Context, principal: Principal, given: RoutingSimulateInput) -> Json:
    """Every recorded call priced by every candidate, exactly; nothing is stored."""
    from otel_finops.insight.quality import Wanted  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.insight.routing import Candidate  # noqa: PLC0415

    rule, trial = _trial(context, principal, given)
    if trial.candidates is None:
        raise BadInput("candidates: say which models to choose from, or `no`, a stored rule")
    selection = selection_of(context, principal, trial)
    bar = fraction_of(trial.bar) or Fraction(0)
    found = context.routing.simulate(
        selection,
        [Candidate(one["provider"], one["model"] or "") for one in trial.candidates],
        Wanted(trial.task, trial.source, trial.min_samples),
        bar,
        own=_whose(principal, trial),
        allow_unknown=trial.unknown == "allow",
    )
    return {
        "no": given.no,
        "name": None if rule is None else rule.name,
        "bar": trial.bar,
        "from": format_ns(selection.from_ns),
        "to": format_ns(selection.to_ns),
        "finished": found.until_ns == selection.to_ns,
        "until": format_ns(found.until_ns),
        "pruned_until": pruned_until(context, trial.window()._replace(from_ns=selection.from_ns)),
        **_outcome(found),
    }


def _trial(context: Context, principal: Principal, given: RoutingSimulateInput) -> tuple[Definition | None, Trial]:
    own = given.model_dump(by_alias=True, exclude_unset=True, exclude={"no"})
    if given.no is None:
        return None, Trial.model_validate(own)
    rule = context.routing.rules.find(given.no, principal.tenants)
    said = {**rule.said, **rule.said["filters"], **({} if rule.tenant == ANY_TENANT else {"tenant": rule.tenant}), **own}
    del said["filters"]
    try:
        return rule, Trial.model_validate(said)
    except ValidationError as fault:
        raise BadInput(f"routing rule {given.no}: {explained(fault)}") from None


def _whose(principal: Principal, trial: Trial) -> str:
    """Whose own scores count: the tenant's that is asked about, if it is one."""
    tenants = trial.tenants(principal)
    return next(iter(tenants)) if tenants is not None and len(tenants) == 1 else ANY_TENANT


def _outcome(found: Simulated) -> dict[str, Any]:
    compared, assessment = found.compared, found.assessment
    total = compared.total
    return {
        "calls": total.calls,
        "booked_usd": format_usd(total.booked),
        "list_usd": format_usd(total.listed),
        "mix": shown_mix(compared.mix),
        "chosen": assessment.chosen and str(assessment.chosen),
        "says": _says(found),
        "cheapest_success": assessment.cheapest_success and str(assessment.cheapest_success),
        "candidates": [_candidate_outcome(found, place, one) for place, one in enumerate(assessment.candidates)],
        "recorded": _recorded(found),
        "left_out": shown_left_out(compared),
        "notes": list(_notes(found)),
    }


def _candidate_outcome(found: Simulated, place: int, one: Assessed) -> dict[str, Any]:
    calls, booked, pico, score = found.compared.total.calls, found.compared.total.booked, one.priced.pico, one.priced.score
    number = found.numbers.get(place)
    return {
        **one.priced.candidate._asdict(),
        "verdict": one.verdict,
        "projected_usd": None if pico is None else format_usd(pico),
        "usd_per_call": None if pico is None or not calls else format_usd(divide_half_even(pico, calls)),
        "saved_usd": None if pico is None else format_usd(booked - pico),
        "quality": None if score is None else shown_score(score),
        "uncertain": one.is_uncertain,
        "on_front": one.on_front,
        "usd_per_success": None if one.per_success_pico is None else format_usd(one.per_success_pico),
        "priced_by": [] if number is None else shown_targets(found.compared.targets[number]),
        "no_price_calls": 0 if number is None else found.compared.unable[number],
    }


def _recorded(found: Simulated) -> list[dict[str, Any]]:
    groups = sorted(found.compared.groups.items(), key=lambda item: (-item[1].booked, item[0][0] or "", item[0][1] or ""))
    rows = []
    for (provider, model), sums in groups:
        score = None if model is None else found.score_of(provider, model)
        per_success = _per_success(sums.booked, sums.calls, score)
        rows.append(
            {
                "provider": provider,
                "model": model,
                "calls": sums.calls,
                "booked_usd": format_usd(sums.booked),
                "usd_per_call": format_usd(divide_half_even(sums.booked, sums.calls)),
                "quality": None if score is None else shown_score(score),
                "usd_per_success": None if per_success is None else format_usd(per_success),
            }
        )
    return rows


def _per_success(pico: int, calls: int, score: Score | None) -> int | None:
    from otel_finops.insight.routing import Candidate, Priced, per_success  # noqa: PLC0415 - `--help` must not load the database rooms

    return per_success(Priced(Candidate(None, ""), pico, score), calls)


def _says(found: Simulated) -> str:
    calls, assessment = found.compared.total.calls, found.assessment
    if not calls:
        return "There is no call that all candidates can price, so nothing can be chosen."
    if assessment.chosen is not None:
        return f"{assessment.chosen} is the cheapest that is good enough for {calls} calls."
    unknown = [str(one.priced.candidate) for one in assessment.candidates if one.verdict == "unknown_quality"]
    more = f"; of {', '.join(unknown)} nobody knows how good they are (quality.import)" if unknown else ""
    return f"None is known to be good enough{more}."


def _notes(found: Simulated) -> Iterator[str]:
    candidates = found.assessment.candidates
    yield "Tokens are those that the recorded models counted; another model counts the same text differently and answers at another length."
    if unknown := _names(candidates, "unknown_quality"):
        yield f"The quality of {unknown} is not known."
    if unpriced := _names(candidates, "no_price"):
        yield f"The price book has no price for {unpriced}."
    if uncertain := ", ".join(str(one.priced.candidate) for one in candidates if one.is_uncertain):
        yield f"For {uncertain} the bar lies within what chance explains of the score: look at more answers."
    if any(found.compared.unable):
        yield "Calls that a candidate cannot price are compared for none: see no_price_calls."


def _names(candidates: Sequence[Assessed], verdict: str) -> str:
    return ", ".join(str(one.priced.candidate) for one in candidates if one.verdict == verdict)
