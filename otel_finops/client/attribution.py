"""Whose calls a block of code makes: its spans and everything below them belong to a tenant, step, purpose and so on.

A block says it three times. As attributes on the spans that are started first in it (`Stamper`); what is below them inherits, as the
ledger reads the nearest span that says something, so that an instrumentation's own word on an inner span still counts. As baggage, so
that other services' spans know it too. And in the context, where whoever asks for a decision reads it (`said`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NamedTuple, TypeVar

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from otel_finops.client.settings import baggage_is_believed
from otel_finops.client.wrapping import OpenBlocks, wrapped

KEYS: Final[Mapping[str, str]] = {
    "tenant": "finops.tenant",
    "cost_center": "finops.cost_center",
    "purpose": "finops.purpose",
    "step": "finops.step",
    "agent": "gen_ai.agent.name",
    "user": "finops.user",
    "session": "session.id",
}
"""What a block can say, and the attribute that carries it."""
RESERVATION: Final = "finops.reservation"
CARRIED: Final = frozenset(("tenant", "cost_center", "purpose", "step", "agent"))
"""What goes into baggage unless told otherwise. Baggage is sent with every instrumented request, to strangers too: no word of people."""

_NO_TAGS: Final = frozenset((*KEYS.values(), RESERVATION))
_TAGS_MAX: Final = 32
"""The service refuses a question with more."""

_BLOCK: Final = context.create_key("otel-finops-block")
_HELD: Final = context.create_key("otel-finops-held")
_Function = TypeVar("_Function", bound=Callable[..., object])


class Block(NamedTuple):
    """What one block of code says.

    Attributes:
        attributes: by attribute key.
        outer: the block around it.
    """

    attributes: Mapping[str, str]
    outer: Block | None


def _always() -> bool:
    return True


class Held(NamedTuple):
    """A decision that was made for the calls of a block; nobody below has to ask again.

    Attributes:
        reservation_id: what is held for them; None where nothing is.
        refused_model: the model that was asked for and must not be called, after a `downgrade`; None for none.
        holds: whether the block's calls still run. What was started in a block and outlives it, as a worker of its own, keeps its context.
    """

    reservation_id: str | None = None
    refused_model: str | None = None
    holds: Callable[[], bool] = _always


def held(within: Context | None = None) -> Held | None:
    """The decision that holds for calls started in a context (None: the current one); None where nobody has asked."""
    found = context.get_value(_HELD, within)
    return found if isinstance(found, Held) and found.holds() else None


def said(within: Context | None = None) -> dict[str, str]:
    """What the blocks around say, innermost first, else what came as baggage: by the names of `KEYS`."""
    known = _all_said(within)
    return {name: known[key] for name, key in KEYS.items() if key in known}


def tags_said(within: Context | None = None) -> dict[str, str]:
    """The tags that the blocks around say, at most as many as the service takes of a call."""
    known = _said_since(_block(within), None)
    tags = [(key, value) for key, value in known.items() if key not in _NO_TAGS]
    return dict(tags[:_TAGS_MAX])


def _all_said(within: Context | None) -> dict[str, str]:
    return _came(within) | _said_since(_block(within), None)


def _came(within: Context | None) -> dict[str, str]:
    if not baggage_is_believed():
        return {}
    carried = baggage.get_all(within)
    return {key: str(carried[key]) for key in KEYS.values() if carried.get(key)}


def _said_since(block: Block | None, known: Block | None) -> dict[str, str]:
    """What blocks say that stand within `known`, inner ones first."""
    found: dict[str, str] = {}
    while block is not None and block is not known:
        found = {**block.attributes, **found}
        block = block.outer
    return found


def _block(within: Context | None) -> Block | None:
    found = context.get_value(_BLOCK, within)
    return found if isinstance(found, Block) else None


def current_trace() -> str | None:
    """The trace of the current span, 32 hex digits; None where there is none."""
    current = trace.get_current_span().get_span_context()
    return trace.format_trace_id(current.trace_id) if current.is_valid else None


_parents: Final[weakref.WeakKeyDictionary[trace.Span, trace.Span]] = weakref.WeakKeyDictionary()
_DEPTH_MAX: Final = 64
"""Ancestors that are looked at; agents nest a dozen deep."""


def remember_parent(span: trace.Span, within: Context | None) -> None:
    """Keep in mind, while both live, in which span another one was started: the SDK's spans only know its id."""
    parent = trace.get_current_span(within)
    if parent.is_recording():
        _parents[span] = parent


