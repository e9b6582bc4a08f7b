"""Who changed what, and whether the record still holds together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.page import Page, page


@page("/audit", title="Audit", group="System", needs=("audit.list",), slow=lambda query: "verify" in query)
def audit(page: Page) -> Response:
    """The record of changes, newest first; `verify` in the query walks the chain as well."""
    found = page.ask("audit.list", limit=50)
    verdict = page.ask("audit.verify", carry=("tenant",)) if "verify" in page.query and page.can("audit.verify") else None
    entries = [(one, differences(one)) for one in found["entries"]]
    return page.render("audit/audit.html", window=page.window(), entries=entries, next_cursor=found["next_cursor"], verdict=verdict)


def differences(entry: Json) -> list[tuple[str, Any, Any]]:
    """The fields that are not the same before and after; of what was made or taken away all that it said."""
    before, after = ({} if one is None else one for one in (entry["before"], entry["after"]))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return [] if before == after else [("", before, after)]
    return [(name, before.get(name), after.get(name)) for name in {**before, **after} if before.get(name) != after.get(name)]
