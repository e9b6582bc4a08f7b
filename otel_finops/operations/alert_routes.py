"""Routes: which notices go to which channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.channel_fields import (
    Numbers,
    RouteNumber,
    SeverityName,
    ShownRoute,
    Words,
    must_own,
    shown_route,
)
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Name, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import ScopeValues
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.channel_store import RouteEdit
    from otel_finops.alerting.routes import Route

_ORDER: Final = "alert_routes.list"
_HISTORY_SHOWN: Final = 50
_FIELDS: Final = ("name", "channels", "rules", "kinds", "min_severity", "labels", "resolved", "enabled")

_CHANNELS: Final = "Numbers of the channels that notices go to, with commas."
_RULES: Final = "Only notices of these rules, by name: `*` stands for anything; with commas."
_KINDS: Final = "Only notices of rules of these kinds, e.g. budget,anomaly."
_SEVERITY: Final = "Only notices that are as bad as this, or worse."
_LABELS: Final = "Only notices that bear these labels: NAME=VALUE,NAME=VALUE or a JSON object; `*` stands for anything."
_RESOLVED: Final = "Whether the end of an alert is told too."


class NewRoute(Input):
    """What the route says."""

    name: Name = Field(min_length=1, description="What people call it; one route of a tenant, or of all, is called so.")
    channels: Numbers = Field(description=_CHANNELS, json_schema_extra=NAMED)
    tenant: Name | None = Field(default=None, min_length=1, description="Only notices about this tenant; nothing: about any.")
    rules: Words = Field(default=(), description=_RULES)
    kinds: Words = Field(default=(), description=_KINDS)
    min_severity: SeverityName = Field(default="info", description=_SEVERITY)
    labels: ScopeValues = Field(default_factory=dict, description=_LABELS)
    resolved: bool = Field(default=True, description=_RESOLVED)
    enabled: bool = Field(default=True, description="Whether it is gone by.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored.")


class RouteAnswer(Output):
    """The route as it is now."""

    route: ShownRoute
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "alert_routes.create",
    "alert-routes",
    takes=NewRoute,
    output=RouteAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Make a route: notices of some kind go to some channels.",
)
def create(context: Context, principal: Principal, given: NewRoute) -> Changed | Unchanged:
    """From now on the channels that it names carry what routes say, and nothing else."""
    must_own(principal, given.tenant, "A route")
    route = context.channels.create_route(given.tenant, _edit(given), principal.editor, dry_run=given.dry_run)
    shown = shown_route(route, stored=not given.dry_run)
    answer = {"route": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, shown, route.tenant)


class RouteChange(RouteNumber):
    """What is to be another; what is not given stays as it is."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    channels: Numbers | None = Field(default=None, description=_CHANNELS)
    rules: Words | None = Field(default=None, description=_RULES)
    kinds: Words | None = Field(default=None, description=_KINDS)
    min_severity: SeverityName | None = Field(default=None, description=_SEVERITY)
    labels: ScopeValues | None = Field(default=None, description=_LABELS)
    resolved: bool | None = Field(default=None, description=_RESOLVED)
    enabled: bool | None = Field(default=None, description="Whether it is gone by.")
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored.")


@operation(
    "alert_routes.update",
    "alert-routes/{no}",
    takes=RouteChange,
    output=RouteAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Change a route; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: RouteChange) -> Changed | Unchanged:
    """The tenant stays."""
    before, route = context.channels.update_route(given.no, _edit(given, given.revision), principal.editor, dry_run=given.dry_run)
    changed = route != before and not given.dry_run
    answer = {"route": shown_route(route), "changed": changed}
    return Changed(answer, shown_route(before), shown_route(route), route.tenant) if changed else Unchanged(answer)


class RouteRemoval(RouteNumber):
    """Which route."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Only say what would be taken away.")


@operation(
    "alert_routes.delete",
    "alert-routes/{no}/delete",
    takes=RouteRemoval,
    output=RouteAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Take a route away; channels that no route names any more carry all that they may.",
)
def delete(context: Context, principal: Principal, given: RouteRemoval) -> Changed | Unchanged:
    """The route as it was."""
    before = context.channels.delete_route(given.no, principal.editor, revision=given.revision, dry_run=given.dry_run)
    shown = shown_route(before)
    answer = {"route": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown, None, before.tenant)


class RouteQuery(Paged):
    """Which routes."""

    tenant: Name | None = Field(default=None, description="Only those of this tenant.")
    channel: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Only those that name the channel of this number.")


class RoutePage(Output):
    """Routes, by number."""

    routes: list[ShownRoute]
    next_cursor: str | None


@operation(
    "alert_routes.list",
    "alert-routes",
    takes=RouteQuery,
    output=RoutePage,
    permission="view",
    feature="channels",
    summary="List routes.",
)
def listed(context: Context, principal: Principal, given: RouteQuery) -> Json:
    """Those of the principal's tenants; of all for who sees all."""
    found = [
        one
        for one in context.channels.all().routes.values()
        if _seen(principal, one) and given.tenant in (None, one.tenant) and (given.channel is None or given.channel in one.channels)
    ]
    page, cursor = page_of(found, given, _ORDER, lambda one: (one.no,))
    return {"routes": [shown_route(one) for one in page], "next_cursor": cursor}


class RouteRevision(Output):
    """A route as a change left it."""

    at: At
    who: str
    deleted: bool = Field(description="The change took it away.")
    route: ShownRoute


class RouteShown(Output):
    """A route, and how it came to be so."""

    route: ShownRoute
    deleted: bool = Field(description="It is gone by no longer; this is how it was at last.")
    history: list[RouteRevision] = Field(description="Its last fifty changes, newest first.")


@operation(
    "alert_routes.show",
    "alert-routes/{no}",
    takes=RouteNumber,
    output=RouteShown,
    permission="view",
    feature="channels",
    summary="Show a route, and who changed what of it.",
)
def show(context: Context, principal: Principal, given: RouteNumber) -> Json:
    """Also one that was deleted."""
    changes: list[tuple[Any, bool]] = list(context.channels.history("route", given.no, principal.tenants))
    latest, deleted = changes[0]
    history = [
        {"at": format_ns(one.changed_ns), "who": one.changed_by, "deleted": gone, "route": shown_route(one)}
        for one, gone in changes[:_HISTORY_SHOWN]
    ]
    return {"route": shown_route(latest), "deleted": deleted, "history": history}


def _edit(given: NewRoute | RouteChange, revision: int | None = None) -> RouteEdit:
    from otel_finops.alerting.channel_store import RouteEdit  # noqa: PLC0415 - `--help` must not load the database rooms

    said = {name: value for name in _FIELDS if (value := getattr(given, name)) is not None}
    return RouteEdit(said, revision)


def _seen(principal: Principal, one: Route) -> bool:
    return principal.tenants is None or (one.tenant is not None and principal.sees(one.tenant))
