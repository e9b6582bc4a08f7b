"""Decisions: whether a call may be made, asked before it is made; and which ones were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from otel_finops.base.errors import FinopsError, KeyReused, NotFound
from otel_finops.base.limits import IDEMPOTENCY_KEY_CHARS_MAX, NAME_CHARS_MAX, TAGS_MAX, UNITS_PER_CALL_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.asked_calls import key_of, question_of
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Amount, Name, Paged, TenantScoped, TraceId, Windowed, place_cursor
from otel_finops.operations.registry import Input, Json, Output, Together, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.decision_desk import Posed
    from otel_finops.governance.decisions import Decision, Query, Stopped
    from otel_finops.governance.reservations import Tenants

ActionName: TypeAlias = Literal["allow", "block", "require_approval", "downgrade", "throttle", "queue"]
GateName: TypeAlias = Literal["kill_switch", "guardrail", "credits", "budget", "policy", "store"]
DRY_RUN: Final = "dry-run"
"""The id of what is only tried: nothing stands on record under it."""
_ORDER: Final = "decisions.list"
_FILTERS: Final = (
    "action", "gate", "rule_id", "provider", "model", "operation", "agent", "step", "purpose", "cost_center", "service", "environment",
    "user", "session", "trace_id",
)  # fmt: skip


def _tags(given: Any) -> Any:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise ValueError('no JSON object of texts, as {"team": "search"}') from None
    return given


def _few(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > TAGS_MAX:
        raise ValueError(f"at most {TAGS_MAX} tags")
    return tags


Tags: TypeAlias = Annotated[dict[Name, Name], BeforeValidator(_tags), AfterValidator(_few)]
Tokens: TypeAlias = Annotated[int, Field(ge=0, le=UNITS_PER_CALL_MAX)]


class Reason(Output):
    """What one gate says."""

    gate: GateName
    action: ActionName
    rule: str = Field(description="What people call the rule.")
    rule_id: str | None = Field(description="By which it is found; null for what has none.")
    text: str = Field(description="One sentence, with the figures where they are the caller's to know.")
    figures: dict[str, str] = Field(description="Decimal strings by name.")


class HowEstimated(Output):
    """How the estimate was made."""

    source: Literal["given", "priced", "unknown"] = Field(description="By the caller, by the price book, or not at all.")
    guessed: list[str] = Field(description="Counts that are guesses or upper bounds, and of what.")
    detail: str | None = Field(description="Why it is not known.")
    tokens: Count = Field(description="Prompt and most output.")


class DecisionAnswer(Output):
    """Whether a call may be made."""

    decision_id: str = Field(description="Under which it stands on record; `dry-run` of one that does not.")
    action: ActionName = Field(description="What the caller is to do. In observe mode always `allow`, unless a kill switch stops the call.")
    http_status: int = Field(description="With which the application should answer its own caller: 200 where the call may be made.")
    reasons: list[Reason] = Field(description="What was said by all that were asked, in the order of asking.")
    reservation_id: str | None = Field(description="What is held for the call; its span should carry it as `finops.reservation`.")
    expires_at: At | None = Field(description="When it is given back unless it is settled before.")
    estimate_usd: Usd | None = Field(description="Null: nobody knows what the call will cost.")
    estimate: HowEstimated
    retry_after_s: float | None = Field(description="When to ask again, for throttle and queue.")
    model: str | None = Field(description="What to call instead, for downgrade.")
    approval_id: str | None = Field(description="What somebody has to decide on, for require_approval.")
    observed: bool = Field(description="Nothing is enforced: `decided` is what would have happened.")
    decided: ActionName
    recorded: bool = Field(description="False: a dry run, or the database was away.")
    at: At


class DecisionInput(Input):
    """A call that somebody wants to make."""

    provider: Name = Field(description="Who bills, in any spelling; empty where that is not known yet.")
    model: Name = Field(description="The model's name as the call will carry it; empty where that is not known yet.")
    operation: Name | None = Field(default=None, description="What for, e.g. chat.")
    tenant: Name | None = Field(default=None, description="Whose call it is. The token's own tenant when it has one.")
    user: Name | None = Field(default=None, description="Of which user.")
    agent: Name | None = Field(default=None, description="Of which agent.")
    step: Name | None = Field(default=None, description="Of which step.")
    purpose: Name | None = Field(default=None, description="For which purpose.")
    cost_center: Name | None = Field(default=None, description="For which cost centre.")
    service: Name | None = Field(default=None, description="Of which service.")
    environment: Name | None = Field(default=None, description="In which environment.")
    session: Name | None = Field(default=None, description="Of which session.")
    trace_id: TraceId | None = Field(default=None, description="Of which trace.")
    tags: Tags = Field(default={}, description='Tags of the keys that the settings allow, as JSON: {"team": "search"}.')
    input_tokens: Tokens | None = Field(default=None, description="Prompt tokens, all taken as uncached.")
    text_chars: Tokens | None = Field(
        default=None, description="Characters of the prompt where its tokens are unknown: four are one token."
    )
    max_output_tokens: Tokens | None = Field(default=None, description="Most tokens that may come back.")
    estimate_usd: Amount | None = Field(
        default=None, description="What the call will cost at most, where the caller knows better than the price book."
    )
    idempotency_key: Annotated[str, Field(min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)] | None = Field(
        default=None, description="Who asks again with this key gets the same decision, and nothing is held twice."
    )
    dry_run: bool = Field(default=False, description="Answer the same; hold nothing and put nothing on record.")

    def record(self) -> dict[str, Any]:
        """The call, without what is not known."""
        said = self.model_dump(exclude={"tags", "idempotency_key", "dry_run"}, exclude_none=True)
        return {name: value for name, value in said.items() if value != ""}


class _Prepared(NamedTuple):
    """A call to be decided on, and who asks."""

    posed: Posed
    tenants: Tenants
    dry_run: bool

    def told(self, answer: Mapping[str, Any]) -> Json:
        """The answer as he may see it."""
        from otel_finops.governance.decision_desk import told  # noqa: PLC0415 - `--help` must not load the database rooms

        return told(answer, self.tenants)


def _prepare(context: Context, principal: Principal, given: DecisionInput) -> _Prepared:
    record = given.record()
    new_id = DRY_RUN if given.dry_run else context.decisions.new_id()
    question = question_of(context, principal, record, given.tags, new_id)
    key = None if given.dry_run else key_of({**record, "tags": given.tags}, given.idempotency_key)
    return _Prepared(context.decisions.posed(question, key), principal.tenants, given.dry_run)


def _finish(context: Context, prepared: Sequence[_Prepared]) -> list[Json | FinopsError]:
    decided = iter(context.decisions.decide_all([one.posed for one in prepared if not one.dry_run]))
    return [_tried(context, one) if one.dry_run else _answered(one, next(decided)) for one in prepared]


def _tried(context: Context, one: _Prepared) -> Json | FinopsError:
    try:
        return one.told(context.decisions.try_out(one.posed))
    except FinopsError as fault:
        return fault


def _answered(one: _Prepared, answer: Mapping[str, Any] | KeyReused) -> Json | FinopsError:
    return answer if isinstance(answer, KeyReused) else one.told(answer)


_TOGETHER: Final = Together(
    _prepare, _finish, lambda context, one: one.told(context.decisions.away(one.posed)), lambda context: context.decisions.waits
)


@operation(
    "decisions.create",
    "decisions",
    takes=DecisionInput,
    output=DecisionAnswer,
    permission="ingest",
    feature="decisions",
    changes=True,
    own_record=True,
    together=_TOGETHER,
    agents=False,
    summary="Ask whether a call may be made, and hold what it may cost.",
)
def create(context: Context, principal: Principal, given: DecisionInput) -> Json:
    """Kill switches, guardrails, credits, hard budgets, policies: the first that halts the call decides."""
    return _TOGETHER.handler(context, principal, given)


class ShownDecision(Output):
    """A decision on record."""

    decision_id: str
    at: At
    tenant: str
    action: ActionName = Field(description="What was decided; in observe mode, what would have been.")
    observed: bool = Field(description="The caller was told to go on whatever was decided.")
    gate: GateName | None = Field(description="Who decided; null: nobody had anything to say.")
    rule_id: str | None
    provider: str | None
    model: str | None = Field(description="That was asked for.")
    operation: str | None
    user: str | None
    session: str | None
    agent: str | None
    step: str | None
    purpose: str | None
    cost_center: str | None
    service: str | None
    environment: str | None
    trace_id: str | None
    estimate_usd: Usd | None
    tokens: Count
    answer: DecisionAnswer = Field(description="What the caller was told.")


class Decisions(Output):
    """Decisions, newest first."""

    decisions: list[ShownDecision]
    next_cursor: str | None


class _Selected(Windowed, TenantScoped):
    """Selects decisions."""

    action: ActionName | None = Field(default=None, description="Only what was decided so: allow, block, require_approval, ...")
    gate: GateName | None = Field(default=None, description="Only what this gate decided.")
    rule_id: Name | None = Field(default=None, description="Only what this rule decided.")
    provider: Name | None = Field(default=None, description="Only calls of this provider family.")
    model: Name | None = Field(default=None, description="Only calls of this model, as callers named it.")
    operation: Name | None = Field(default=None, description="Only this operation.")
    user: Name | None = Field(default=None, description="Only calls of this user.")
    session: Name | None = Field(default=None, description="Only calls of this session.")
    agent: Name | None = Field(default=None, description="Only calls of this agent.")
    step: Name | None = Field(default=None, description="Only calls of this step.")
    purpose: Name | None = Field(default=None, description="Only calls for this purpose.")
    cost_center: Name | None = Field(default=None, description="Only calls for this cost centre.")
    service: Name | None = Field(default=None, description="Only calls of this service.")
    environment: Name | None = Field(default=None, description="Only calls in this environment.")
    trace_id: TraceId | None = Field(default=None, description="Only calls of this trace.")
    observed: bool | None = Field(default=None, description="Only those that were (true) or were not (false) only observed.")

    def query(self, principal: Principal, *, halted: bool = False) -> Query:
        """Which decisions are meant; raises BadInput for a window that ends before it begins."""
        from otel_finops.governance.decisions import Query  # noqa: PLC0415 - `--help` must not load the database rooms

        filters = {name: value for name in _FILTERS if (value := getattr(self, name)) is not None}
        window = self.window()
        return Query(self.tenants(principal), window.from_ns, window.to_ns, filters, self.observed, halted)


class DecisionsInput(_Selected, Paged):
    """Which decisions."""

    halted: bool = Field(default=False, description="Only those that say anything else than allow.")


@operation(
    "decisions.list",
    "decisions",
    takes=DecisionsInput,
    output=Decisions,
    permission="view",
    feature="decisions",
    summary="List decisions on calls, newest first.",
)
def listed(context: Context, principal: Principal, given: DecisionsInput) -> Json:
    """Those of the principal's tenants."""
    place = given.place(_ORDER)
    query = given.query(principal, halted=given.halted)
    found, names = context.decisions.page(query, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    return {
        "decisions": [_shown(one, names, principal) for one in page],
        "next_cursor": place_cursor(_ORDER, [page[-1].no]) if len(found) > given.limit else None,
    }


class DecisionId(Input):
    """Which decision."""

    decision_id: Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)] = Field(description="The decision's id.")


