"""How work came out, and what each success cost: failures and retries are paid for by the successes.

A trace's cost is counted once for each kind of outcome. A span that tells an outcome bears the calls below it that lie below no other span
telling the same kind; what of the trace lies below none of them (a router, a first attempt that told nothing) is shared evenly, so that
the shares of a trace add up to the pico.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.limits import OUTCOME_KINDS_OF_TRACE_MAX
from otel_finops.base.money import divide_half_even
from otel_finops.genai.inheritance import resolve
from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.trees.cost_tree import mended_parents

Pair: TypeAlias = tuple[str | None, str | None]
"""Provider and model."""
UNKNOWN: Final[Pair] = (None, None)


class Share(NamedTuple):
    """What of a trace's calls an outcome bears; `pico` is pico-USD, unpriced calls add nothing to it."""

    calls: int = 0
    failed_calls: int = 0
    unpriced_calls: int = 0
    tokens: int = 0
    pico: int = 0


class Said(NamedTuple):
    """An outcome as a span tells it.

    Attributes:
        span_id: of the span, lower-case hex.
        tenant: whose the span is; its share is of that tenant's calls.
        at_ns: the span's end.
        made_by: the only model that its calls went to; unknown for several, or none.
    """

    span_id: str
    tenant: str
    at_ns: int
    name: str
    success: bool
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    made_by: Pair
    share: Share


def said_of(sightings: Sequence[Sighting], standing: Mapping[str, Entry]) -> list[Said]:
    """The outcomes that a trace tells of, in one realm; a pure function, linear in its spans.

    Args:
        sightings: every span as it stands.
        standing: what stands in the ledger, by span id.
    """
    speaking = sorted((one for one in sightings if one.outcome is not None), key=lambda one: (one.start_ns, one.span_id))
    if not speaking:
        return []
    known = resolve(sightings)
    parents = mended_parents(sightings, standing.values())
    kinds: dict[tuple[str, str], list[Sighting]] = {}
    for span in speaking:
        assert span.outcome is not None
        entry = standing.get(span.span_id)
        key = known[span.key]["tenant"] if entry is None else entry.tenant, span.outcome.name
        if key in kinds or len(kinds) < OUTCOME_KINDS_OF_TRACE_MAX:
            kinds.setdefault(key, []).append(span)
    found = []
    for (tenant, _), spans in kinds.items():
        calls = [entry for entry in standing.values() if entry.role == ROLE_CALL and entry.tenant == tenant]
        borne = _borne([span.span_id for span in spans], calls, parents)
        found += [_said(span, tenant, known[span.key], *borne[span.span_id]) for span in spans]
    return sorted(found, key=lambda one: one.span_id)


def _said(span: Sighting, tenant: str, known: Mapping[str, str], share: Share, made_by: Pair) -> Said:
    assert span.outcome is not None
    said = known.get
    return Said(
        span.span_id, tenant, span.end_ns, span.outcome.name, span.outcome.success, said("agent"), said("workflow"), said("service"),
        said("environment"), made_by, share,
    )  # fmt: skip


def _borne(spans: Sequence[str], calls: Iterable[Entry], parents: Mapping[str, str | None]) -> dict[str, tuple[Share, Pair]]:
    """What each of the spans bears, and who made it."""
    nearest = _Nearest(spans, parents)
    own: dict[str, list[Entry]] = {span: [] for span in spans}
    rest: list[Entry] = own[spans[0]] if len(spans) == 1 else []
    for call in calls:
        own.get(nearest.at_or_above(call.span_id) or "", rest).append(call)
    shared = shares(share_of(rest), len(spans)) if len(spans) > 1 else [Share()]
    return {span: (plus(share_of(own[span]), more), made_by(own[span])) for span, more in zip(spans, shared, strict=True)}


class _Nearest:
    """The nearest of some spans at or above a span; every way up is walked once."""

    def __init__(self, spans: Collection[str], parents: Mapping[str, str | None]) -> None:
        self._parents = parents
        self._known: dict[str | None, str | None] = {None: None, **{span: span for span in spans}}

    def at_or_above(self, span_id: str) -> str | None:
        """None when none of them lies above; parents must not go in circles."""
        known, passed = self._known, []
        at: str | None = span_id
        while at not in known:
            passed.append(at)
            at = self._parents.get(at or "")
        found = known[at]
        for one in passed:
            known[one] = found
        return found


def share_of(calls: Iterable[Entry]) -> Share:
    """The sums over standing calls."""
    count = failed = unpriced = tokens = pico = 0
    for call in calls:
        count += 1
        failed += call.error_type is not None
        unpriced += call.cost_pico is None
        tokens += total_tokens(call.usage)
        pico += call.cost_pico or 0
    return Share(count, failed, unpriced, tokens, pico)


def plus(one: Share, other: Share) -> Share:
    """Both."""
    return Share(*(mine + theirs for mine, theirs in zip(one, other, strict=True)))


def shares(whole: Share, parts: int) -> list[Share]:
    """The whole in so many parts that are as even as whole numbers can be, the first ones larger."""
    columns = [[amount // parts + (place < amount % parts) for place in range(parts)] for amount in whole]
    return [Share(*amounts) for amounts in zip(*columns, strict=True)]


def made_by(calls: Iterable[Entry]) -> Pair:
    """The only provider and model of calls."""
    return only({(call.provider, call.response_model or call.request_model) for call in calls})


def only(pairs: Collection[Pair]) -> Pair:
    """The one of them; unknown where there are several."""
    return next(iter(pairs)) if len(pairs) == 1 else UNKNOWN


# --- sums ------------------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """An outcome that counts.

    Attributes:
        trace_id: lower-case hex; span_id: of the span that tells it, None for what somebody said of the whole trace.
        share: None: nothing of the trace is booked (yet), so that nobody knows what it cost.
    """

    tenant: str
    trace_id: str
    span_id: str | None
    name: str
    success: bool
    at_ns: int
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    made_by: Pair
    share: Share | None


class Tally(NamedTuple):
    """Sums over outcomes whose cost is known.

    Attributes:
        attempts: of them, `successes` and failures.
        whole: what all of them cost.
        failed: what the failures among them cost.
    """

    attempts: int = 0
    successes: int = 0
    whole: Share = Share()
    failed: Share = Share()

    def with_one(self, success: bool, share: Share) -> Tally:
        """With an outcome more."""
        failed = self.failed if success else plus(self.failed, share)
        return Tally(self.attempts + 1, self.successes + success, plus(self.whole, share), failed)

    @property
    def per_attempt(self) -> int | None:
        """Pico-USD that an attempt cost on average, half-even; None without any."""
        return divide_half_even(self.whole.pico, self.attempts) if self.attempts else None

    @property
    def per_success(self) -> int | None:
        """Pico-USD that all attempts cost, for each success: what 0.02 a time costs that works every second time is 0.04."""
        return divide_half_even(self.whole.pico, self.successes) if self.successes else None
