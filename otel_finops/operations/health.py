"""How the service is."""

from __future__ import annotations

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NoInput
from otel_finops.operations.registry import Json, Output, operation


class Part(Output):
    """One part of the service; `ok` is null when it was not asked."""

    name: str
    ok: bool | None
    detail: str


class HealthReport(Output):
    """All parts."""

    ok: bool
    version: str
    parts: list[Part]


@operation("health", "health", takes=NoInput, output=HealthReport, permission="view", summary="Say whether all parts of the service work.")
def health(context: Context, principal: Principal, given: NoInput) -> Json:
    """The state of every part; `ok` is false when one of them is not well. A command sees the database and no running service."""
    parts = context.health()
    return {"ok": all(part.ok is not False for part in parts), "version": context.version, "parts": [part._asdict() for part in parts]}