def spans_above(span: trace.Span) -> Iterator[trace.Span]:
    """The live spans above one, nearest first, as far as they were remembered."""
    for _ in range(_DEPTH_MAX):
        parent = _parents.get(span)
        if parent is None:
            return
        yield parent
        span = parent


class Stamper(SpanProcessor):
    """Puts what blocks say on the spans that are started first in them, and what came as baggage on the first spans of a service.

    An attribute that the span was started with is never replaced. What is held for a block's calls is stamped on every span in it: until
    a trace is settled, the service reads the spans of calls one by one.
    """

    def __init__(self) -> None:
        self._blocks: weakref.WeakKeyDictionary[trace.Span, Block | None] = weakref.WeakKeyDictionary()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span that has just begun."""
        parent, block = trace.get_current_span(parent_context), _block(parent_context)
        attributes = _said_since(block, self._blocks[parent]) if parent in self._blocks else _all_said(parent_context)
        self._blocks[span] = block
        remember_parent(span, parent_context)
        decided = held(parent_context)
        if decided is not None and decided.reservation_id is not None:
            attributes = {**attributes, RESERVATION: decided.reservation_id}
        present = span.attributes or {}
        for key, value in attributes.items():
            if key not in present:
                span.set_attribute(key, value)

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing is left to do."""


_stamped: Final[weakref.WeakSet[TracerProvider]] = weakref.WeakSet()


def stamp_spans(provider: trace.TracerProvider | None = None) -> bool:
    """Have a tracer provider's spans stamped, the global one's by default; blocks see to that one themselves. More than once is once.

    Returns:
        Whether it is: providers that are not the SDK's cannot be.
    """
    provider = provider or trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return False
    if provider not in _stamped:
        _stamped.add(provider)
        provider.add_span_processor(Stamper())
    return True


@contextmanager
def entered(attributes: Mapping[str, str], carried: Collection[str] = (), decision: Held | None = None) -> Iterator[None]:
    """Be inside a block that says `attributes`, of which the keys in `carried` are baggage too, and for which a decision was made."""
    stamp_spans()
    inner = context.set_value(_BLOCK, Block(attributes, _block(None)))
    for key in carried:
        inner = baggage.set_baggage(key, attributes[key], inner)
    if decision is not None:
        inner = context.set_value(_HELD, decision, inner)
    token = context.attach(inner)
    try:
        yield
    finally:
        context.detach(token)


class attribution:  # noqa: N801 - reads as a verb: `with attribution(step="search"):`
    """A block of code, or a function of any kind, whose calls belong to somebody.

        with attribution(tenant="acme", step="search"):
            ...

        @attribution(purpose="nightly summaries")
        async def summarise(): ...

    Blocks within blocks add to what is said, the inner one wins. A None says nothing.

    Args:
        tenant, cost_center, purpose, step, agent, user, session: whose.
        tags: further attributes; the service keeps those that its setting `attribution.tags` names.
        carry: names of the above that become baggage; by default all but user and session, as baggage reaches every service that is
            called, also other people's.
    """

    def __init__(
        self,
        *,
        tenant: str | None = None,
        cost_center: str | None = None,
        purpose: str | None = None,
        step: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        session: str | None = None,
        tags: Mapping[str, str] | None = None,
        carry: Collection[str] = CARRIED,
    ) -> None:
        given = {
            "tenant": tenant, "cost_center": cost_center, "purpose": purpose, "step": step, "agent": agent,
            "user": user, "session": session,
        }  # fmt: skip
        unknown = sorted(set(carry) - KEYS.keys())
        if unknown:
            raise ValueError(f"carry: {unknown[0]!r} is none of {', '.join(KEYS)}")
        named = {name: str(value) for name, value in given.items() if value is not None}
        self._attributes = {KEYS[name]: value for name, value in named.items()} | {key: str(value) for key, value in (tags or {}).items()}
        self._carried = [KEYS[name] for name in named if name in carry]
        self._open: OpenBlocks[AbstractContextManager[None]] = OpenBlocks()

    def block(self) -> AbstractContextManager[None]:
        """The block, to be entered once."""
        return entered(self._attributes, self._carried)

    def __enter__(self) -> None:
        block = self.block()
        block.__enter__()
        self._open.enter(block)

    def __exit__(self, *fault: object) -> None:
        self._open.leave().__exit__(None, None, None)

    def __call__(self, function: _Function) -> _Function:
        """The function, all of whose calls are such blocks."""
        return wrapped(function, self.block)
