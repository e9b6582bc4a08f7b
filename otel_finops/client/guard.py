"""A guard around model calls: it asks before, stops them when they must not be made, and says afterwards what they came to.

    with guard("openai", "gpt-5", max_output_tokens=500) as call:
        answer = client.chat.completions.create(model=call.model, ...)
        call.used(answer)

    @guard("openai", max_output_tokens=500)
    async def ask(question, *, model="gpt-5"): ...

What each decision does: `allow` lets the call through; `downgrade` lets it through with another model, which a function gets in its
argument `model` and a block in `call.model`; `throttle` and `queue` wait and ask again, or raise, as the guard was told; `block` and
`require_approval` raise. While the service is away, `OTEL_FINOPS_FAIL` says whether calls are made.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from otel_finops.client.decisions import Decision
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guarded_call import GuardedCall, Question, limits_of
from otel_finops.client.service import Service, the_service
from otel_finops.client.spans import asked_around
from otel_finops.client.stream_meter import Limits, OnLimit
from otel_finops.client.wrapping import OpenBlocks, async_steps, steps

_Function = TypeVar("_Function", bound=Callable[..., object])
_Plain = Callable[..., Any]

OnDelay = Literal["wait", "raise"]
_RETRY_S: Final = 1.0
"""Before asking again where the service does not say when."""


class guard:  # noqa: N801 - reads as a verb: `with guard("openai", "gpt-5") as call:`
    """Guards a block of code, synchronous or asynchronous, or every call of a function of any kind.

    A function that returns a provider's stream, or is a generator, is guarded until that has ended. One guard may serve any number of
    blocks and functions, also at the same time.

    Args:
        provider: who bills, in any spelling.
        model: the model to be called; of a function None: what its argument `model_argument` says.
        operation: what for.
        input_tokens, text_chars, max_output_tokens, estimate_usd: what is known of its size; the more, the better the estimate.
        describe: of a function: takes its arguments, gives any of the fields of `POST /api/v1/decisions` for this call.
        throttle, queue: `wait` or `raise` when the service says to come later.
        longest_wait_s: how long to wait in all, seconds; what would take longer raises at once.
        limit_usd, limit_output_tokens, on_limit: where metered streams end, and whether their reader is told by an exception (`raise`) or
            sees an `end`.
        model_argument: the argument of a function that names the model, and that takes another one after a `downgrade`.
        service: which one to ask; None: the environment's.

    Raises:
        CallBlocked: the call must not be made, when the block or function is entered.
        BadInput: an environment variable is wrong, likewise.
    """

    def __init__(
        self,
        provider: str,
        model: str | None = None,
        *,
        operation: str = "chat",
        input_tokens: int | None = None,
        text_chars: int | None = None,
        max_output_tokens: int | None = None,
        estimate_usd: str | None = None,
        describe: Callable[..., Mapping[str, Any]] | None = None,
        throttle: OnDelay = "wait",
        queue: OnDelay = "raise",
        longest_wait_s: float = 30.0,
        limit_usd: str | None = None,
        limit_output_tokens: int | None = None,
        on_limit: OnLimit = "raise",
        model_argument: str = "model",
        service: Service | None = None,
    ) -> None:
        for name, given in (("throttle", throttle), ("queue", queue)):
            if given not in ("wait", "raise"):
                raise ValueError(f"{name} must be 'wait' or 'raise', not {given!r}")
        if not 0.0 <= longest_wait_s < float("inf"):
            raise ValueError(f"longest_wait_s must be seconds from 0 on, not {longest_wait_s!r}")
        self._fields = {
            "provider": provider, "model": model, "operation": operation, "input_tokens": input_tokens, "text_chars": text_chars,
            "max_output_tokens": max_output_tokens, "estimate_usd": estimate_usd,
        }  # fmt: skip
        self._describe, self._model_argument = describe, model_argument
        self._delays: dict[str, OnDelay] = {"throttle": throttle, "queue": queue}
        self._longest_wait_s = longest_wait_s
        self._limits, self._on_limit = limits_of(limit_usd, limit_output_tokens, Limits()), on_limit
        self._service = service
        self._open: OpenBlocks[tuple[GuardedCall, AbstractContextManager[None]]] = OpenBlocks()

    # --- asking ------------------------------------------------------------------------------------------------------

    def _question(self, described: Mapping[str, Any]) -> Question:
        known = {**asked_around(), **self._fields, **described}
        fields = {name: value for name, value in known.items() if value is not None}
        return Question(self._service or the_service(), {"model": "", **fields}, self._limits, self._on_limit)

    def _let_through(self, question: Question) -> GuardedCall:
        """Ask until the call may be made; raises CallBlocked when it must not be."""
        waited_s = 0.0
        while True:
            said = _put(question)
            if isinstance(said, GuardedCall):
                return said
            pause_s = self._pause(said, waited_s)
            time.sleep(pause_s)
            waited_s += pause_s

    async def _let_through_async(self, question: Question) -> GuardedCall:
        """The same, without keeping the event loop."""
        waited_s = 0.0
        while True:
            said = await _put_async(question)
            if isinstance(said, GuardedCall):
                return said
            pause_s = self._pause(said, waited_s)
            await asyncio.sleep(pause_s)
            waited_s += pause_s

    def _pause(self, decision: Decision, waited_s: float) -> float:
        """How long to wait before asking again; raises where that is of no use, not wanted, or too long."""
        pause_s = _RETRY_S if decision.retry_after_s is None else decision.retry_after_s
        if self._delays.get(decision.action) != "wait" or waited_s + pause_s > self._longest_wait_s:
            raise decision.blocked()
        return pause_s

    # --- blocks ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> GuardedCall:
        return self._begin(self._let_through(self._question({})))

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        self._finish(fault)

    async def __aenter__(self) -> GuardedCall:
        return self._begin(await self._let_through_async(self._question({})))

    async def __aexit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        self._finish(fault)

    def _begin(self, call: GuardedCall) -> GuardedCall:
        block = call.block()
        block.__enter__()
        self._open.enter((call, block))
        return call

    def _finish(self, fault: BaseException | None) -> None:
        call, block = self._open.leave()
        block.__exit__(None, None, None)
        call.left(fault)

    # --- functions ---------------------------------------------------------------------------------------------------

    def __call__(self, function: _Function) -> _Function:
        """The function, each of whose calls is guarded."""
        if inspect.isasyncgenfunction(function):
            guarded = self._async_generator(function)
        elif inspect.isgeneratorfunction(function):
            guarded = self._generator(function)
        elif inspect.iscoroutinefunction(function):
            guarded = self._coroutine(function)
        else:
            guarded = self._plain(function)
        return cast(_Function, functools.wraps(function)(guarded))

    def _plain(self, function: _Plain) -> _Plain:
        signature = inspect.signature(function)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            made = _Arguments.of(signature, args, kwargs)
            call = made.for_call(self._let_through(self._asked_for(made)), self._model_argument)
            try:
                with call.block():
                    answer = function(*made.bound.args, **made.bound.kwargs)
            except BaseException as fault:
                call.left(fault)
                raise
            return _answered(call, answer)

        return guarded

    def _coroutine(self, function: _Plain) -> _Plain:
        signature = inspect.signature(function)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            made = _Arguments.of(signature, args, kwargs)
            call = made.for_call(await self._let_through_async(self._asked_for(made)), self._model_argument)
            try:
                with call.block():
                    answer = await function(*made.bound.args, **made.bound.kwargs)
            except BaseException as fault:
                call.left(fault)
                raise
            return _answered(call, answer)

        return guarded

    def _generator(self, function: _Plain) -> _Plain:
        signature = inspect.signature(function)

        def guarded(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
            made = _Arguments.of(signature, args, kwargs)
            call = made.for_call(self._let_through(self._asked_for(made)), self._model_argument)
            with _answered(call, steps(function(*made.bound.args, **made.bound.kwargs), call.block)) as stream:
                yield from stream

        return guarded

    def _async_generator(self, function: _Plain) -> _Plain:
        signature = inspect.signature(function)

        async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            made = _Arguments.of(signature, args, kwargs)
            call = made.for_call(await self._let_through_async(self._asked_for(made)), self._model_argument)
            async with _answered(call, async_steps(function(*made.bound.args, **made.bound.kwargs), call.block)) as stream:
                async for one in stream:
                    yield one

        return guarded

    def _asked_for(self, made: _Arguments) -> Question:
        """What a function's arguments say of its call."""
        bound = made.bound
        named = made.named(self._model_argument) if self._fields["model"] is None else None
        described = {} if self._describe is None else dict(self._describe(*bound.args, **bound.kwargs))
        return self._question({"model": named if isinstance(named, str) else self._fields["model"], **described})


