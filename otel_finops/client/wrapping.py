"""Functions of every kind within a block: plain ones, coroutines, and generators of either sort; and which of an object's blocks to leave.

A generator is inside the block only while it runs, never while it waits to be asked for more: its caller goes on outside.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])
_Left = TypeVar("_Left")
_Open = Callable[[], AbstractContextManager[Any]]


class OpenBlocks(Generic[_Left]):
    """What is to be left of one object's blocks: each task and thread leaves its own, the inner one first.

    Each only touches what is its own, so there is no lock. What is left elsewhere than it was entered, as a test's set-up may be, is the
    one that was entered last.
    """

    def __init__(self) -> None:
        self._open: dict[object, list[_Left]] = {}

    def enter(self, block: _Left) -> None:
        """One more."""
        self._open.setdefault(_here(), []).append(block)

    def leave(self) -> _Left:
        """The one to leave now."""
        place = here if (here := _here()) in self._open else next(reversed(self._open))
        left = self._open[place].pop()
        if not self._open[place]:
            del self._open[place]
        return left


def _here() -> object:
    """The current task, else the thread; in a process that never imported asyncio there are no tasks."""
    if (loops := sys.modules.get("asyncio")) is not None:
        with contextlib.suppress(RuntimeError):
            task: object = loops.current_task()
            return task or threading.get_ident()
    return threading.get_ident()


def wrapped(function: _Function, block: _Open) -> _Function:
    """The function, each of whose calls runs in a new `block()`."""
    if inspect.isasyncgenfunction(function):
        return cast(_Function, _async_generator(function, block))
    if inspect.isgeneratorfunction(function):
        return cast(_Function, _generator(function, block))
    if inspect.iscoroutinefunction(function):
        return cast(_Function, _coroutine(function, block))

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return cast(_Function, plain)


def _coroutine(function: Callable[..., Any], block: _Open) -> Callable[..., Any]:
    @functools.wraps(function)
    async def inside(*args: Any, **kwargs: Any) -> Any:
        with block():
            return await function(*args, **kwargs)

    return inside


def _generator(function: Callable[..., Any], block: _Open) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from steps(function(*args, **kwargs), block))

    return inside


def _async_generator(function: Callable[..., Any], block: _Open) -> Callable[..., Any]:
    @functools.wraps(function)
    async def inside(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async for one in async_steps(function(*args, **kwargs), block):
            yield one

    return inside


def steps(inner: Generator[Any, Any, Any], block: _Open) -> Generator[Any, Any, Any]:
    """A generator each of whose steps runs in a `block()`; what is sent or thrown in reaches it."""
    go_on: Callable[[], Any] = functools.partial(next, inner)
    try:
        while True:
            try:
                with block():
                    one = go_on()
            except StopIteration as end:
                return end.value
            try:
                sent = yield one
                go_on = functools.partial(inner.send, sent)
            except GeneratorExit:
                raise
            except BaseException as fault:  # noqa: BLE001 - whatever is thrown in belongs to the generator
                go_on = functools.partial(inner.throw, fault)
    finally:
        inner.close()


async def async_steps(inner: AsyncGenerator[Any, Any], block: _Open) -> AsyncGenerator[Any, Any]:
    """The same of an asynchronous one."""
    go_on: Callable[[], Any] = functools.partial(anext, inner)
    try:
        while True:
            try:
                with block():
                    one = await go_on()
            except StopAsyncIteration:
                return
            try:
                sent = yield one
                go_on = functools.partial(inner.asend, sent)
            except GeneratorExit:
                raise
            except BaseException as fault:  # noqa: BLE001 - as above
                go_on = functools.partial(inner.athrow, fault)
    finally:
        await inner.aclose()
