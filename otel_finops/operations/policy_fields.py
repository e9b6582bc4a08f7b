"""Policies in inputs and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import CONDITION_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import PLACED, Name, amount_of, json_or
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import SCOPE_TEXT, ScopeValues, ShownScope
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.policies import Policy, PolicySet
    from otel_finops.governance.policy_store import Edit, Failures
    from otel_finops.governance.ready_policies import ReadyPolicy

ActionName: TypeAlias = Literal["allow", "block", "require_approval", "downgrade", "throttle", "queue"]
RateOfName: TypeAlias = Literal["all", "tenant", "user", "session", "trace", "agent", "service", "model"]
_SHADOWED_MAX: Final = 5
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


class ShownRate(Output):
    """So many calls in so many seconds."""

    calls: int = Field(description="At once at most, and then evenly.")
    per_s: float = Field(description="Seconds.")
    of: RateOfName = Field(description="What has a rate of its own each; `all`: all calls of the policy share one.")


def _rate(given: Any) -> Any:
    """`120/60` or `120/60:agent`, a JSON object as text, or an object."""
    return json_or(given, _short_rate) if isinstance(given, str) else given


def _short_rate(text: str) -> dict[str, Any]:
    calls, slash, rest = text.partition("/")
    per_s, _, of = rest.partition(":")
    if not slash:
        raise ValueError("write CALLS/SECONDS or CALLS/SECONDS:OF, e.g. 120/60:agent")
    return {"calls": _number(calls, int), "per_s": _number(per_s, float), "of": of.strip() or "all"}


def _number(text: str, kind: Callable[[str], float]) -> Any:
    """What is no number stays a text, which the field refuses."""
    return kind(text) if _NUMBER.fullmatch(text := text.strip()) and (kind is float or text.isdigit()) else text


class RateInput(Input):
    """So many calls in so many seconds."""

    calls: int = Field(ge=1, le=1_000_000, description="Calls that pass at once at most, and then evenly.")
    per_s: float = Field(gt=0, le=86_400, allow_inf_nan=False, description="Seconds.")
    of: RateOfName = Field(default="all", description="What has a rate of its own each; `all`: all calls of the policy share one.")


_RATE_SCHEMA: Final = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"calls": {"type": "integer"}, "per_s": {"type": "number"}, "of": {"type": "string"}},
            "required": ["calls", "per_s"],
        },
        {"type": "string"},
    ],
    "example": {"calls": 120, "per_s": 60, "of": "agent"},
}
Rate: TypeAlias = Annotated[RateInput, BeforeValidator(_rate), WithJsonSchema(_RATE_SCHEMA)]
MinCost: TypeAlias = Annotated[str, Field(max_length=40, pattern=r"^([0-9]+(\.[0-9]{1,12})?)?$")]
Condition: TypeAlias = Annotated[str, Field(max_length=10 * CONDITION_CHARS_MAX)]
Description: TypeAlias = Annotated[str, Field(max_length=500)]
Limit: TypeAlias = Annotated[str, Field(max_length=20, pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]

_MODEL: Final = "Only for models that match: `*` stands for anything; the short way to say scope.model."
_CONDITION: Final = (
    "CEL over call, attribution, estimate, budget, budgets, trace and session, e.g. `trace.cost_usd > 5.0 && !budget.hard` "
    "(docs/governance.md)."
)
_ACTION: Final = "What is done with calls that it is for."
_DOWNGRADE: Final = "Of `downgrade`: the model to call instead."
_RATE: Final = "Of `throttle`: CALLS/SECONDS or CALLS/SECONDS:OF, or a JSON object; OF is what has a rate of its own, e.g. agent."
_RETRY: Final = "Of `queue`: after how many seconds to ask again; 30 when not given."
_PRIORITY: Final = "Lower ones are asked first, equal ones by number; the first that is for a call decides."


class Definition(Input):
    """What a policy says."""

    name: Name | None = Field(
        default=None,
        min_length=1,
        description="What people call it; one policy of a tenant, or of all, is called so. That of the ready policy when not given.",
        json_schema_extra=PLACED,
    )
    action: ActionName | None = Field(
        default=None, description=f"{_ACTION} That of the ready policy when not given.", json_schema_extra=PLACED
    )
    scope: ScopeValues = Field(default_factory=dict, description=SCOPE_TEXT)
    model: Name | None = Field(default=None, min_length=1, description=_MODEL)
    min_cost_usd: MinCost | None = Field(default=None, description="Only for calls that are estimated at so much or more.")
    condition: Condition | None = Field(default=None, description=_CONDITION)
    downgrade_to: Name | None = Field(default=None, description=_DOWNGRADE)
    rate: Rate | None = Field(default=None, description=_RATE)
    retry_after_s: float | None = Field(default=None, allow_inf_nan=False, description=_RETRY)
    priority: int = Field(default=100, description=_PRIORITY)
    enabled: bool = Field(default=True, description="Whether it is asked.")
    description: Description | None = Field(default=None, description="For people: what it is for.")
    ready: Name | None = Field(
        default=None, description="The name of a policy that ships with the product (policies.ready); what is not given is as there."
    )
    limit: Limit | None = Field(default=None, description="The number in the ready policy's condition.")

    def edit(self) -> Edit:
        """The policy to be made.

        Raises:
            BadInput: it lacks a name or an action, or there is no such ready policy.
        """
        from otel_finops.governance.policy_store import Edit  # noqa: PLC0415 - `--help` must not load the database rooms
        from otel_finops.governance.ready_policies import ReadyPolicy  # noqa: PLC0415

        base = self._base() or ReadyPolicy("", "", "block")
        name, action = self.name or base.name, self.action or (base.action if base.name else None)
        if not name or action is None:
            raise BadInput(f"{'action' if name else 'name'}: must be given, or `ready`")
        rate = _rate_of(self.rate) if self.rate is not None else base.rate if action == "throttle" else None
        said = {
            "name": name, "action": action, "min_pico": _min_pico(self.min_cost_usd), "condition": self._condition(base), "rate": rate,
            "downgrade_to": self.downgrade_to, "retry_after_s": self.retry_after_s, "priority": self.priority, "enabled": self.enabled,
            "description": base.description if self.description is None else self.description,
        }  # fmt: skip
        said = {field: value for field, value in said.items() if not (field == "retry_after_s" and value is None)}
        return Edit(said, self.scope, self.model)

    def _base(self) -> ReadyPolicy | None:
        from otel_finops.governance.ready_policies import READY, ready  # noqa: PLC0415

        found: ReadyPolicy | None = None if self.ready is None else ready(self.ready)
        if self.ready is not None and found is None:
            raise BadInput(f"ready: there is no such policy; there are {', '.join(one.name for one in READY)}")
        if self.limit is not None and (found is None or not found.limit):
            raise BadInput("limit: only with a ready policy that has one")
        return found

    def _condition(self, base: ReadyPolicy) -> str | None:
        if self.condition is None:
            return base.condition_with(self.limit)
        if self.limit is not None:
            raise BadInput("limit: the condition is given already; write the number there")
        return self.condition or None


class PolicyNumber(Input):
    """Which policy."""

    no: int = Field(ge=1, le=2**53, description="The policy's number, as policies.list shows it.")


class PolicyEdit(PolicyNumber):
    """What is to be another; what is not given stays."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    action: ActionName | None = Field(default=None, description=f"{_ACTION} What belongs to another action goes.")
    scope: ScopeValues | None = Field(default=None, description=f"{SCOPE_TEXT} It takes the place of the whole former scope.")
    model: Name | None = Field(default=None, description=f"{_MODEL} Empty: for any model.")
    min_cost_usd: MinCost | None = Field(default=None, description="Only for calls that are estimated at so much or more. Empty: for all.")
    condition: Condition | None = Field(default=None, description=f"{_CONDITION} Empty: none.")
    downgrade_to: Name | None = Field(default=None, description=_DOWNGRADE)
    rate: Rate | None = Field(default=None, description=_RATE)
    retry_after_s: float | None = Field(default=None, allow_inf_nan=False, description=_RETRY)
    priority: int | None = Field(default=None, description=_PRIORITY)
    enabled: bool | None = Field(default=None, description="Whether it is asked.")
    description: Description | None = Field(default=None, description="For people: what it is for.")
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still: nobody's change is overwritten.")
    dry_run: bool = Field(default=False, description="Check everything and say what would be done; nothing is stored.")

    def edit(self) -> Edit:
        """What is to be another."""
        from otel_finops.governance.policy_store import Edit  # noqa: PLC0415 - `--help` must not load the database rooms

        plain = ("name", "action", "downgrade_to", "retry_after_s", "priority", "enabled", "description")
        said: dict[str, Any] = {name: value for name in plain if (value := getattr(self, name)) is not None}
        if self.min_cost_usd is not None:
            said["min_pico"] = _min_pico(self.min_cost_usd)
        if self.condition is not None:
            said["condition"] = self.condition or None
        if self.rate is not None:
            said["rate"] = _rate_of(self.rate)
        return Edit(said, self.scope, self.model, self.revision)


