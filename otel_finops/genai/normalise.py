"""From a span to a sighting: the third stage of every span's way.

All searching is done once for each *shape* of span, its scope and the set of its keys: which dialect reads it, which of the dialect's
keys are present, which attribution keys are. Real services send a few dozen shapes; the memo is bounded and emptied when it is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_finops.base.limits import NAME_CHARS_MAX, SHAPES_MAX, UNITS_PER_CALL_MAX
from otel_finops.base.protocols import Credential
from otel_finops.base.span import Attributes, Span, WantedKeys
from otel_finops.genai.attribution_keys import BAGGAGE_PREFIX, AttributionSettings
from otel_finops.genai.dialect import Dialect, Facts, Reader, ScopeTraits
from otel_finops.genai.guardrail_verdicts import KEYS as VERDICT_KEYS
from otel_finops.genai.guardrail_verdicts import Reader as VerdictReader
from otel_finops.genai.guardrail_verdicts import verdict_reader
from otel_finops.genai.instance import INSTANCE_KEYS, service_instance
from otel_finops.genai.kinds import kind_of
from otel_finops.genai.outcome import error_of, is_partial, missing_reason
from otel_finops.genai.outcome_words import Reader as OutcomeReader
from otel_finops.genai.outcome_words import keys_of, outcome_reader
from otel_finops.genai.providers import price_models, provider_family, region_at
from otel_finops.genai.sighting import AGENT, CALL, OTHER, Sighting, SpanKey
from otel_finops.genai.texts import clean_name
from otel_finops.genai.usage import Usage
from otel_finops.genai.usage_reading import Reading, read_usage
from otel_finops.settings.outcomes import Outcomes

_LIST_PRICE_TIERS: Final = frozenset({"default", "standard", "auto", "standard_only", "on_demand", "on-demand", "ondemand"})
_AGENT_NAMES: Final = ("invoke_agent ", "agent_run [")
_NOTHING_USED: Final = Reading({}, (), "inclusive")

_PresentKeys = tuple[tuple[str, tuple[str, ...]], ...]


class _Shape(NamedTuple):
    """What is known of all spans with one scope and one set of keys."""

    reader: Reader | None
    dialect: str | None
    traits: ScopeTraits
    attribution: _PresentKeys
    baggage: _PresentKeys
    tags: _PresentKeys
    has_tool: bool
    verdict: VerdictReader | None
    outcome: OutcomeReader | None


class _Home(NamedTuple):
    """What a resource says about all its spans, for one credential."""

    resource: Attributes
    credential: Credential
    instance: str
    defaults: dict[str, str]
    tags: dict[str, str]
    speaks_for: str


class Normaliser:
    """Turns spans into sightings. Safe to share between threads.

    Args:
        dialects: in the order in which they are asked (see `dialect_loading.load_dialects`).
        attribution: which attributes say who a cost belongs to, and which are kept as tags.
        outcomes: which attributes say how work came out.

    Attributes:
        wanted: every attribute, of spans and resources, that the decoder must read.
    """

    def __init__(
        self, dialects: tuple[Dialect, ...], attribution: AttributionSettings | None = None, outcomes: Outcomes | None = None
    ) -> None:
        settings = attribution or AttributionSettings()
        self._outcomes = outcomes or Outcomes()
        self._dialects = dialects
        self._defaults = settings.defaults
        self._span_keys = settings.span_keys([dialect.attribution for dialect in dialects])
        self._baggage_keys = {name: tuple(BAGGAGE_PREFIX + key for key in keys) for name, keys in self._span_keys.items()}
        self._resource_keys = settings.resource_keys(self._span_keys)
        self._tag_keys = {key: (key,) for key in settings.tag_keys()}
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._home: _Home | None = None
        self.wanted = self._all_wanted()

    def _all_wanted(self) -> WantedKeys:
        tables = (self._span_keys, self._baggage_keys, self._resource_keys, self._tag_keys)
        exact = {key for table in tables for keys in table.values() for key in keys} | set(INSTANCE_KEYS)
        exact |= VERDICT_KEYS | keys_of(self._outcomes)
        exact.update(key for dialect in self._dialects for key in dialect.wanted.exact)
        prefixes = {prefix for dialect in self._dialects for prefix in dialect.wanted.prefixes}
        return WantedKeys(frozenset(exact), tuple(sorted(prefixes)))

    def __call__(self, span: Span, credential: Credential) -> Sighting:
        """Normalise one span: a full sighting when a dialect recognises it, else a skeleton (ids, names, times, attribution, links)."""
        signature = (span.scope[:NAME_CHARS_MAX], *span.attributes)
        shape = self._shapes.get(signature) or self._learn(signature, span)
        home = self._home
        if home is None or home.resource is not span.resource or home.credential is not credential:
            home = self._visit(span.resource, credential)
        if shape.reader is None:
            return self._skeleton(span, shape, home)
        return self._full(span, shape, home, shape.reader(span))

    def _learn(self, signature: tuple[str, ...], span: Span) -> _Shape:
        keys = span.attributes.keys()
        reader, name, traits = None, None, ScopeTraits()
        for dialect in self._dialects:
            reader = dialect.reader(keys, span.scope)
            if reader is not None:
                name, traits = dialect.name, dialect.traits(span.scope)
                break
        shape = _Shape(
            reader, name, traits, _present(self._span_keys, keys), _present(self._baggage_keys, keys), _present(self._tag_keys, keys),
            any(key in keys for key in self._span_keys.get("tool", ())), verdict_reader(keys),
            outcome_reader(self._outcomes, keys),
        )  # fmt: skip
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        self._shapes[signature] = shape
        return shape

    def _visit(self, resource: Attributes, credential: Credential) -> _Home:
        """Read a resource; the spans of a batch share one mapping, so remembering the last is enough."""
        defaults = {**self._defaults, **_said(_present(self._resource_keys, resource), resource)}
        defaults["tenant"] = credential.tenant_for(defaults.get("tenant"))
        tags = _said(_present(self._tag_keys, resource), resource)
        home = _Home(resource, credential, service_instance(credential.realm, resource), defaults, tags, credential.speaks_for)
        self._home = home
        return home

    def _skeleton(self, span: Span, shape: _Shape, home: _Home) -> Sighting:
        parent = span.parent_span_id
        return Sighting(
            home.credential.realm,
            span.trace_id.hex(),
            span.span_id.hex(),
            parent.hex() if parent is not None else None,
            span.name if len(span.name) <= NAME_CHARS_MAX else clean_name(span.name) or "",
            span.start_ns,
            span.end_ns,
            OTHER,
            False,
            home.instance,
            span.scope if len(span.scope) <= NAME_CHARS_MAX else clean_name(span.scope) or "",
            shape.traits.rank,
            links=_links(span) if span.links else (),
            attribution=_attribution(span, shape, home.credential),
            defaults=_defaults(span, shape, home) if shape.baggage else home.defaults,
            tags={**home.tags, **_said(shape.tags, span.attributes)} if shape.tags else home.tags,
            dropped_attributes=span.dropped_attributes,
            speaks_for=home.speaks_for,
            guardrail=None if shape.verdict is None else shape.verdict(span.attributes),
            outcome=None if shape.outcome is None else shape.outcome(span.attributes),
        )

    def _full(self, span: Span, shape: _Shape, home: _Home, facts: Facts) -> Sighting:
        traits = shape.traits
        provider = provider_family(facts.providers, facts.host)
        reading = _read_counts(facts, traits, provider)
        usage = reading.usage
        kind = facts.kind or kind_of(
            facts.operation, span.kind, bool(usage) or facts.bad, (facts.request_model or facts.response_model) is not None, shape.has_tool
        )
        error = error_of(facts.error_type, span.exception_type, span.is_error, facts.http_status)
        region, region_kind = _region(facts, provider)
        attribution = _attribution(span, shape, home.credential)
        _refine_attribution(attribution, facts, span, kind, home.credential)
        answer_id = facts.response_id
        if answer_id is not None and answer_id.isdigit():
            answer_id = None
        parent = span.parent_span_id
        return Sighting(
            home.credential.realm,
            span.trace_id.hex(),
            span.span_id.hex(),
            parent.hex() if parent is not None else None,
            span.name if len(span.name) <= NAME_CHARS_MAX else clean_name(span.name) or "",
            max(0, span.start_ns - facts.lead_ns),
            span.end_ns,
            kind,
            True,
            home.instance,
            span.scope if len(span.scope) <= NAME_CHARS_MAX else clean_name(span.scope) or "",
            traits.rank,
            shape.dialect,
            _links(span) if span.links else (),
            facts.operation,
            provider,
            facts.request_model,
            facts.response_model,
            price_models(provider, facts.request_model, facts.response_model),
            answer_id,
            usage,
            reading.readings,
            _usage_source(facts, traits, usage),
            f"{shape.dialect}.{reading.rule}" if usage else None,
            None if usage or kind != CALL else missing_reason(error, facts.http_status, facts.streaming, answer_id is not None, facts.bad),
            _tier(facts),
            region,
            region_kind,
            facts.speed,
            facts.streaming,
            error,
            bool(usage) and kind == CALL and is_partial(facts.streaming, usage.get("output", 0), error is not None, facts.finished),
            facts.reported_pico,
            facts.reported_source,
            attribution,
            _defaults(span, shape, home) if shape.baggage else home.defaults,
            {**home.tags, **_said(shape.tags, span.attributes)} if shape.tags else home.tags,
            span.dropped_attributes,
            home.speaks_for,
            facts.from_cache,
            facts.finish_reasons,
            None if shape.verdict is None else shape.verdict(span.attributes),
            None if shape.outcome is None else shape.outcome(span.attributes),
        )


def _present(table: Mapping[str, tuple[str, ...]], keys: object) -> _PresentKeys:
    """The part of a key table of which anything is there; `keys` is any container of attribute keys."""
    found = []
    for name, listed in table.items():
        kept = tuple([key for key in listed if key in keys])  # type: ignore[operator]
        if kept:
            found.append((name, kept))
    return tuple(found)


def _said(present: _PresentKeys, attributes: Attributes) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, keys in present:
        for key in keys:
            value = clean_name(attributes[key])
            if value is not None:
                said[name] = value
                break
    return said


def _attribution(span: Span, shape: _Shape, credential: Credential) -> dict[str, str]:
    """What the span says of itself; a tenant only where the credential lets it name one."""
    said = _said(shape.attribution, span.attributes)
    if "tenant" in said:
        said["tenant"] = credential.tenant_for(said["tenant"])
    return said


def _refine_attribution(said: dict[str, str], facts: Facts, span: Span, kind: str, credential: Credential) -> None:
    """Take out what the dialect does not believe, add what it made of values, and read agents' names off span names."""
    for name in facts.distrusted:
        said.pop(name, None)
    for name, value in facts.attribution.items():
        if value is not None:
            said.setdefault(name, credential.tenant_for(value) if name == "tenant" else value)
    if kind == AGENT and "agent" not in said and span.name.startswith(_AGENT_NAMES):
        named = clean_name(span.name.partition(" ")[2].strip("[] "))
        if named is not None:
            said["agent"] = named


