"""Kill switches: stopping calls at once, and letting them pass again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, PLACED, Name, Paged, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.kill_switches import Switch, Target

ScopeName: TypeAlias = Literal["global", "provider", "tenant", "model", "agent"]
_ORDER: Final = "kill_switch.list"
_HISTORY: Final = "kill_switch.history"


class ShownSwitch(Output):
    """A kill switch, or a switching of the past."""

    scope: ScopeName
    name: str | None = Field(description="The provider family, tenant, model (`*` stands for anything) or agent; null for global.")
    tenant: str | None = Field(description="Only calls of this tenant; null: of all.")
    origin: Literal["stored", "settings"] = Field(description="`settings`: the section `kill_switch` says so, nobody can clear it here.")
    who: str | None = Field(description="Who switched; null for those of the settings.")
    why: str
    at: At | None = Field(description="When; null for those of the settings.")


class Switches(Output):
    """The kill switches that are set."""

    switches: list[ShownSwitch]
    next_cursor: str | None


@operation(
    "kill_switch.list",
    "kill-switches",
    takes=Paged,
    output=Switches,
    permission="view",
    feature="kill_switches",
    summary="List the kill switches that are set, with who set them and why.",
)
def listed(context: Context, principal: Principal, given: Paged) -> Json:
    """Those that stop calls of the principal's tenants, the settings' first, then global, provider, tenant, model, agent."""
    concerned = [one for one in context.switches.all() if one.target.concerns(principal.tenants)]
    place = given.place(_ORDER)
    start = place[0] if place else 0
    page = concerned[start : start + given.limit]
    more = start + len(page) < len(concerned)
    return {
        "switches": [shown_switch(one) for one in page],
        "next_cursor": place_cursor(_ORDER, [start + len(page)]) if more and page else None,
    }


class Switching(ShownSwitch):
    """A switching of the past."""

    no: int = Field(description="In the order of switching.")
    action: Literal["set", "clear"]


class Switchings(Output):
    """Switchings, newest first."""

    switchings: list[Switching]
    next_cursor: str | None


@operation(
    "kill_switch.history",
    "kill-switches/history",
    takes=Paged,
    output=Switchings,
    permission="view",
    feature="kill_switches",
    summary="List every switching of kill switches, newest first.",
)
def history(context: Context, principal: Principal, given: Paged) -> Json:
    """Those that concern calls of the principal's tenants."""
    place = given.place(_HISTORY)
    found = context.switches.history(principal.tenants, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    shown = [{**shown_switch(one), "no": one.no, "action": "set" if one.is_set else "clear"} for one in page]
    return {"switchings": shown, "next_cursor": place_cursor(_HISTORY, [page[-1].no or 0]) if len(found) > given.limit else None}


class SwitchInput(Input):
    """Which switch, and why."""

    scope: ScopeName = Field(description="What is stopped: global, provider, tenant, model or agent.")
    name: Name = Field(
        default="",
        description="The provider, tenant, model (`*` stands for anything) or agent; nothing for global.",
        json_schema_extra=PLACED,
    )
    tenant: Name | None = Field(default=None, min_length=1, description="Only calls of this tenant; beside provider, model and agent.")
    why: str = Field(
        min_length=1, max_length=500, description="Callers and people are told, and it stands on record.", json_schema_extra=NAMED
    )
    dry_run: bool = Field(default=False, description="Only say what would be switched.")

    def target(self, principal: Principal) -> Target:
        """What is meant, if it is the principal's to switch: calls of his tenants, of all only for who sees all.

        Raises:
            BadInput: no switch can be like this.
            NotFound: it stops another tenant's calls.
            Forbidden: it stops calls of several tenants.
        """
        from otel_finops.governance.kill_switches import Target  # noqa: PLC0415 - `--help` must not load the database rooms

        target = Target(self.scope, self.name, self.tenant).checked()
        if target.whose is None:
            principal.must_see_all("This kill switch stops calls of all tenants")
        else:
            principal.must_see(target.whose)
        return target


class SwitchDone(Output):
    """The switch as it is now."""

    switch: ShownSwitch
    active: bool = Field(description="Whether it stops calls; of a dry run, whether it would.")
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "kill_switch.set",
    "kill-switches",
    takes=SwitchInput,
    output=SwitchDone,
    permission="manage",
    feature="kill_switches",
    changes=True,
    agents=False,
    summary="Stop calls: all, or those of a provider, tenant, model or agent.",
)
def set_switch(context: Context, principal: Principal, given: SwitchInput) -> Changed | Unchanged:
    """Every process knows within a second. What was set by who sees all tenants, he alone sets anew."""
    target = given.target(principal)
    switch, before = context.switches.set(target, who=principal.who, why=given.why, tenants=principal.tenants, dry_run=given.dry_run)
    if switch == before or given.dry_run:
        return Unchanged({"switch": shown_switch(switch), "active": True, "changed": False})
    answer = {"switch": shown_switch(switch), "active": True, "changed": True}
    return Changed(answer, None if before is None else shown_switch(before), shown_switch(switch), target.whose)


@operation(
    "kill_switch.clear",
    "kill-switches/clear",
    takes=SwitchInput,
    output=SwitchDone,
    permission="manage",
    feature="kill_switches",
    changes=True,
    agents=False,
    summary="Let calls pass again that a kill switch stopped.",
)
def clear_switch(context: Context, principal: Principal, given: SwitchInput) -> Changed | Unchanged:
    """The switch that was set goes, others that stop the same calls stay. What was set by who sees all tenants, he alone clears."""
    target = given.target(principal)
    before = context.switches.clear(target, who=principal.who, why=given.why, tenants=principal.tenants, dry_run=given.dry_run)
    if given.dry_run:
        return Unchanged({"switch": shown_switch(before), "active": False, "changed": False})
    return Changed(
        {"switch": shown_switch(before), "active": False, "changed": True}, shown_switch(before), {"why": given.why}, target.whose
    )


def shown_switch(one: Switch) -> dict[str, Any]:
    """A switch as answers show it."""
    return {
        "scope": one.target.scope,
        "name": one.target.name or None,
        "tenant": one.target.tenant,
        "origin": "settings" if one.no is None else "stored",
        "who": one.who,
        "why": one.why,
        "at": None if one.at_ns is None else format_ns(one.at_ns),
    }