@operation(
    "decisions.show",
    "decisions/{decision_id}",
    takes=DecisionId,
    output=ShownDecision,
    permission="view",
    feature="decisions",
    summary="Show one decision on a call.",
)
def show(context: Context, principal: Principal, given: DecisionId) -> Json:
    """With everything that the caller was told."""
    found = context.decisions.find(given.decision_id, principal.tenants)
    if found is None:
        raise NotFound("There is no such decision.")
    decision, names = found
    return _shown(decision, names, principal)


class BlockedQuery(_Selected):
    """Which decisions are added up."""

    by_rule: bool = Field(default=False, description="One row for each rule too, those with the most calls first, a thousand at most.")


class StoppedRow(Output):
    """Decisions of one kind."""

    action: ActionName
    observed: bool
    gate: GateName | None
    rule_id: str | None = Field(description="Of the rule that decided; null where rules are not told apart, or none decided.")
    calls: Count
    estimate_usd: Usd = Field(description="The sum of what is known.")
    unknown_calls: Count = Field(description="Calls without an estimate; they are not in the sum.")


class StoppedReport(Output):
    """What was not simply let through."""

    blocked_usd: Usd = Field(description="Estimates of calls that were blocked, or had to wait for approval, and were not only observed.")
    blocked_calls: Count
    would_block_usd: Usd = Field(description="The same of calls that were only observed.")
    would_block_calls: Count
    rows: list[StoppedRow]


