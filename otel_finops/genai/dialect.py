"""A dialect: how one family of instrumentations writes a GenAI span down, as tables of keys.

The product asks a dialect once for each *shape* of a span (scope and set of keys, see `normalise`), so the search through priority lists
happens per shape and not per span: `Dialect.reader` compiles what is present into a `Reader`, which is then run on every such span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol, TypeAlias, runtime_checkable

from otel_finops.base.span import Attributes, Span, WantedKeys
from otel_finops.genai.numbers import BAD_AMOUNT, BAD_COUNT, read_amount, read_count
from otel_finops.genai.outcome import finish_reasons
from otel_finops.genai.reported import trust_rank
from otel_finops.genai.sighting import RANK_CLIENT, RANK_FRAMEWORK, RANK_GATEWAY
from otel_finops.genai.texts import clean_name, read_flag

ALL_PROVIDERS: Final = frozenset({"*"})


@dataclass(frozen=True)
class ScopeTraits:
    """What is known of one instrumentation scope, keyed by its full name: two packages of one vendor may differ.

    Attributes:
        rank: whose numbers are believed first (`sighting.RANK_*`).
        exclusive: provider families for which `input` leaves cached tokens out; `ALL_PROVIDERS` for every one.
        reasoning_outside: `output` leaves reasoning out.
        estimates_streams: counts of streamed calls are the instrumentation's own estimate.
    """

    rank: int = RANK_CLIENT
    exclusive: frozenset[str] = frozenset()
    reasoning_outside: bool = False
    estimates_streams: bool = False

    def excludes_cache(self, provider: str | None) -> bool:
        """True when this scope leaves cached tokens out of the input of a provider's calls."""
        return bool(self.exclusive) and ("*" in self.exclusive or provider in self.exclusive)


_FRAMEWORKS: Final = frozenset({
    "langchain", "langgraph", "llama_index", "llamaindex", "crewai", "agno", "haystack", "openai_agents", "agents", "autogen", "smolagents",
    "beeai", "dspy", "semantic_kernel", "semantickernel", "agent_framework", "strands", "pydantic", "instructor", "guardrails", "mcp",
    "google_adk", "adk", "mastra", "genkit", "portkey",
})  # fmt: skip
_GATEWAYS: Final = frozenset({"litellm", "gateway"})
_WORD: Final = re.compile(r"[a-z_]+")


def guessed_traits(scope: str) -> ScopeTraits:
    """Traits of a scope in nobody's table: its rank by the words of its name, nothing else."""
    words = set(_WORD.findall(scope.lower()))
    if words & _GATEWAYS:
        return ScopeTraits(rank=RANK_GATEWAY)
    return ScopeTraits(rank=RANK_FRAMEWORK if words & _FRAMEWORKS else RANK_CLIENT)


class Facts:
    """What one span says, in the product's words but not yet interpreted. A fresh one for every span; dialects fill it.

    Attributes:
        kind: call, agent, workflow, tool or other when the dialect knows; None leaves it to the operation.
        operation, request_model, response_model, response_id, tier_served, tier_asked, region, speed, error_type: as sent, cleaned.
        host: address or URL of the provider's endpoint.
        providers: values that may name the provider, best first; frameworks' names may be among them.
        streaming: None when not said. finished: a reason why the answer ended was given;
            finish_reasons: the reasons that can be told. http_status: None when not said.
        counts: by `usage_reading.COUNT_NAMES`. bad: something that should be a count is none.
        exclusive: `counts["input"]` leaves cached tokens out; None leaves it to the scope. reasoning_outside: the same for output.
        estimated: the counts are the sender's estimate. from_cache: a gateway marks the answer as one from its own cache.
        lead_ns: how long before the span the call began, for a span that is only written when an answer has ended.
        reported_pico, reported_source: the cost that is stated and where it stood (see `state_cost`); a source alone: what stood there
            is no cost.
        attribution: what only values can tell, for gaps that the attribution keys leave; None values are skipped.
        distrusted: attribution keys whose attributes are not to be believed on this span.
    """

    kind: str | None = None
    operation: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    tier_served: str | None = None
    tier_asked: str | None = None
    region: str | None = None
    region_kind: str | None = None
    speed: str | None = None
    error_type: str | None = None
    host: str | None = None
    providers: tuple[str, ...] = ()
    streaming: bool | None = None
    finished: bool = False
    finish_reasons: tuple[str, ...] = ()
    http_status: int | None = None
    bad: bool = False
    exclusive: bool | None = None
    reasoning_outside: bool | None = None
    estimated: bool = False
    from_cache: bool = False
    lead_ns: int = 0
    reported_pico: int | None = None
    reported_source: str | None = None
    attribution: Mapping[str, str | None] = {}
    distrusted: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def ended(self, reason: object) -> None:
        """Take a reason why the answer ended that stood somewhere in a text."""
        self.finish_reasons = self.finish_reasons or finish_reasons(reason)
        self.finished = self.finished or clean_name(reason) is not None

    def state_cost(self, amount: int | None, source: str) -> None:
        """Take a stated cost (see `numbers.read_amount`): what the provider answered beats what others say, else the first one stays."""
        if amount is None:
            return
        if amount == BAD_AMOUNT:
            self.reported_source = self.reported_source or source
        elif self.reported_pico is None or trust_rank(source) < trust_rank(self.reported_source):
            self.reported_pico, self.reported_source = amount, source


