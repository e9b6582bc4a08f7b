"""Charges as they come, as server-sent events: each one a row of the page's table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from otel_finops.base.errors import Busy, Unauthenticated, Unavailable
from otel_finops.base.limits import LIVE_SEEN_MAX, LIVE_VIEWERS_MAX
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.page import Declared, Page
from otel_finops.surfaces.web.places import Places

EVERY_S: Final = 1.0
"""From one look at the ledger to the next."""
_ROWS: Final = 100


LIVE: Final = Declared("/live/events", "", "", ("usage.list",), lambda page: page.to("/live"))
"""The stream as a page of its own: who may not open it gets nothing."""


class Live:
    """What every viewer is told; at most `LIVE_VIEWERS_MAX` of them at a time.

    Args:
        still: raises where a viewer's token has been revoked or has expired.
    """

    def __init__(self, still: Callable[[Page], None], pause_s: float = EVERY_S) -> None:
        self._still = still
        self._pause_s = pause_s
        self._places = Places(LIVE_VIEWERS_MAX)

    def answer(self, page: Page) -> StreamingResponse:
        """The stream for one page."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(page), media_type="text/event-stream", headers=headers)

    async def _events(self, page: Page) -> AsyncIterator[bytes]:
        seen: OrderedDict[str, None] = OrderedDict()
        yield b"retry: 3000\n\n"
        try:
            with self._places.taken():
                while True:
                    yield await run_in_threadpool(self._news, page, seen)
                    await anyio.sleep(self._pause_s)
        except Unauthenticated:
            yield b"event: end\ndata: signed-out\n\n"
        except Busy:
            yield b"retry: 10000\nevent: end\ndata: too-many\n\n"

    def _news(self, page: Page, seen: OrderedDict[str, None]) -> bytes:
        """Rows that were not told yet, oldest first; a comment where there are none, which tells whether somebody still listens."""
        self._still(page)
        try:
            rows = recent(page)
        except (Busy, Unavailable):
            return b": the ledger is busy\n\n"
        new = [row for row in reversed(rows) if row["entry_id"] not in seen]
        for row in new:
            seen[row["entry_id"]] = None
        while len(seen) > LIVE_SEEN_MAX:
            seen.popitem(last=False)
        if not new:
            return b": nothing new\n\n"
        html = page.fragment("live/rows.html", rows=new)
        return b"event: rows\ndata: " + orjson.dumps(html) + b"\n\n"


def recent(page: Page) -> list[Json]:
    """The newest charges of the last hour, newest first."""
    since = format_ns(page.context.clock.now_ns() - NS_PER_HOUR)
    answer = page.ask("usage.list", role="call", limit=_ROWS, cursor=None, from_=since, to=None)
    del page.asked[1:]
    return list(answer["entries"])
