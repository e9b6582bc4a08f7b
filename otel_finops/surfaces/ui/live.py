"""Charges as they come, as server-sent events: each one a row of the page's table."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio
import orjson
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Send

from otel_finops.base.errors import Busy, FinopsError, Forbidden, Unauthenticated, Unavailable
from otel_finops.base.limits import LIVE_SEEN_MAX, LIVE_STALL_S, LIVE_VIEWERS_MAX, LIVE_VIEWERS_OF_ONE_MAX
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.page import Declared, Page
from otel_finops.surfaces.web.places import Places

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
"""From one look at the ledger to the next."""
EVENTS: Final = "text/event-stream"
_ROWS: Final = 100


LIVE: Final = Declared("/live/events", "", "", ("usage.list",), lambda page: page.to("/live"))
"""The stream as a page of its own: who may not open it gets nothing."""


class _Stream(StreamingResponse):
    """Events as the browser takes them; one that takes nothing ends."""

    async def stream_response(self, send: Send) -> None:
        async def sent(message: Any) -> None:
            with anyio.fail_after(LIVE_STALL_S):
                await send(message)

        try:
            await super().stream_response(sent)
        except TimeoutError:
            log.info("a live page took nothing for %.0f s and is cut off", LIVE_STALL_S)
        finally:
            assert isinstance(self.body_iterator, AsyncGenerator)
            await self.body_iterator.aclose()  # it gives its place back


class Live:
    """What every viewer is told; at most `LIVE_VIEWERS_MAX` of them at a time, of one principal at most `LIVE_VIEWERS_OF_ONE_MAX`.

    Args:
        still: raises where a viewer's token has been revoked or has expired.
    """

    def __init__(self, still: Callable[[Page], None], pause_s: float = EVERY_S) -> None:
        self._still = still
        self._pause_s = pause_s
        self._places = Places(LIVE_VIEWERS_MAX)
        self._of_one: Counter[tuple[object, ...]] = Counter()

    def answer(self, page: Page) -> StreamingResponse:
        """The stream for one page."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return _Stream(self._events(page), media_type=EVENTS, headers=headers)

    @property
    def viewers(self) -> int:
        """How many there are now."""
        return self._of_one.total()

    @contextmanager
    def _taken(self, principal: Principal) -> Iterator[None]:
        """Hold a place; raises Busy when there is none, or none for this principal."""
        one = (principal.who, principal.tenants)
        if self._of_one[one] >= LIVE_VIEWERS_OF_ONE_MAX:
            raise Busy(f"{LIVE_VIEWERS_OF_ONE_MAX} live pages of yours are open already; close one.")
        with self._places.taken():
            self._of_one[one] += 1
            try:
                yield
            finally:
                self._of_one[one] -= 1
                if not self._of_one[one]:
                    del self._of_one[one]

    async def _events(self, page: Page) -> AsyncGenerator[bytes, None]:
        seen: OrderedDict[str, None] = OrderedDict()
        yield b"retry: 3000\n\n"
        try:
            with self._taken(page.principal):
                while True:
                    yield await run_in_threadpool(self._news, page, seen)
                    await anyio.sleep(self._pause_s)
        except (Unauthenticated, Forbidden):
            yield b"event: end\ndata: signed-out\n\n"
        except Busy:
            yield b"retry: 10000\nevent: end\ndata: too-many\n\n"
        except (FinopsError, ValidationError):  # a filter in the address that does not fit
            yield b"event: end\ndata: bad-address\n\n"

    def _news(self, page: Page, seen: OrderedDict[str, None]) -> bytes:
        """Rows that were not told yet, oldest first; a comment where there are none, which tells whether somebody still listens."""
        try:
            self._still(page)
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
