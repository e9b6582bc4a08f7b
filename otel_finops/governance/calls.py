"""A model call as what governs spend sees it: asked for, or booked."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from otel_finops.base.protocols import DEFAULT_REALM, DEFAULT_TENANT
from otel_finops.ledger.entry import Entry
from otel_finops.pricing.providers import canonical

DIMENSIONS: Final = (
    "tenant", "user", "cost_center", "provider", "model", "agent", "purpose", "service", "environment", "session", "trace",
)  # fmt: skip
"""By what a scope can select calls, besides `tag:KEY`."""


class GovernedCall(NamedTuple):
    """A call that somebody wants to make, or one that was booked.

    Attributes:
        tenant, realm: whose it is, and in which space its subjects have references.
        provider: the family that bills; None where nobody said.
        model: the response's, else the request's, as sent.
        user, session: references of subjects, never clear ids.
        trace: the trace id, lower-case hex.
        tags: of the allowed keys.
        at_ns: when it starts, nanoseconds.
        pico: what it costs, or its estimate, pico-USD; None where that is unknown.
        tokens: prompt and output; of an estimate at most so many.
    """

    tenant: str = DEFAULT_TENANT
    realm: str = DEFAULT_REALM
    provider: str | None = None
    model: str | None = None
    operation: str | None = None
    user: str | None = None
    session: str | None = None
    agent: str | None = None
    step: str | None = None
    purpose: str | None = None
    cost_center: str | None = None
    service: str | None = None
    environment: str | None = None
    trace: str | None = None
    tags: Mapping[str, str] = {}
    at_ns: int = 0
    pico: int | None = None
    tokens: int = 0

    def said(self, dimension: str) -> str | None:
        """Its value of a dimension; of `tag:KEY` the tag's."""
        return self.tags.get(dimension[4:]) if dimension.startswith("tag:") else getattr(self, dimension)


def call_of_entry(entry: Entry, tokens: int) -> GovernedCall:
    """A booked row as a call; `tokens` are prompt and output (`genai.usage.total_tokens`)."""
    return GovernedCall(
        entry.tenant, entry.realm, entry.provider, entry.response_model or entry.request_model, entry.operation, entry.user,
        entry.session, entry.agent, entry.step, entry.purpose, entry.cost_center, entry.service, entry.environment, entry.trace_id,
        entry.tags, entry.started_ns, entry.cost_pico, tokens,
    )  # fmt: skip


def family(provider: str | None) -> str | None:
    """The provider's family in any spelling; None where none is said."""
    return canonical(provider) if provider else None


def fits(pattern: str, model: str) -> bool:
    """Whether a model is meant by a pattern, in lower case; of the shell's signs only `*` means anything.

    `fnmatch` never takes exponential time.
    """
    return fnmatchcase(model.lower(), pattern.replace("[", "[[]").replace("?", "[?]"))
