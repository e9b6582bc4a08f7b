"""Replay: what budgets and policies would have done with calls of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import POLICY_FILE_BYTES_MAX, REPLAY_CALLS_MAX, REPLAY_DRAFTS_MAX, REPLAY_EXAMPLES_MAX, REPLAY_S_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.budget_fields import sees as sees_budget
from otel_finops.operations.budgets import NewBudget, proposed
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.fields import TenantScoped, Windowed
from otel_finops.operations.policy_fields import Definition
from otel_finops.operations.policy_fields import sees as sees_policy
from otel_finops.operations.policy_sets import read_document
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.scope_fields import must_own
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.budgets import Budget
    from otel_finops.governance.policies import Policy
    from otel_finops.governance.replay import Example, Outcome, Replayed, Selection, Sum

_DAYS: Final = 30
_NUMBERS_MAX: Final = 1_000
_TRIED: Final = 2**60
"""The first number of rules that stand nowhere: no stored one has it."""


def _numbers(given: Any) -> Any:
    """`all`, `none`, `3,7`, a number, or a list of numbers; as a list, None for all."""
    if given in (None, "all"):
        return None
    if given == "none":
        return []
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",")]
    rows = given if isinstance(given, list) else [given]
    if len(rows) > _NUMBERS_MAX or not all(str(one).isascii() and str(one).isdigit() and len(str(one)) < 17 for one in rows):
        raise ValueError("write all, none, or numbers: 3,7")
    return [int(one) for one in rows]


_SCHEMA: Final = {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}, {"type": "string"}], "example": "3,7"}
Numbers: TypeAlias = Annotated[list[int] | None, BeforeValidator(_numbers), WithJsonSchema(_SCHEMA)]


class ReplayInput(Windowed, TenantScoped):
    """Which calls, and by which rules."""

    policies: Numbers = Field(
        default=None,
        description="Which of the standing policies: all (with those of `document` none, unless it is said), none, or their numbers.",
    )
    budgets: Numbers = Field(default=None, description="Which of the standing budgets, in the same way.")
    document: Annotated[str, Field(max_length=POLICY_FILE_BYTES_MAX)] | None = Field(
        default=None,
        description="Rules to be tried, as YAML or JSON: `policies` and `budgets`, lists of definitions as policies.create and "
        "budgets.create take them. Nothing of it is stored.",
    )
    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="`enforce`: what is blocked is not made, and leaves room for others. `observe`: it is made and counts, as in observe "
        "mode.",
    )
    stopped: bool = Field(default=True, description="With calls that decisions stopped; no ledger has them, they count at their estimates.")


class Amount(Output):
    """Calls, and what they cost; calls whose cost nobody knows add nothing to it."""

    calls: Count
    usd: Usd


class Live(Output):
    """What happened."""

    made: Amount = Field(description="Calls that stand in the ledger.")
    stopped: Amount = Field(description="Calls that decisions stopped, at their estimates.")


class Again(Output):
    """What would have happened."""

    made: Amount = Field(description="Calls that would have been made, at what they would have cost.")
    saved_usd: str = Field(description="What would not have been spent of what was; negative where rules choose dearer models.")
    unknown_cost_calls: Count = Field(description="Calls whose cost nobody knows.")


class ActionAmount(Amount):
    """Calls that would have been answered so."""

    action: str


class RuleOutcome(Output):
    """What one rule would have done."""

    gate: Literal["budget", "policy"]
    rule: str
    rule_id: str | None = Field(description="Null for one that was only tried.")
    action: str
    calls: Count
    usd: Usd = Field(description="What these calls cost; those that decisions stopped at their estimates.")
    saved_usd: str


class ReplayedCall(Output):
    """A call on which a rule would have decided."""

    at: At
    tenant: str
    provider: str | None
    model: str | None
    agent: str | None
    trace_id: str | None
    span_id: str | None = Field(description="Null for what was stopped.")
    decision_id: str | None = Field(description="The decision that let it through or stopped it; null: nobody was asked.")
    made: bool = Field(description="False: it was stopped.")
    usd: Usd | None = Field(description="What it cost, or its estimate.")
    saved_usd: str
    action: str
    gate: str
    rule: str
    reason: str


class FailedPolicy(Output):
    """A policy that could not be evaluated for some calls, and was skipped."""

    policy: str
    calls: Count


class ReplayAnswer(Output):
    """What came of it."""

    from_: At = Field(alias="from")
    to: At
    finished: bool = Field(
        description=f"False: there were more than {REPLAY_CALLS_MAX} calls, or it took more than {REPLAY_S_MAX:g} s; it came up to `until`."
    )
    until: At
    mode: Literal["enforce", "observe"]
    policies: list[str] = Field(description="The policies that were asked, in their order.")
    budgets: list[str]
    live: Live
    replayed: Again
    actions: list[ActionAmount]
    rules: list[RuleOutcome] = Field(description="Those that decided most first.")
    calls: list[ReplayedCall] = Field(description=f"The first {REPLAY_EXAMPLES_MAX} on which a rule decided.")
    failed: list[FailedPolicy]


@operation(
    "replay.run",
    "replay",
    takes=ReplayInput,
    output=ReplayAnswer,
    permission="view",
    feature="replay",
    by_body=True,
    summary="Say what budgets and policies would have blocked, cost and saved, over calls of the past; nothing is stored.",
)
def run(context: Context, principal: Principal, given: ReplayInput) -> Json:
    """Calls of the principal's tenants, by the rules that he sees. Of the last thirty days when nothing is said."""
    tried = _tried(context, principal, given.document)
    policies = [*_standing_policies(context, principal, given), *tried.policies]
    budgets = [*_standing_budgets(context, principal, given), *tried.budgets]
    selection = _selection(context, principal, given, policies, budgets)
    found = context.replays.run(selection)
    names = {one.no: one.name for one in policies}
    return {
        "from": format_ns(selection.from_ns),
        "to": format_ns(selection.to_ns),
        "finished": found.until_ns == selection.to_ns,
        "until": format_ns(found.until_ns),
        "mode": given.mode,
        "policies": [one.name for one in sorted(policies, key=lambda one: (one.priority, one.no))],
        "budgets": [one.name for one in budgets],
        "failed": [{"policy": names[no], "calls": calls} for no, calls in sorted(found.failed.items())],
        **_shown(found),
    }


