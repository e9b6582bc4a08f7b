"""Functions of every kind within a block: plain ones, coroutines, and generators of either sort.

A generator is inside the block only while it runs, never while it waits to be asked for more: its caller goes on outside.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])
_Open = Callable[[], AbstractContextManager[Any]]


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
