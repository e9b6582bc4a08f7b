"""The line of those who ask with every model call: all that wait are answered together, by one thread at a time.

The event loop only puts a request into the line; a thread admits, reads, answers and writes all that stand there, in as few transactions
as their operations take for many, and hands the answers back in one piece. Whoever has waited for too long is answered without.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import orjson
from fastapi import Request
from starlette.responses import Response

from otel_finops.base.errors import Busy, FinopsError
from otel_finops.base.limits import DECISIONS_TOGETHER_MAX, DECISIONS_WAITING_MAX
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Json, Operation, Together, prepared
from otel_finops.surfaces.api.routes import admitted, failed, given_to, json_answer, key_of
from otel_finops.surfaces.web.gate import Gate

Answered: TypeAlias = tuple["_Asking", Response]
_UNREAD: Final = object()
_LINGER_S: Final = 0.1
"""For so long the thread waits for the next one who asks: to send for a thread costs more than to wake one."""


class _Late(Exception):
    """Nobody came to answer in time."""


class _Asking:
    """A request in the line.

    Attributes:
        together: how it is answered with others.
        prepared: what its operation made of it; `_UNREAD` before.
        answer: for the event loop: the response, or `_Late`.
    """

    __slots__ = ("answer", "body", "loop", "one", "prepared", "request", "together")

    def __init__(self, one: Operation, together: Together, request: Request, body: bytes) -> None:
        self.one = one
        self.together = together
        self.request = request
        self.body = body
        self.prepared: Any = _UNREAD
        self.loop = get_running_loop()
        self.answer = self.loop.create_future()

    def give_up(self) -> None:
        """Wait no longer; on the event loop."""
        if not self.answer.done():
            self.answer.set_exception(_Late())


class _Patience:
    """Lets those give up who have waited too long: one timer for all of an event loop, since one for each costs more than to wait."""

    def __init__(self, loop: AbstractEventLoop, patience_s: float) -> None:
        self.loop = loop
        self._patience_s = patience_s
        self._waiting: deque[tuple[float, _Asking]] = deque()
        self._has_timer = False

    def watch(self, asking: _Asking) -> None:
        """From now on; all are as patient, so that whoever came first gives up first."""
        waiting = self._waiting
        while waiting and waiting[0][1].answer.done():
            waiting.popleft()
        waiting.append((self.loop.time() + self._patience_s, asking))
        if not self._has_timer:
            self._look_at(waiting[0][0])

    def _look_at(self, when_s: float) -> None:
        self._has_timer = True
        self.loop.call_at(when_s, self._look)

    def _look(self) -> None:
        self._has_timer = False
        now_s, waiting = self.loop.time(), self._waiting
        while waiting and (waiting[0][0] <= now_s or waiting[0][1].answer.done()):
            waiting.popleft()[1].give_up()
        if waiting:
            self._look_at(waiting[0][0])


class Line:
    """See above.

    Args:
        context: what the operations work on.
        gate: lets requests in.
        pool: threads: one works through the line, others wait for guardrails and resolvers.
        patience_s: for so long a request stands in the line.
    """

    def __init__(self, context: Context, gate: Gate, pool: ThreadPoolExecutor, patience_s: float) -> None:
        self._context = context
        self._gate = gate
        self._pool = pool
        self._patience_s = patience_s
        self._patience: _Patience | None = None
        self._waiting: SimpleQueue[_Asking] = SimpleQueue()
        self._guard = threading.Lock()
        self._is_served = False

    async def answered(self, one: Operation, together: Together, request: Request, body: bytes) -> Response:
        """The answer to a request; raises what the gate and the operation raise."""
        asking = _Asking(one, together, request, body)
        if self._context.settings.auth.resolver or together.waits(self._context):
            asking.prepared = await asking.loop.run_in_executor(self._pool, self._prepared, asking)
        self._put(asking)
        self._patience_on(asking.loop).watch(asking)
        try:
            return await asking.answer  # type: ignore[no-any-return]
        except _Late:
            return await asking.loop.run_in_executor(self._pool, self._late, asking)

    def _patience_on(self, loop: AbstractEventLoop) -> _Patience:
        """That of an event loop; a process serves the API on one."""
        if self._patience is None or self._patience.loop is not loop:
            self._patience = _Patience(loop, self._patience_s)
        return self._patience

    def _put(self, asking: _Asking) -> None:
        with self._guard:
            if self._waiting.qsize() >= DECISIONS_WAITING_MAX:
                asking.give_up()
                return
            self._waiting.put(asking)
            begins, self._is_served = not self._is_served, True
        if begins:
            self._pool.submit(self._serve)

    def _serve(self) -> None:
        """Answer all that wait until nobody has for a while."""
        while askings := self._next():
            by_loop: defaultdict[AbstractEventLoop, list[Answered]] = defaultdict(list)
            for asking, response in self._answers([one for one in askings if not one.answer.done()]):
                by_loop[asking.loop].append((asking, response))
            for loop, answers in by_loop.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_deliver, answers)

    def _next(self) -> list[_Asking]:
        """All that wait, the first of whom may still have to come; nobody: the thread is to go."""
        askings = []
        try:
            askings.append(self._waiting.get(timeout=_LINGER_S))
            while len(askings) < DECISIONS_TOGETHER_MAX:
                askings.append(self._waiting.get_nowait())
        except Empty:
            with self._guard:
                self._is_served = bool(askings) or not self._waiting.empty()
                return askings if askings or not self._is_served else [self._waiting.get_nowait()]
        return askings

    def _answers(self, askings: Sequence[_Asking]) -> Iterator[Answered]:
        ready: defaultdict[str, list[_Asking]] = defaultdict(list)
        for asking in askings:
            try:
                if asking.prepared is _UNREAD:
                    asking.prepared = self._prepared(asking)
            except Exception as fault:  # noqa: BLE001 - told and logged
                yield asking, failed(asking.one, asking.request, fault)
            else:
                ready[asking.one.name].append(asking)
        for group in ready.values():
            yield from zip(group, self._finished(group), strict=True)

    def _prepared(self, asking: _Asking) -> Any:
        principal = admitted(asking.one, asking.request, self._context, self._gate)
        given = given_to(asking.one, asking.request, asking.body)
        return prepared(asking.one, self._context, principal, given, key_of(asking.request))

    def _finished(self, group: Sequence[_Asking]) -> list[Response]:
        """The answers to several requests for one operation."""
        try:
            answers = group[0].together.finish(self._context, [asking.prepared for asking in group])
            return [_response(asking, answer) for asking, answer in zip(group, answers, strict=True)]
        except Exception as fault:  # noqa: BLE001 - told and logged
            return [failed(asking.one, asking.request, fault) for asking in group]

    def _late(self, asking: _Asking) -> Response:
        """What is answered to who waited in vain."""
        try:
            if asking.together.late is None:
                raise Busy("Too many ask at a time; ask again.")
            ready = self._prepared(asking) if asking.prepared is _UNREAD else asking.prepared
            return _response(asking, asking.together.late(self._context, ready))
        except Exception as fault:  # noqa: BLE001 - told and logged
            return failed(asking.one, asking.request, fault)


def _response(asking: _Asking, answer: Json | FinopsError) -> Response:
    if isinstance(answer, FinopsError):
        return failed(asking.one, asking.request, answer)
    return json_answer(asking.request, orjson.dumps(answer))


def _deliver(answers: Sequence[Answered]) -> None:
    """On the event loop; who has given up or gone away meanwhile gets nothing."""
    for asking, response in answers:
        if not asking.answer.done():
            asking.answer.set_result(response)