def _selection(
    context: Context, principal: Principal, given: ReplayInput, policies: Sequence[Policy], budgets: Sequence[Budget]
) -> Selection:
    from otel_finops.governance.budgets import BudgetSet  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.governance.policies import PolicySet, Rule  # noqa: PLC0415
    from otel_finops.governance.replay import Selection  # noqa: PLC0415

    window = given.window()
    to_ns = context.clock.now_ns() if window.to_ns is None else window.to_ns
    from_ns = max(0, to_ns - _DAYS * NS_PER_DAY) if window.from_ns is None else window.from_ns
    if from_ns > to_ns:
        raise BadInput("from: it lies ahead; calls of the past are replayed")
    return Selection(
        given.tenants(principal), from_ns, to_ns, PolicySet(1, {one.no: Rule.of(one) for one in policies}),
        BudgetSet(1, {one.no: one for one in budgets}), given.mode, given.stopped,
    )  # fmt: skip


# --- the rules -----------------------------------------------------------------------------------------------------


def _standing_policies(context: Context, principal: Principal, given: ReplayInput) -> list[Policy]:
    if not context.features.policies or not _is_asked(given, "policies"):
        return []
    seen = {one.no: one for one in context.policies.all() if sees_policy(principal, one)}
    return _chosen("policies", "policy", seen, given.policies)


def _standing_budgets(context: Context, principal: Principal, given: ReplayInput) -> list[Budget]:
    if not context.features.budgets or not _is_asked(given, "budgets"):
        return []
    seen = {one.no: one for one in context.budgets.all() if sees_budget(principal, one)}
    return _chosen("budgets", "budget", seen, given.budgets)


def _is_asked(given: ReplayInput, kind: str) -> bool:
    """Whether standing rules of a kind take part: who brings his own asks for them by name."""
    return kind in given.model_fields_set or given.document is None


