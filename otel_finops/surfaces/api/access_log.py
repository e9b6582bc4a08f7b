"""One line of the log for each request: what it was, how it ended, how long it took. Never what it said.

The route is named and not the path, so that neither ids nor queries nor tokens can stand in the log.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.types import Scope

log: Final = logging.getLogger(__name__)


def log_request(scope: Scope, method: str, status: int, sent_bytes: int, took_s: float) -> None:
    """Write the line: changes and refusals are information; what is only read, or asked with every model call and on record by itself, is
    for `log.level: debug`.

    Args:
        scope: as the route left it.
        method: that was asked with; the scope says GET where it was HEAD.
        status, sent_bytes, took_s: how it ended.
    """
    is_told = status >= 400 or (method == "POST" and "own_record" not in scope)
    level = logging.INFO if is_told else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    state = scope.get("state", {})
    log.log(
        level,
        "request %s: %s %s -> %d, %d bytes in %.1f ms, for %s",
        state.get("request_id", "-"),
        method,
        getattr(scope.get("route"), "path", "(no such path)"),
        status,
        sent_bytes,
        took_s * 1000,
        state.get("who", "nobody known"),
    )
