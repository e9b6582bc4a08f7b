"""What a running stream has come to so far, and its end when that is enough.

Providers say what a stream used at its end, if at all. Until then its output is counted from what arrives: bytes of text, four to a
token, unless the application gives a tokenizer. Thoughts that a provider keeps to itself cannot be counted before the end.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from otel_finops.base.money import format_usd
from otel_finops.client.faults import CallBlocked
from otel_finops.client.rates import Rates
from otel_finops.client.usage import Usage, counts_of, disjoint, field, text_of

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")

BYTES_PER_TOKEN: Final = 4
"""Tokenizers merge bytes, so bytes tell more than characters: four of English, and one and a third Chinese characters, are a token."""
_CHAT_PARTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
_MESSAGE_PARTS: Final = ("text", "thinking", "partial_json")
_NOT_CLOSED: Final = "A stream that came to its limit could not be closed: its provider may go on, and charge for it."
_SOUND: Final = "response.audio.delta"
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")


class StreamCut(CallBlocked):
    """A stream was ended because it came to its limit; what had arrived until then was delivered and is paid for.

    Attributes:
        meter: what it had come to.
    """

    def __init__(self, message: str, meter: StreamMeter) -> None:
        super().__init__(message)
        self.meter = meter


class Limits(NamedTuple):
    """Where a stream ends.

    Attributes:
        pico: pico-USD for the whole call, the prompt included; None for no limit.
        output_tokens: tokens of output; None for no limit.
    """

    pico: int | None = None
    output_tokens: int | None = None


class StreamMeter:
    """Counts a stream that something else reads: give it each item as it comes.

    It knows OpenAI's chat and responses events, Anthropic's message events, both as objects or dicts and as their SDKs' helpers give
    them, and plain texts. Of other items `text` says what is in them; without it each counts for one token.

    Attributes:
        model, response_id: as the stream names them; None until it does.
        begun: whether anything came.
        reported: whether the provider said what the whole stream used.

    Args:
        limits: where the stream is over.
        rates: what tokens cost; None: money is not counted.
        prompt: the prompt's counts until the stream tells them.
        count: tokens of a text, instead of four bytes for one.
        text: the generated text of an item.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        *,
        rates: Rates | None = None,
        prompt: Usage = Usage(),  # noqa: B008 - immutable
        count: Callable[[str], int] | None = None,
        text: Callable[[Any], str | None] | None = None,
    ) -> None:
        self._limits, self._rates, self._prompt = limits, rates, prompt
        self._count, self._text = count, text
        self._stated: dict[str, int] = {}
        self._bytes = self._tokens = 0
        self._strange = False
        self.begun = False
        self.model: str | None = None
        self.response_id: str | None = None
        self.reported = False

    @property
    def usage(self) -> Usage:
        """What was used so far: as the provider said last, and what came since. `reported` tells whether it said so of the whole stream."""
        stated = disjoint(self._stated)
        known = stated if stated.prompt else self._prompt
        return known._replace(output=self.output_tokens, reasoning=stated.reasoning, audio_out=stated.audio_out)

    @property
    def known_usage(self) -> Usage | None:
        """`usage`, where it can stand for the call; None where the prompt is not known or texts were not."""
        return self.usage if self.reported or (self.usage.prompt and not self._strange) else None

    @property
    def output_tokens(self) -> int:
        """Tokens of output so far."""
        return self._stated.get("output", 0) + self._tokens + -(-self._bytes // BYTES_PER_TOKEN)

    @property
    def spent_pico(self) -> int | None:
        """What it costs so far, pico-USD, the prompt included; None without rates."""
        return None if self._rates is None else self._rates.pico(self.usage)

    def over(self) -> str | None:
        """Which limit was reached, in words; None while none is, or when there is nothing left to end."""
        if self.reported:
            return None
        tokens, spent = self._limits.output_tokens, self.spent_pico
        if tokens is not None and self.output_tokens >= tokens:
            return f"{self.output_tokens} tokens of output reached its limit of {tokens}"
        if self._limits.pico is not None and spent is not None and spent >= self._limits.pico:
            return f"{format_usd(spent)} USD reached its limit of {format_usd(self._limits.pico)} USD"
        return None

    def add(self, item: object) -> None:
        """Count one item."""
        self.begun = True
        try:
            self._read(item)
        except Exception:  # noqa: BLE001 - a stream must not fail by being counted, whatever is in it
            self._unknown(item)

    def _read(self, item: object) -> None:
        if self._text is not None:
            self._generated(self._text(item))
        elif isinstance(item, str):
            self._generated(item)
        elif isinstance(item, bytes):
            self._bytes += len(item)
        else:
            self._event(item)

    def _generated(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        self.reported = False
        if self._count is not None:
            self._tokens += self._count(text)
        else:
            self._bytes += len(text.encode("utf-8", "surrogatepass"))

    def _states(self, usage: object, *, last: bool) -> None:
        """Take what the provider says: it counts for all that has come until now."""
        counts = counts_of(usage) if usage is not None else {}
        if not counts:
            return
        if "output" in counts:
            self._bytes = self._tokens = 0
        self._stated |= counts
        self.reported = last

    def _event(self, event: object) -> None:
        kind = field(event, "type")
        if kind == "chunk":
            event, kind = field(event, "chunk"), None
        if isinstance(field(event, "choices"), list):
            self._chat(event)
        elif isinstance(kind, str):
            self._typed(kind, event)
        else:
            self._unknown(event)

    def _chat(self, chunk: object) -> None:
        """OpenAI's chat: the whole usage stands in the last chunk, and with some servers a growing one in each."""
        self._whose(chunk)
        choices = field(chunk, "choices")
        for choice in choices:
            delta = field(choice, "delta")
            for part in _CHAT_PARTS:
                self._generated(field(delta, part))
            self._generated(field(field(delta, "audio"), "transcript"))
            self._generated(field(field(delta, "function_call"), "arguments"))
            calls = field(delta, "tool_calls")
            for call in calls if isinstance(calls, list) else ():
                self._generated(field(field(call, "function"), "arguments"))
        self._states(field(chunk, "usage"), last=all(field(choice, "finish_reason") for choice in choices))

    def _typed(self, kind: str, event: object) -> None:
        if kind.startswith("response."):
            self._response(kind, event)
        elif kind == "message_start":
            message = field(event, "message")
            self._whose(message)
            self._states(field(message, "usage"), last=False)
        elif kind == "content_block_delta":
            for part in _MESSAGE_PARTS:
                self._generated(field(field(event, "delta"), part))
        elif kind == "message_delta":
            self._states(field(event, "usage"), last=True)

    def _response(self, kind: str, event: object) -> None:
        """OpenAI's responses: every part comes as a delta, and again whole when it is done."""
        if kind.endswith(".delta") and kind != _SOUND:
            self._generated(field(event, "delta"))
        response = field(event, "response")
        if response is not None:
            self._whose(response)
            self._states(field(response, "usage"), last=kind in _ENDS)

    def _whose(self, answer: object) -> None:
        self.model = text_of(answer, "model") or self.model
        self.response_id = text_of(answer, "id") or self.response_id

    def _unknown(self, item: object) -> None:
        self._tokens += 1
        if not self._strange:
            self._strange = True
            _log.warning(
                "A metered stream gives items of %s, whose text is not known: each counts for one token. Pass text= to the meter.",
                type(item).__name__,
            )


OnLimit = Literal["raise", "end"]
Done = Callable[[StreamMeter, BaseException | None], None]
"""Called once when a stream has ended: by itself (None), by being closed (None), by the meter or by a fault."""


class _Metered:
    """What both sorts of streams share. Attributes that it has not are those of the provider's stream."""

    def __init__(self, stream: Any, meter: StreamMeter, on_limit: OnLimit, close: Callable[[], Any] | None, done: Done | None) -> None:
        if on_limit not in ("raise", "end"):
            raise ValueError(f"on_limit must be 'raise' or 'end', not {on_limit!r}")
        self._stream, self.meter, self._on_limit = stream, meter, on_limit
        self._close, self._done = close, done
        self._cut: StreamCut | None = None
        self._over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__.get("_stream"), name)

    def __del__(self) -> None:
        """A reader went away without a word: what came until then is what counts."""
        if self.__dict__.get("_done") is not None:
            self._ended()

    @property
    def cut(self) -> bool:
        """Whether the meter ended the stream."""
        return self._cut is not None

    def _counted(self, item: object) -> bool:
        """Count an item; whether the stream is to end with it."""
        self.meter.add(item)
        reached = self.meter.over()
        if reached is not None:
            self._cut = StreamCut(f"The stream was ended: {reached}.", self.meter)
        return self.cut

    def _ended(self, fault: BaseException | None = None) -> None:
        self._over = True
        done, self._done = self._done, None
        if done is not None:
            done(self.meter, fault)

    def _after(self) -> StreamCut | None:
        """What a reader gets who goes on after the end; None: the stream is over."""
        return self._cut if self._on_limit == "raise" else None


class MeteredStream(_Metered, Generic[_T]):
    """A stream that ends at its limit; the item with which it got there is still delivered, and the provider's stream closed before it."""

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        if self._over:
            raise self._after() or StopIteration
        try:
            item: _T = next(self._stream)
        except StopIteration:
            self._ended()
            raise
        except BaseException as fault:
            self._ended(fault)
            raise
        if self._counted(item):
            try:
                self._shut()
            except Exception:  # noqa: BLE001 - what came is delivered all the same
                _log.warning(_NOT_CLOSED, exc_info=True)
            finally:
                self._ended(self._cut)
        return item

    def close(self) -> None:
        """Close the provider's stream; what came until then is what counts."""
        try:
            self._shut()
        finally:
            self._ended()

    def _shut(self) -> None:
        close = self._close or getattr(self._stream, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> MeteredStream[_T]:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()


class AsyncMeteredStream(_Metered, Generic[_T]):
    """The same of an asynchronous stream."""

    def __aiter__(self) -> AsyncIterator[_T]:
        return self

    async def __anext__(self) -> _T:
        if self._over:
            raise self._after() or StopAsyncIteration
        try:
            item: _T = await anext(self._stream)
        except StopAsyncIteration:
            self._ended()
            raise
        except BaseException as fault:
            self._ended(fault)
            raise
        if self._counted(item):
            try:
                await self._shut()
            except Exception:  # noqa: BLE001 - as above
                _log.warning(_NOT_CLOSED, exc_info=True)
            finally:
                self._ended(self._cut)
        return item

    async def close(self) -> None:
        """Close the provider's stream; what came until then is what counts."""
        try:
            await self._shut()
        finally:
            self._ended()

    aclose = close

    async def _shut(self) -> None:
        close = self._close or getattr(self._stream, "aclose", None) or getattr(self._stream, "close", None)
        if close is not None:
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    async def __aenter__(self) -> AsyncMeteredStream[_T]:
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self.close()