def _chosen(field: str, what: str, seen: Mapping[int, Any], numbers: Sequence[int] | None) -> list[Any]:
    if numbers is None:
        return list(seen.values())
    missing = [no for no in numbers if no not in seen]
    if missing:
        raise NotFound(f"{field}: There is no {what} {missing[0]}.")
    return [seen[no] for no in dict.fromkeys(numbers)]


class _Tried(NamedTuple):
    """Rules that stand nowhere; like new ones they are asked behind those of the same priority."""

    policies: Sequence[Policy] = ()
    budgets: Sequence[Budget] = ()


def _tried(context: Context, principal: Principal, document: str | None) -> _Tried:
    """The rules of a document, each checked as if it were to be made.

    Raises:
        BadInput: it is no such document, or a rule can be none; the message begins with its place. Forbidden and NotFound where it is
            for calls that are not the principal's.
    """
    if document is None:
        return _Tried()
    read = read_document(document)
    if not isinstance(read, dict) or read.keys() - {"version", "policies", "budgets"}:
        raise BadInput("document: write `policies:` and `budgets:`, lists, and nothing else")
    lists = {kind: read.get(kind) or [] for kind in ("policies", "budgets")}
    if not all(isinstance(rows, list) for rows in lists.values()) or sum(map(len, lists.values())) > REPLAY_DRAFTS_MAX:
        raise BadInput(f"document: `policies` and `budgets` are lists, of at most {REPLAY_DRAFTS_MAX} rules together")

    def policy(said: Any) -> Policy:
        one = Definition.model_validate(said)
        must_own(principal, one.scope, "A policy")
        return context.policies.create(one.edit(), principal.editor, dry_run=True)

    def budget(said: Any) -> Budget:
        return proposed(context, principal, NewBudget.model_validate({**said, "dry_run": True} if isinstance(said, dict) else said))[0]

    return _Tried(
        [_placed("policies", at, policy, said)._replace(no=_TRIED + at) for at, said in enumerate(lists["policies"])],
        [_placed("budgets", at, budget, said)._replace(no=_TRIED + at, made_ns=0, parent=None) for at, said in enumerate(lists["budgets"])],
    )


def _placed(kind: str, at: int, make: Any, said: Any) -> Any:
    try:
        return make(said)
    except ValidationError as fault:
        raise BadInput(f"document: {kind}.{at}: {explained(fault)}") from None
    except BadInput as fault:
        raise type(fault)(f"document: {kind}.{at}: {fault}") from None


# --- the answer ----------------------------------------------------------------------------------------------------


def _shown(found: Replayed) -> dict[str, Any]:
    return {
        "live": {"made": _amount(found.made), "stopped": _amount(found.stopped)},
        "replayed": {"made": _amount(found.again), "saved_usd": format_usd(found.saved_pico), "unknown_cost_calls": found.unknown},
        "actions": [{"action": action, **_amount(total)} for action, total in sorted(found.by_action.items())],
        "rules": [_outcome(one) for one in found.outcomes],
        "calls": [_example(one) for one in found.examples],
    }


def _amount(total: Sum) -> dict[str, Any]:
    return {"calls": total.calls, "usd": format_usd(total.pico)}


def _outcome(one: Outcome) -> dict[str, Any]:
    tried = one.rule_id is not None and int(one.rule_id) >= _TRIED
    return {
        "gate": one.gate,
        "rule": one.rule,
        "rule_id": None if tried else one.rule_id,
        "action": one.action,
        **_amount(one.calls),
        "saved_usd": format_usd(one.saved_pico),
    }


def _example(one: Example) -> dict[str, Any]:
    past, decided = one.past, one.verdict.deciding
    call = past.asked if past.call is None else past.call
    assert decided is not None, "a rule decided on it"
    return {
        "at": format_ns(call.at_ns),
        **{name: getattr(call, name) for name in ("tenant", "provider", "model", "agent")},
        "trace_id": call.trace,
        "span_id": None if past.entry is None else past.entry.span_id,
        "decision_id": past.decision_id,
        "made": past.call is not None,
        "usd": None if call.pico is None else format_usd(call.pico),
        "saved_usd": format_usd(one.saved_pico),
        "action": one.verdict.action,
        "gate": decided.gate,
        "rule": decided.rule,
        "reason": decided.text,
    }
