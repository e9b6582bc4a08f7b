"""A TCP proxy that breaks connections by a plan: it cuts requests and answers, swallows answers, delays, and sends requests twice.

The plan follows from a seed alone; what happens to the n-th connection is the same in every run.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

_PIECE = 16 * 1024
_RECORDED_MAX = 4 * 1024 * 1024
_REPLAY_S = 1.0
_SAID_ALL_S = 0.25
"""A server that is quiet for so long has answered: over HTTP/2 it says much before it takes the request."""


class Fault(NamedTuple):
    """What happens to one connection.

    Attributes:
        name: for counting.
        delay_s: before anything is passed on.
        request_bytes: so much of what the client sends arrives, then the connection is cut; None for all.
        answer_bytes: so much of what the server says comes back, then the connection is cut; None for all.
        deaf_after: what the server says after so many bytes of the client is swallowed, and the connection cut when it has said all;
            None for never.
        twice: what the client sent is sent again, over another connection, when this one is over.
    """

    name: str = "none"
    delay_s: float = 0.0
    request_bytes: int | None = None
    answer_bytes: int | None = None
    deaf_after: int | None = None
    twice: bool = False


Plan = Callable[[int], Fault]
"""Told the number of a connection, from 0 on."""


def seeded_plan(seed: int, request_bytes: int, *, sound: float = 0.3, delay_s: float = 0.3) -> Plan:
    """Every fault with equal chance; also sound connections end after some requests, so that all senders meet many.

    Args:
        request_bytes: about as many as one request has.
        sound: share of connections that live for a while.
        delay_s: the longest delay.
    """

    def plan(number: int) -> Fault:
        rng = random.Random(f"{seed}-{number}")
        life = request_bytes * rng.randint(2, 8)
        if rng.random() < sound:
            return Fault("sound", request_bytes=life)
        return rng.choice((
            Fault("request cut", request_bytes=rng.randint(0, 2 * request_bytes)),
            Fault("answer cut", answer_bytes=rng.randint(0, 400)),
            Fault("answered, then cut", deaf_after=rng.randint(request_bytes // 2, 2 * request_bytes)),
            Fault("late", delay_s=rng.random() * delay_s, request_bytes=life),
            Fault("twice", request_bytes=life, twice=True),
        ))  # fmt: skip

    return plan


class CuttingProxy:
    """Listens on a port of its own, in a thread of its own.

    Attributes:
        port: where it listens.
        met: connections by the fault that they met.
    """

    def __init__(self, target: int, plan: Plan) -> None:
        self.port = 0
        self.met: Counter[str] = Counter()
        self._target, self._plan = target, plan
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """Cut all connections and end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._plan(self._number)
        self._number += 1
        self.met[fault.name] += 1
        sent = bytearray()
        try:
            await asyncio.sleep(fault.delay_s)
            answers, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        pumps = [
            asyncio.create_task(self._requests(reader, onward, fault, sent)),
            asyncio.create_task(_answers(answers, writer, fault, sent)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            writer.transport.abort()
            onward.transport.abort()
        if fault.twice and sent:
            await self._again(bytes(sent))

    async def _requests(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, fault: Fault, sent: bytearray) -> None:
        left = _RECORDED_MAX if fault.request_bytes is None else fault.request_bytes
        with suppress(OSError):
            while left > 0 and (piece := await reader.read(_PIECE)):
                piece = piece[:left]
                left -= len(piece)
                sent += piece
                onward.write(piece)
                await onward.drain()
            if left <= 0:
                await asyncio.sleep(0.02)  # what was passed on arrives before the connection breaks

    async def _again(self, sent: bytes) -> None:
        with suppress(OSError, TimeoutError):
            answers, onward = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                onward.write(sent)
                await onward.drain()
                async with asyncio.timeout(_REPLAY_S):
                    while await answers.read(_PIECE):
                        pass
            finally:
                onward.transport.abort()


async def _answers(answers: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault, sent: bytearray) -> None:
    left = fault.answer_bytes
    with suppress(OSError):
        while (left is None or left > 0) and (piece := await answers.read(_PIECE)):
            if fault.deaf_after is not None and len(sent) >= fault.deaf_after:
                await _swallow(answers)
                return
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            writer.write(piece)
            await writer.drain()


async def _swallow(answers: asyncio.StreamReader) -> None:
    """Read what the server says until it is quiet."""
    with suppress(TimeoutError):
        while await asyncio.wait_for(answers.read(_PIECE), _SAID_ALL_S):
            pass


@contextmanager
def cutting(target: int, plan: Plan) -> Iterator[CuttingProxy]:
    """A proxy in front of a port of this machine."""
    proxy = CuttingProxy(target, plan)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
