"""Trying policies out: whether a definition can be one, and what policies would say of a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.money import format_usd
from otel_finops.identity.principals import Principal
from otel_finops.operations.asked_calls import question_of
from otel_finops.operations.context import Context
from otel_finops.operations.decisions import DecisionInput
from otel_finops.operations.fields import amount_of
from otel_finops.operations.policy_fields import ActionName, Definition, ShownPolicy, notes_of, sees, shown_policy
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.scope_fields import must_own

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.policies import Policy, Rule
    from otel_finops.governance.policy_gate import Asked

_COUNTS: Final = ("calls", "tokens", "calls_per_minute")
_AMOUNTS: Final = ("cost_usd", "cost_usd_per_minute")
_STATE: Final = frozenset(
    f"{root}.{field}" for root in ("trace", "session") for field in (*_COUNTS, *_AMOUNTS, "depth") if (root, field) != ("session", "depth")
)
_STATE_CHARS_MAX: Final = 1_000


class Validity(Output):
    """Whether the definition can be a policy."""

    valid: bool
    faults: list[str] = Field(description="What is wrong, with the position in a condition; nothing where it is valid.")
    notes: list[str] = Field(description="What people should know of it, e.g. that another one is always asked first.")
    policy: ShownPolicy | None = Field(description="As it would be made; null where it is not valid.")


@operation(
    "policies.validate",
    "policies/validate",
    takes=Definition,
    output=Validity,
    permission="view",
    feature="policies",
    by_body=True,
    summary="Say whether a definition can be a policy, and what is wrong with it; nothing is stored.",
)
def validate(context: Context, principal: Principal, given: Definition) -> Json:
    """The same checks as those of `policies.create`."""
    must_own(principal, given.scope, "A policy")
    try:
        policy = context.policies.create(given.edit(), principal.editor, dry_run=True)
    except BadInput as fault:
        return {"valid": False, "faults": [str(fault)], "notes": [], "policy": None}
    shown = shown_policy(policy._replace(no=0, revision=0), _scope_of(policy, given.scope))
    return {"valid": True, "faults": [], "notes": notes_of(policy, context.policies.all(), principal), "policy": shown}


def _scope_of(policy: Policy, said: Mapping[str, str]) -> dict[str, str]:
    """The scope with clear ids: those of a trial have references that are gone with it."""
    return {name: said.get(name, value) if name in ("user", "session") else value for name, value in policy.scope.parts}


# --- simulating ------------------------------------------------------------------------------------------------------


def _state(given: Any) -> Any:
    """`trace.calls=51,trace.cost_usd=6`, a JSON object as text, or an object."""
    if isinstance(given, str):
        if len(given) > _STATE_CHARS_MAX:
            raise ValueError(f"more than {_STATE_CHARS_MAX} characters")
        try:
            given = json.loads(given) if given.lstrip().startswith("{") else dict(_pair(part) for part in given.split(",") if part.strip())
        except (ValueError, RecursionError):
            raise ValueError("write NAME=NUMBER,NAME=NUMBER, or a JSON object of numbers by name") from None
    if not isinstance(given, Mapping):
        raise ValueError("write NAME=NUMBER,NAME=NUMBER, or a JSON object of numbers by name")
    if not given.keys() <= _STATE:
        raise ValueError(f"there are {', '.join(sorted(_STATE))}, and nothing else")
    if any(not isinstance(value, int | str) or isinstance(value, bool) for value in given.values()):
        raise ValueError("counts are whole numbers, amounts plain decimal strings")
    return {name: str(value) for name, value in given.items()}


def _pair(part: str) -> tuple[str, str]:
    name, sign, value = part.partition("=")
    if not sign:
        raise ValueError
    return name.strip(), value.strip()


_STATE_SCHEMA: Final = {
    "anyOf": [{"type": "object", "additionalProperties": {"type": ["string", "integer"]}}, {"type": "string"}],
    "example": {"trace.calls": 51, "trace.cost_usd": "6.2"},
}
State: TypeAlias = Annotated[dict[str, str], BeforeValidator(_state), WithJsonSchema(_STATE_SCHEMA)]
_CALL: Final[dict[str, Any]] = {
    name: (field.annotation, field) for name, field in DecisionInput.model_fields.items() if name not in ("idempotency_key", "dry_run")
}
_SampleCall: Final = create_model("_SampleCall", __base__=Input, **_CALL)


def _policy(given: Any) -> Any:
    if isinstance(given, str):
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            raise ValueError("no JSON object, as policies.create takes it") from None
    return given


Proposed: TypeAlias = Annotated[Definition, BeforeValidator(_policy)]


class SimulateInput(_SampleCall):  # type: ignore[valid-type,misc]  # a model made of another one's fields
    """A call, and which policies are asked about it."""

    no: int | None = Field(default=None, ge=1, le=2**53, description="Only this policy, also where it is not enabled; all when not given.")
    policy: Proposed | None = Field(default=None, description="A definition that is not stored, as JSON, in place of the stored ones.")
    state: State = Field(
        default={},
        description="What the trace and session came to so far, in place of what they did: trace.calls=51,trace.cost_usd=6.2.",
    )

    def record(self) -> dict[str, Any]:
        """The call, without what is not known."""
        said = {name: value for name in _CALL if name != "tags" and (value := getattr(self, name)) is not None}
        return {name: value for name, value in said.items() if value != ""}


class PolicySaid(Output):
    """What one policy says of the call."""

    no: int | None = Field(description="Null: the definition that is not stored.")
    name: str
    action: ActionName
    matched: bool = Field(description="It is for this call.")
    why: str = Field(description="Why it is not, or could not be evaluated; empty where it is.")
    failed: bool = Field(description="It could not be evaluated, and is skipped.")
    figures: dict[str, str] = Field(description="What it went by, decimal strings by name.")
    retry_after_s: float | None = Field(description="Of throttle and queue where they are for the call: when to ask again.")
    model: str | None = Field(description="Of downgrade: what to call instead.")


class Simulated(Output):
    """What policies would say of a call."""

    action: ActionName = Field(description="Of the first that is for it; `allow` where none is.")
    decided_by: int | None = Field(description="The number of that policy; null: none is, or the definition that is not stored.")
    estimate_usd: str | None = Field(description="What the call was taken to cost; null: nobody knows.")
    policies: list[PolicySaid] = Field(description="All that were asked, in their order; those behind the one that decides too.")


@operation(
    "policies.simulate",
    "policies/simulate",
    takes=SimulateInput,
    output=Simulated,
    permission="view",
    feature="policies",
    by_body=True,
    summary="Say what policies would do with one call, each with its reason; nothing is recorded.",
)
def simulate(context: Context, principal: Principal, given: Any) -> Json:
    """Budgets, rates, the trace and the session are as they stand now, but for what `state` says."""
    question = question_of(context, principal, given.record(), given.tags, context.decisions.new_id())
    rules = _rules(context, principal, given)
    said = context.policies.simulate(question, rules, _overrides(given.state), given.policy.scope if given.policy is not None else {})
    first = next((one for one in said if one.matched), None)
    return {
        "action": "allow" if first is None else first.policy.action,
        "decided_by": None if first is None else first.policy.no or None,
        "estimate_usd": None if question.estimate.pico is None else format_usd(question.estimate.pico),
        "policies": [_said(one, principal) for one in said],
    }


def _rules(context: Context, principal: Principal, given: Any) -> list[Rule]:
    """The policies that are asked: one, a definition, or all that stand and are the principal's to see."""
    from otel_finops.governance.policies import Rule  # noqa: PLC0415 - `--help` must not load the database rooms

    if given.policy is not None:
        if given.no is not None:
            raise BadInput("policy: with `no` a stored policy is asked already; leave one of them out")
        must_own(principal, given.policy.scope, "A policy")
        made = context.policies.create(given.policy.edit(), principal.editor, dry_run=True)
        return [Rule.of(made._replace(no=0, revision=0))]
    held = context.policies.all()
    wanted = [one for one in held if sees(principal, one) and given.no in (None, one.no) and (one.enabled or given.no is not None)]
    if given.no is not None and not wanted:
        raise NotFound(f"There is no policy {given.no}.")
    return [rule for one in wanted if (rule := held.rule(one.no)) is not None]


def _overrides(state: Mapping[str, str]) -> dict[str, int]:
    """What is said in place of what is read, by `root.field`; money in pico-USD."""
    read: dict[str, int] = {}
    for name, text in state.items():
        if name.endswith(_AMOUNTS):
            read[name] = amount_of(f"state.{name}", text)
        elif text.isascii() and text.isdigit() and len(text) <= 15:
            read[name] = int(text)
        else:
            raise BadInput(f"state.{name}: a whole number, not negative")
    return read


def _said(one: Asked, principal: Principal) -> dict[str, Any]:
    """What a policy says; of budgets for calls of several tenants who is bound to tenants hears no figures."""
    policy = one.policy
    figures = {} if one.of_several and principal.tenants is not None else dict(one.figures)
    wait_s = (one.wait_s if policy.rate is not None else policy.retry_after_s) if one.matched else None
    return {
        "no": policy.no or None, "name": policy.name, "action": policy.action, "matched": one.matched, "why": one.why, "failed": one.failed,
        "figures": figures, "retry_after_s": wait_s, "model": policy.downgrade_to,
    }  # fmt: skip