Reader: TypeAlias = Callable[[Span], Facts]
Refinement: TypeAlias = Callable[[Span, Facts], None]


@runtime_checkable
class Dialect(Protocol):
    """One way of writing GenAI spans; `TableDialect` serves nearly all of them."""

    @property
    def name(self) -> str:
        """Short and stable; it is stored with every sighting and begins the rules' names."""
        ...

    @property
    def wanted(self) -> WantedKeys:
        """The attributes that it reads."""
        ...

    @property
    def attribution(self) -> Mapping[str, tuple[str, ...]]:
        """Attribution key -> attributes of this dialect, best first."""
        ...

    def reader(self, keys: Collection[str], scope: str) -> Reader | None:
        """The reader for spans of this scope with exactly these keys; None when they are not of this dialect.

        Values are not known here, nor may a schema URL be asked: senders set it to whatever their SDK was built with.
        """
        ...

    def traits(self, scope: str) -> ScopeTraits:
        """What is known of a scope."""
        ...


CountTable: TypeAlias = Mapping[str, tuple[str, ...]]
"""Count name -> attributes, best first."""


@dataclass(frozen=True)
class KeyTable:
    """Which attribute says what; every list is in order of priority, newest convention first.

    Attributes:
        texts: field of `Facts` -> attributes, for the fields that hold a cleaned text.
        providers: attributes that may name the provider.
        counts: conventions of counting. The first of which any count of input or output is present is read, the others are not: one
            span may carry two conventions for the same tokens.
        streaming: flags that say whether the answer was streamed; stream_marks: attributes that only streamed answers have.
        finish: attributes that say why the answer ended. http_status: attributes with the HTTP status.
        costs: attributes with the sender's cost in USD.
        others: attributes that only a refinement reads.
    """

    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    providers: tuple[str, ...] = ()
    counts: tuple[CountTable, ...] = ()
    streaming: tuple[str, ...] = ()
    stream_marks: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    http_status: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def keys(self) -> frozenset[str]:
        """All attributes of the table."""
        lists = (self.providers, self.streaming, self.stream_marks, self.finish, self.http_status, self.costs, self.others)
        named = [*self.texts.values(), *(keys for table in self.counts for keys in table.values())]
        return frozenset(key for keys in (*lists, *named) for key in keys)

    def before(self, older: KeyTable) -> KeyTable:
        """This table, with an older convention's keys behind its own; counts stay conventions of their own."""
        return KeyTable(
            texts=_joined(self.texts, older.texts),
            providers=(*self.providers, *older.providers),
            counts=(*self.counts, *older.counts),
            streaming=(*self.streaming, *older.streaming),
            stream_marks=(*self.stream_marks, *older.stream_marks),
            finish=(*self.finish, *older.finish),
            http_status=(*self.http_status, *older.http_status),
            costs=(*self.costs, *older.costs),
            others=(*self.others, *older.others),
        )


def _joined(first: CountTable, second: CountTable) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys((*first, *second))
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in names}


def joined_counts(newer: CountTable, older: CountTable) -> CountTable:
    """One convention of two whose keys mean the same, so that a sender may mix them: a count is read from the newer key, else the older."""
    return _joined(newer, older)


