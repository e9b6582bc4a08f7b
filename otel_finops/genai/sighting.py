"""A sighting: what one span says about a call, agent, tool or workflow, in the product's own words.

Several sightings may show one call (a framework's wrapper, the client's span, a gateway's copy). A sighting knows its own
span only; which of them is charged is decided over a set of sightings in `genai.roles`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from otel_finops.genai.usage import Usage

SpanKey: TypeAlias = tuple[str, str]
"""(trace id, span id) as lower-case hex: a span within a realm."""

# Kinds of a sighting: what the span is by itself.
CALL: Final = "call"
AGENT: Final = "agent"
WORKFLOW: Final = "workflow"
TOOL: Final = "tool"
OTHER: Final = "other"

# Ranks of a source: whose numbers are believed first (design 4.3, "best-informed").
RANK_VENDOR_SDK: Final = 0
RANK_CLIENT: Final = 1
RANK_FRAMEWORK: Final = 2
RANK_GATEWAY: Final = 3
RANK_LOG: Final = 4

# Attribution keys; `service` and `environment` come from the resource.
ATTRIBUTION_KEYS: Final = (
    "agent", "step", "tool", "workflow", "user", "session", "tenant", "cost_center", "purpose", "service", "environment", "reservation",
)  # fmt: skip


class GuardrailVerdict(NamedTuple):
    """What a guardrail said, as a span tells.

    Attributes:
        verdict: `flag` or `block`; what was allowed is not told.
        guardrail: its name.
        reason: a word or code.
    """

    verdict: str
    guardrail: str
    reason: str


class SaidOutcome(NamedTuple):
    """How the work that a span stands for came out, as the span tells.

    Attributes:
        success: or failure.
        name: the kind of outcome, e.g. `ticket_resolved`.
    """

    success: bool
    name: str


class Sighting(NamedTuple):
    """One span, normalised. Skeletons (spans that are no GenAI spans) have kind `other`, genai False and no call facts.

    Attributes:
        realm: space of uniqueness and merging, from the sender's credential.
        trace_id, span_id, parent_span_id: lower-case hex; parent None for a root.
        name: the span's name, cut to `limits.NAME_CHARS_MAX`.
        start_ns, end_ns: Unix nanoseconds.
        kind: call, agent, workflow, tool or other.
        genai: the span speaks of GenAI at all; False makes it a skeleton.
        instance: the service instance (design 1, step 6), within which numbers may merge calls across traces.
        scope: full instrumentation scope; twins come from different scopes.
        rank: one of the RANK_ constants.
        dialect: name of the dialect that read the span, None on skeletons.
        links: other ends of its span links.
        operation: `chat`, `embeddings`, ...; None when not said.
        provider: family (`openai`, `azure`, `bedrock`, ...); None when unknown or a framework's name.
        request_model, response_model: as sent, JSON quotes stripped.
        price_models: the names to look up in the price book, best first; empty when no model is known.
        response_id: the provider's answer id; None where absent or made of digits only.
        usage: disjoint counts; for an aggregating agent span its own total.
        input_readings: the whole prompt under each reading of the sender's numbers (inclusive, exclusive); for merging.
        usage_source: `reported`, `estimated` or `missing`.
        usage_rule: name of the rule that read the numbers, e.g. `semconv.inclusive`.
        missing_reason: no_usage, no_usage_stream, no_usage_timeout or bad_usage when usage is missing; else None.
        service_tier: tier served, else asked for; None for the default.
        region: cloud region or residency as sent; region_kind says which (`data_residency`, `vertex_location`,
            `inference_geo`, `bedrock_region`), None when not said.
        speed: Anthropic's fast mode (`fast`), else None.
        streaming: None when not said.
        error_type: the error of a failed span; None otherwise.
        partial: the stream broke off, so the output is not all that was billed.
        reported_pico, reported_source: the cost that the span states and where it stood (`genai.reported`); None when absent or 0. A source
            without an amount: what stood there is no cost (negative, NaN, absurd).
        attribution: what the span itself says, by `ATTRIBUTION_KEYS`, plus step names etc. of its dialect; only known values.
        defaults: what baggage-copied and resource attributes say; weaker than anything in the span's ancestors.
        tags: allow-listed tags.
        dropped_attributes: how many attributes the sender dropped.
        speaks_for: the tenants that the sender's credential covers (`Credential.speaks_for`).
        from_cache: the sender marks the answer as one from its own cache; no provider was asked.
        finish_reasons: why the answers ended, as sent (`stop`, `length`, `tool_calls`), each once; empty where not said.
        guardrail: what a guardrail said about the call that this span is, or about one beside or above it; None: nothing.
        outcome: how the work below this span came out (`genai.outcome_words`); None: it does not say.
    """

    realm: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int
    kind: str
    genai: bool
    instance: str
    scope: str
    rank: int = RANK_CLIENT
    dialect: str | None = None
    links: tuple[SpanKey, ...] = ()
    operation: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    price_models: tuple[str, ...] = ()
    response_id: str | None = None
    usage: Usage = {}  # noqa: RUF012 - a shared empty mapping, never written to
    input_readings: tuple[int, ...] = ()
    usage_source: str = "missing"
    usage_rule: str | None = None
    missing_reason: str | None = None
    service_tier: str | None = None
    region: str | None = None
    region_kind: str | None = None
    speed: str | None = None
    streaming: bool | None = None
    error_type: str | None = None
    partial: bool = False
    reported_pico: int | None = None
    reported_source: str | None = None
    attribution: dict[str, str] = {}  # noqa: RUF012
    defaults: dict[str, str] = {}  # noqa: RUF012
    tags: dict[str, str] = {}  # noqa: RUF012
    dropped_attributes: int = 0
    speaks_for: str = "*"
    from_cache: bool = False
    finish_reasons: tuple[str, ...] = ()
    guardrail: GuardrailVerdict | None = None
    outcome: SaidOutcome | None = None

    @property
    def key(self) -> SpanKey:
        """The span within its realm."""
        return self.trace_id, self.span_id

    @property
    def is_candidate(self) -> bool:
        """A row of the ledger speaks of it: it is a model call by itself, or carries usage."""
        return self.kind == CALL or bool(self.usage)


class Decision(NamedTuple):
    """What stands in the ledger for one candidate span.

    Attributes:
        sighting: the facts to book: for a call the merged facts with the full, inherited attribution; for the others
            their own facts with the attribution where they stand. `defaults` are already folded in.
        role: `call`, `duplicate`, `wrapper` or `gateway_copy`.
        counted_in: the call that is charged instead; None for calls and where it is not known.
        rule: name of the rule that decided, e.g. `merge.response_id`; shown in the tree's notes.
    """

    sighting: Sighting
    role: str
    counted_in: SpanKey | None
    rule: str