def _put(question: Question) -> GuardedCall | Decision:
    """Ask once: the call, or why it must not be made now."""
    decision = question.service.desk.ask(question.fields)
    return decision if decision.halts else GuardedCall(question, decision)


async def _put_async(question: Question) -> GuardedCall | Decision:
    """The same on a thread. A task that is cancelled meanwhile makes no call, so that what is held for it by then is given back."""
    asking = _Asking(question)
    try:
        return await asyncio.to_thread(asking.run)
    except asyncio.CancelledError:
        asking.leave()
        raise


class _Asking:
    """A question on a thread, for which somebody waits or not any more."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._lock = threading.Lock()
        self._said: GuardedCall | Decision | None = None
        self._left = False

    def run(self) -> GuardedCall | Decision:
        said = _put(self._question)
        with self._lock:
            self._said = said
            self._give_back()
        return said

    def leave(self) -> None:
        with self._lock:
            self._left = True
            self._give_back()

    def _give_back(self) -> None:
        if self._left and isinstance(self._said, GuardedCall):
            self._said.not_made()


class _Arguments(NamedTuple):
    """The arguments of one call of a function."""

    bound: inspect.BoundArguments

    @classmethod
    def of(cls, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Arguments:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return cls(bound)

    def named(self, name: str) -> Any:
        """The value of an argument, also of one that the function takes among others; None where it is not given."""
        arguments = self.bound.arguments
        return arguments[name] if name in arguments else arguments.get(self._others() or "", {}).get(name)

    def for_call(self, call: GuardedCall, name: str) -> GuardedCall:
        """Have the function called with the model that it may use; refuses a function that cannot be told."""
        if call.downgraded:
            others = self._others()
            if name in self.bound.arguments:
                self.bound.arguments[name] = call.model
            elif others is not None:
                self.bound.arguments[others] = {**self.bound.arguments[others], name: call.model}
            else:
                stopped = _untold(call, name)
                call.left(stopped)
                raise stopped
        return call

    def _others(self) -> str | None:
        """What the function calls the arguments that it takes by any name."""
        parameters = self.bound.signature.parameters.values()
        return next((taken.name for taken in parameters if taken.kind is taken.VAR_KEYWORD), None)


def _untold(call: GuardedCall, name: str) -> CallBlocked:
    return CallBlocked(
        f"The model call was not made: {call.model} is to be used instead, and the function has no argument {name!r} to take it. Give it "
        "one, or name another by model_argument.",
        action="downgrade",
        reasons=call.decision.reasons,
        decision_id=call.decision.decision_id,
    )


def _answered(call: GuardedCall, answer: Any) -> Any:
    """What a function gave back, a stream metered."""
    if isinstance(answer, AsyncIterator | Iterator):
        answer = call.meter(answer)
    else:
        call.used(answer)
    call.left()
    return answer