class PolicyFailures(Output):
    """How often its condition could not be evaluated; such calls it is skipped for."""

    times: Count
    last_at: At
    reason: str = Field(description="Of the last time.")


class ShownPolicy(Output):
    """A policy as it is defined."""

    no: int | None = Field(description="Its number; null while it is only tried.")
    name: str
    tenant: str | None = Field(description="Whose it is; null: it is for calls of several.")
    scope: ShownScope
    min_cost_usd: Usd | None
    condition: str | None
    action: ActionName
    downgrade_to: str | None
    rate: ShownRate | None
    retry_after_s: float | None
    priority: int
    enabled: bool
    description: str
    revision: int | None
    made_at: At
    made_by: str
    changed_at: At | None
    changed_by: str | None
    failures: PolicyFailures | None = Field(description="Null: it could always be evaluated.")


def sees(principal: Principal, policy: Policy) -> bool:
    """Whether a policy is the principal's to see: for calls of his tenants alone."""
    return principal.tenants is None or policy.tenant in principal.tenants


def shown_policies(context: Context, policies: Sequence[Policy]) -> list[dict[str, Any]]:
    """Policies as answers show them."""
    scopes = context.policies.scopes(policies)
    failures = context.policies.failures(policies)
    return [shown_policy(one, scope, failures.get(one.no)) for one, scope in zip(policies, scopes, strict=True)]