@dataclass(frozen=True)
class TableDialect:
    """A dialect that is a table, with at most one function for what only values can tell.

    Attributes:
        name: see `Dialect`.
        table: the keys that it reads.
        recognises: are spans with these keys and this scope of this dialect?
        attribution: see `Dialect`.
        scopes: traits by full scope name; other scopes get `guessed_traits`.
        refine: looks at values after the table was read, and changes the facts in place; None when keys tell all.
    """

    name: str
    table: KeyTable
    recognises: Callable[[Collection[str], str], bool]
    attribution: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: Mapping[str, ScopeTraits] = field(default_factory=dict)
    refine: Refinement | None = None

    @property
    def wanted(self) -> WantedKeys:
        """The attributes of the table and of the attribution."""
        return WantedKeys(self.table.keys() | {key for keys in self.attribution.values() for key in keys})

    def reader(self, keys: Collection[str], scope: str) -> Reader | None:
        """Compile what is present of the table; None when the dialect does not recognise such spans."""
        return _ShapeReader(self.table, keys, self.refine) if self.recognises(keys, scope) else None

    def traits(self, scope: str) -> ScopeTraits:
        """The table's entry of a scope, else what its name lets guess."""
        return self.scopes.get(scope) or guessed_traits(scope)


_Present: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]


class _ShapeReader:
    """Reads spans of one shape: only keys that are present are looked at."""

    __slots__ = ("_costs", "_counts", "_finish", "_flags", "_marked", "_providers", "_refine", "_status", "_texts")

    _COUNTED: ClassVar[tuple[str, ...]] = ("input", "output", "uncached", "cache_read", "cache_write")

    def __init__(self, table: KeyTable, keys: Collection[str], refine: Refinement | None) -> None:
        self._texts = _present(table.texts, keys)
        self._counts = self._convention(table.counts, keys)
        self._providers = _kept(table.providers, keys)
        self._flags = _kept(table.streaming, keys)
        self._marked = bool(_kept(table.stream_marks, keys))
        self._finish = _kept(table.finish, keys)
        self._status = _kept(table.http_status, keys)
        self._costs = _kept(table.costs, keys)
        self._refine = refine

    @classmethod
    def _convention(cls, conventions: tuple[CountTable, ...], keys: Collection[str]) -> _Present:
        for table in conventions:
            present = _present(table, keys)
            if any(name in cls._COUNTED for name, _ in present):
                return present
        return ()

    def __call__(self, span: Span) -> Facts:
        facts = Facts()
        attributes = span.attributes
        values = facts.__dict__
        for name, keys in self._texts:
            for key in keys:
                text = clean_name(attributes[key])
                if text is not None:
                    values[name] = text
                    break
        if self._counts:
            self._read_counts(attributes, facts)
        if self._providers:
            facts.providers = tuple([text for key in self._providers if (text := clean_name(attributes[key])) is not None])
        if self._flags or self._marked:
            facts.streaming = self._streaming(attributes)
        for key in self._finish:
            value = attributes[key]
            if value not in (None, "", (), "None", "[]"):
                facts.finished = True
                facts.finish_reasons = facts.finish_reasons or finish_reasons(value)
        if self._status:
            self._read_status(attributes, facts)
        if self._costs:
            self._read_cost(attributes, facts)
        if self._refine is not None:
            self._refine(span, facts)
        return facts

    def _read_counts(self, attributes: Attributes, facts: Facts) -> None:
        """The first count that is not 0, else 0; a bad total is only a hint lost, any other bad count spoils the usage."""
        for name, keys in self._counts:
            for key in keys:
                value = attributes[key]
                count = value if type(value) is int and 0 <= value < 1_000_000_000 else read_count(value)
                if count == BAD_COUNT:
                    facts.bad = facts.bad or name != "total"
                elif count is not None:
                    facts.counts[name] = count
                    if count:
                        break

    def _streaming(self, attributes: Attributes) -> bool | None:
        for key in self._flags:
            flag = read_flag(attributes[key])
            if flag is not None:
                return flag
        return True if self._marked else None

    def _read_status(self, attributes: Attributes, facts: Facts) -> None:
        for key in self._status:
            status = read_count(attributes[key])
            if status and status > 0:
                facts.http_status = status
                break

    def _read_cost(self, attributes: Attributes, facts: Facts) -> None:
        for key in self._costs:
            facts.state_cost(read_amount(attributes[key]), key)


def _present(table: CountTable, keys: Collection[str]) -> _Present:
    return tuple([(name, kept) for name, listed in table.items() if (kept := _kept(listed, keys))])


def _kept(listed: tuple[str, ...], keys: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([key for key in listed if key in keys]))