def _defaults(span: Span, shape: _Shape, home: _Home) -> dict[str, str]:
    """Baggage over the resource."""
    carried = _said(shape.baggage, span.attributes)
    if "tenant" in carried:
        carried["tenant"] = home.credential.tenant_for(carried["tenant"])
    return {**home.defaults, **carried}


def _links(span: Span) -> tuple[SpanKey, ...]:
    return tuple([(link.trace_id.hex(), link.span_id.hex()) for link in span.links])


def _read_counts(facts: Facts, traits: ScopeTraits, provider: str | None) -> Reading:
    if facts.bad or not facts.counts:
        return _NOTHING_USED
    model = facts.response_model or facts.request_model or ""
    reading = read_usage(
        facts.counts,
        exclusive=traits.excludes_cache(provider) if facts.exclusive is None else facts.exclusive,
        reasoning_outside=traits.reasoning_outside if facts.reasoning_outside is None else facts.reasoning_outside,
        thinks_beside=provider == "gemini" or "gemini" in model,
    )
    if reading.usage and max(reading.usage.values()) > UNITS_PER_CALL_MAX:
        facts.bad = True
        return _NOTHING_USED
    return reading


def _usage_source(facts: Facts, traits: ScopeTraits, usage: Usage) -> str:
    if not usage:
        return "missing"
    return "estimated" if facts.estimated or (traits.estimates_streams and facts.streaming) else "reported"


def _tier(facts: Facts) -> str | None:
    """The tier served, else the one asked for; None for the list price."""
    tier = facts.tier_served or facts.tier_asked
    if tier is None:
        return None
    tier = tier.lower()
    return None if tier in _LIST_PRICE_TIERS else tier


def _region(facts: Facts, provider: str | None) -> tuple[str | None, str | None]:
    """Where the model runs: what the dialect knows, a Bedrock profile's ARN or the client's region there, else what the host tells."""
    if facts.region_kind is not None:
        return facts.region, facts.region_kind
    if provider == "bedrock":
        model = facts.request_model or ""
        region = (model.split(":")[3] or facts.region) if model.startswith("arn:") and model.count(":") >= 4 else facts.region
        if region:
            return region, "bedrock_region"
    return (region_at(facts.host) or (None, None)) if facts.host is not None else (None, None)