@operation(
    "decisions.blocked",
    "decisions/blocked",
    takes=BlockedQuery,
    output=StoppedReport,
    permission="view",
    feature="decisions",
    summary="Say what decisions kept from being spent, and in observe mode what they would have.",
)
def blocked(context: Context, principal: Principal, given: BlockedQuery) -> Json:
    """A call that asks again and is blocked again counts twice."""
    query = given.query(principal)
    rows = context.decisions.stopped(query)
    done = [one for one in rows if one.action in ("block", "require_approval")]
    real, observed = [one for one in done if not one.observed], [one for one in done if one.observed]
    return {
        "blocked_usd": format_usd(sum(one.pico for one in real)),
        "blocked_calls": sum(one.calls for one in real),
        "would_block_usd": format_usd(sum(one.pico for one in observed)),
        "would_block_calls": sum(one.calls for one in observed),
        "rows": [_stopped(one) for one in (context.decisions.stopped_by_rule(query) if given.by_rule else rows)],
    }


def _stopped(one: Stopped) -> Json:
    return {
        "action": one.action, "observed": one.observed, "gate": one.gate or None, "rule_id": one.rule_id,
        "calls": one.calls, "estimate_usd": format_usd(one.pico), "unknown_calls": one.calls - one.estimated,
    }  # fmt: skip


def _shown(one: Decision, names: Any, principal: Principal) -> Json:
    from otel_finops.governance.decision_desk import told  # noqa: PLC0415 - `--help` must not load the database rooms

    call = one.call
    plain = ("tenant", "provider", "model", "operation", "agent", "step", "purpose", "cost_center", "service", "environment", "tokens")
    return {
        "decision_id": one.id,
        "at": format_ns(call.at_ns),
        "action": one.action,
        "observed": one.observed,
        "gate": one.gate or None,
        "rule_id": one.rule_id,
        **{name: getattr(call, name) for name in plain},
        "user": None if call.user is None else names.get(call.user, call.user),
        "session": None if call.session is None else names.get(call.session, call.session),
        "trace_id": call.trace,
        "estimate_usd": None if call.pico is None else format_usd(call.pico),
        "answer": told(one.answer, principal.tenants),
    }