def shown_policy(policy: Policy, scope: Mapping[str, str], failures: Failures | None = None) -> dict[str, Any]:
    """A policy as answers show it; `scope` with clear ids."""
    return {
        "no": policy.no or None, "name": policy.name, "tenant": policy.tenant, "scope": dict(scope),
        "min_cost_usd": None if policy.min_pico is None else format_usd(policy.min_pico), "condition": policy.condition,
        "action": policy.action, "downgrade_to": policy.downgrade_to,
        "rate": None if policy.rate is None else policy.rate._asdict(), "retry_after_s": policy.retry_after_s, "priority": policy.priority,
        "enabled": policy.enabled, "description": policy.description, "revision": policy.revision or None,
        "made_at": format_ns(policy.made_ns), "made_by": policy.made_by,
        "changed_at": format_ns(policy.changed_ns) if policy.changed_ns else None, "changed_by": policy.changed_by or None,
        "failures": None if failures is None
        else {"times": failures.times, "last_at": format_ns(failures.at_ns), "reason": failures.reason},
    }  # fmt: skip


def notes_of(policy: Policy, held: PolicySet, principal: Principal) -> list[str]:
    """What people should know of a policy: those that are asked first for all of its calls leave it none."""
    from otel_finops.governance.policies import place  # noqa: PLC0415 - `--help` must not load the database rooms

    before = [one for one in held if policy.enabled and one.no != policy.no and place(one) < place(policy) and sees(principal, one)]
    return [
        f"policy {one.no} ({one.name}) is for all of these calls and is asked first, so that this one never is"
        for one in before
        if _takes_all(one) and one.scope.contains(policy.scope)
    ][:_SHADOWED_MAX]


def _takes_all(policy: Policy) -> bool:
    """Whether it is for every call of its scope."""
    return policy.enabled and policy.condition is None and policy.min_pico is None and policy.action not in ("throttle", "downgrade")


def _min_pico(text: str | None) -> int | None:
    return amount_of("min_cost_usd", text) if text else None


def _rate_of(given: RateInput) -> Any:
    from otel_finops.governance.rates import Rate  # noqa: PLC0415 - `--help` must not load the database rooms

    return Rate(given.calls, given.per_s, given.of)
