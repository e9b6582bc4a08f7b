"""A call that was let through: which model it may use, what it and its streams came to, and that it is settled when all of it has ended."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, TypedDict, TypeVar, Unpack, overload

from otel_finops.base.money import format_usd, parse_usd
from otel_finops.client.attribution import Held, entered
from otel_finops.client.costs import price_of, rates_of
from otel_finops.client.decisions import Decision
from otel_finops.client.faults import CallBlocked, CallStopped
from otel_finops.client.rates import Rates
from otel_finops.client.service import Service
from otel_finops.client.settling import Came
from otel_finops.client.stream_meter import AsyncMeteredStream, Limits, MeteredStream, OnLimit, StreamCut, StreamMeter
from otel_finops.client.usage import Usage, told_by

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class Question(NamedTuple):
    """What was asked for a call.

    Attributes:
        service: whom.
        fields: what `POST /api/v1/decisions` was told.
        limits, on_limit: where its metered streams end, and how.
    """

    service: Service
    fields: Mapping[str, Any]
    limits: Limits
    on_limit: OnLimit

    @property
    def prompt(self) -> Usage:
        """The prompt as far as it is known beforehand; four characters are taken for a token."""
        return Usage(input_uncached=self.fields.get("input_tokens") or -(-(self.fields.get("text_chars") or 0) // 4))


class MeterOptions(TypedDict, total=False):
    """How one stream is metered.

    Attributes:
        limit_usd, limit_output_tokens, on_limit: instead of the guard's.
        close: what ends the provider's stream where closing the given one does not, as with a generator over it.
        rates: what tokens cost. Without, the service is asked where there is a limit of money; in asynchronous code give that limit to the
            guard, which asks without keeping the event loop.
        count, text: as `StreamMeter`.
    """

    limit_usd: str
    limit_output_tokens: int
    on_limit: OnLimit
    close: Callable[[], Any]
    rates: Rates
    count: Callable[[str], int]
    text: Callable[[Any], str | None]


class GuardedCall:
    """A call that may be made.

    Attributes:
        decision: what the service said; where it is away, what the settings say.
        model: the model to call: the one that was asked for, or the one to use instead.
    """

    def __init__(self, question: Question, decision: Decision) -> None:
        self._question, self.decision = question, decision
        self._asked_model: str | None = question.fields.get("model") or None
        self.model = (decision.model if decision.action == "downgrade" else None) or self._asked_model
        self._usage: Usage | None = None
        self._answered_by = self.model
        self._actual_usd: str | None = None
        self._streams = 0
        self._left = self._settled = False
        self._fault: BaseException | None = None
        try:
            self._rates = self._rates_for(question.limits, self.model)
        except CallBlocked as fault:
            self.left(fault)
            raise

    @property
    def downgraded(self) -> bool:
        """Whether another model is to be called than the one that was asked for."""
        return self.model != self._asked_model

    def block(self) -> AbstractContextManager[None]:
        """The block whose spans bear the reservation; nobody in it asks again."""
        refused = self._asked_model if self.downgraded else None
        return entered({}, decision=Held(self.decision.reservation_id, refused, self._runs))

    def _runs(self) -> bool:
        return not self._settled

    # --- what it came to ---------------------------------------------------------------------------------------------

    def used(self, answer: object = None, *, usage: Usage | None = None, actual_usd: str | None = None) -> None:
        """Say what the call came to: the provider's answer, its counts, or the amount itself. Of several the last one holds.

        Raises:
            ValueError: `actual_usd` is no plain decimal.
        """
        if actual_usd is not None:
            parse_usd(actual_usd)
        told = told_by(answer)
        self._usage = usage or told.usage or self._usage
        self._answered_by = told.model or self._answered_by
        self._actual_usd = actual_usd

    @overload
    def meter(self, stream: AsyncIterator[_T], **options: Unpack[MeterOptions]) -> AsyncMeteredStream[_T]: ...
    @overload
    def meter(self, stream: Iterator[_T], **options: Unpack[MeterOptions]) -> MeteredStream[_T]: ...
    def meter(self, stream: Any, **options: Unpack[MeterOptions]) -> Any:
        """A stream that is counted, ended at the limit, and settled when it has ended, be it after the block.

        Args:
            stream: what the provider's SDK gave, or any iterator.
            options: `MeterOptions`.

        Raises:
            CallBlocked: there is a limit of money, nobody knows the price, and the client is set to fail closed.
            ValueError: a limit can be none.
        """
        limits = limits_of(options.get("limit_usd"), options.get("limit_output_tokens"), self._question.limits)
        rates = options.get("rates") or self._rates or self._rates_for(limits, self.model)
        meter = StreamMeter(limits, rates=rates, prompt=self._question.prompt, count=options.get("count"), text=options.get("text"))
        kind: type[AsyncMeteredStream[Any] | MeteredStream[Any]] = AsyncMeteredStream if hasattr(stream, "__anext__") else MeteredStream
        metered = kind(stream, meter, options.get("on_limit", self._question.on_limit), options.get("close"), self._streamed)
        self._streams += 1
        return metered

    def _rates_for(self, limits: Limits, model: str | None) -> Rates | None:
        if limits.pico is None:
            return None
        service, fields = self._question.service, self._question.fields
        rates = rates_of(service, {**fields, "model": model}, self._question.prompt.prompt)
        if rates is None and service.settings.on:
            if service.settings.fail == "closed":
                raise CallBlocked(
                    f"The model call was not made: what {model or 'its model'} costs is not known, so that its stream could not be ended "
                    f"at {format_usd(limits.pico)} USD. This client is set to fail closed (OTEL_FINOPS_FAIL).",
                    http_status=503,
                )
            _log.warning("What %s costs is not known: its stream runs without its limit of money.", model or "a model")
        return rates

    def _streamed(self, meter: StreamMeter, fault: BaseException | None) -> None:
        self._streams -= 1
        if fault is None or meter.begun:
            self._usage, self._answered_by = meter.known_usage, meter.model or self._answered_by
        self._end(fault)

    def left(self, fault: BaseException | None = None) -> None:
        """The block has ended; where streams still run, the call ends with the last of them."""
        self._left = True
        self._end(fault)

    def not_made(self) -> None:
        """Nobody is there any more to make it: what is held for it is given back."""
        self._tell(Came(made=False))

    def _end(self, fault: BaseException | None) -> None:
        """Tell the service, behind the application's back: the amount, or by what to reckon it, or that nobody knows it."""
        self._fault = self._fault or fault
        if self._left and not self._streams:
            self._tell(self._came(self._fault))

    def _tell(self, came: Came) -> None:
        """Once; what comes later is too late."""
        if self._settled:
            return
        self._settled = True
        if self.decision.reservation_id is not None:
            self._question.service.settlements.add(self.decision.reservation_id, came)

    def _came(self, fault: BaseException | None) -> Came:
        if self._usage is None:
            return Came(self._actual_usd) if fault is None or self._actual_usd is not None else _came_of(fault)
        call = {**self._question.fields, "model": self._answered_by}
        price = functools.partial(price_of, self._question.service, call, self._usage)
        return Came(price if self._actual_usd is None else self._actual_usd, self._usage.prompt + self._usage.output)


def limits_of(usd: str | None, output_tokens: int | None, otherwise: Limits) -> Limits:
    """Limits as people write them; raises ValueError for what can be no limit."""
    if usd is not None and parse_usd(usd) < 0:
        raise ValueError(f"limit_usd must be an amount from 0 on, not {usd[:40]!r}")
    if output_tokens is not None and output_tokens < 1:
        raise ValueError(f"limit_output_tokens must be 1 or more, not {output_tokens!r}")
    return Limits(
        otherwise.pico if usd is None else parse_usd(usd),
        otherwise.output_tokens if output_tokens is None else output_tokens,
    )


def _came_of(fault: BaseException) -> Came:
    """What a call came to that ended so, of which nothing else is known.

    Nothing was made where something stopped it before; what the provider answered with a fault, whose status the vendors' SDKs all tell
    alike, it does not charge.
    """
    if isinstance(fault, CallBlocked | CallStopped) and not isinstance(fault, StreamCut):
        return Came(made=False)
    status = getattr(fault, "status_code", None)
    return Came("0", 0) if isinstance(status, int) and 400 <= status < 600 else Came()
