"""What recorded calls would have cost otherwise: by another model or provider, in another tier, or with another share of cached tokens.

Every call is priced anew, by the engine and for its own counts, so that long prompts, rounding and dated prices count as they do for a
live call. Prices alone are exchanged: that another model counts the same text in other tokens, or answers at another length, nobody can
read from the ledger; a factor stands in for it, and the answer tells at which factor nothing is saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.limits import WHATIF_GROUPS_MAX
from otel_finops.base.money import divide_half_even
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, PROMPT_UNITS, WRITE_UNITS
from otel_finops.insight.traffic import Piece
from otel_finops.ledger.spend_entries import PricedBy
from otel_finops.pricing.bulk import Batch, BulkPricer
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.match import Match
from otel_finops.pricing.names import clean
from otel_finops.pricing.providers import canonical, own_names
from otel_finops.pricing.quote import COVERED, PriceableCall
from otel_finops.pricing.rates import BATCH, STANDARD, Sheet, tier_of

STANDARD_TIER: Final = "standard"
Reason: TypeAlias = Literal["covered", "unpriced", "other_mode", "no_price"]
"""Why a call is not compared: a flat fee pays for it; what stands has no price; the other model does something else; it cannot price it."""

_TEXT: Final = frozenset({"", "chat", "responses", "completion"})
_SCALED: Final = (*PROMPT_UNITS, "output")
_PARTS: Final = (*INPUT_PARTS, *OUTPUT_PARTS)
Columns: TypeAlias = Mapping[str, Sequence[int]]
Pair: TypeAlias = tuple[str | None, str | None]
"""Provider and model."""


class Change(NamedTuple):
    """How calls are made otherwise; what is None stays as recorded.

    Attributes:
        provider, model: by whom and what; a model without a provider is each call's own provider's, where that has it.
        service_tier: e.g. batch or flex; `standard` for none.
        cache_hit_rate: share of each prompt that is read from a cache, 0 to 1.
        token_factor: how many tokens the other model needs for one of the recorded.
        at_ns: prices of this moment instead of each call's own.
    """

    provider: str | None = None
    model: str | None = None
    service_tier: str | None = None
    cache_hit_rate: Fraction | None = None
    token_factor: Fraction = Fraction(1)
    at_ns: int | None = None


class Target(NamedTuple):
    """A row of the price book by which calls were priced.

    Attributes:
        key: of the row.
        tier: the service tier that was asked for, None for the standard one.
        has_tier: the row has prices of its own for that tier.
        has_cache: it has a price of its own for what is read from a cache.
    """

    key: str
    tier: str | None
    has_tier: bool
    has_cache: bool


class Sums(NamedTuple):
    """Compared calls of one recorded model, pico-USD.

    Attributes:
        booked: what stands.
        listed: the same calls by the price book, what stands where it has no price for them.
        projected: what they would have cost, by change.
    """

    calls: int
    booked: int
    listed: int
    projected: tuple[int, ...]

    def plus(self, other: Sums) -> Sums:
        """Both."""
        projected = tuple(mine + theirs for mine, theirs in zip(self.projected, other.projected, strict=True))
        return Sums(self.calls + other.calls, self.booked + other.booked, self.listed + other.listed, projected)


class Mix(NamedTuple):
    """Tokens of the compared calls as they were recorded."""

    prompt: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    def plus(self, other: Mix) -> Mix:
        """Both."""
        return Mix(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Compared(NamedTuple):
    """What came of a comparison.

    Attributes:
        groups: by provider and model as recorded; both None for what is not told apart any more.
        left_out: calls that are not compared, by the reason; `other_mode`, `no_price`: it holds for one change at least.
        unable: of the changes, for how many calls one of these two reasons holds.
        targets: of the changes, by what they priced, with how many calls.
        mix: of all compared calls.
    """

    groups: Mapping[Pair, Sums]
    left_out: Mapping[Reason, int]
    unable: Sequence[int]
    targets: Sequence[Mapping[Target, int]]
    mix: Mix

    @property
    def total(self) -> Sums:
        """Over all groups."""
        total = Sums(0, 0, 0, (0,) * len(self.unable))
        for sums in self.groups.values():
            total = total.plus(sums)
        return total


class Comparison:
    """Prices the same calls by some changes and adds up; a call counts when each change has a price for it, or it counts for none.

    Args:
        engine: the prices.
        changes: what is compared.
    """

    def __init__(self, engine: PriceEngine, changes: Sequence[Change]) -> None:
        self._engine = engine
        self._changes = tuple(changes)
        self._groups: dict[Pair, Sums] = {}
        self._left_out: Counter[Reason] = Counter()
        self._unable = [0] * len(changes)
        self._targets: list[Counter[Target]] = [Counter() for _ in changes]
        self._mix = Mix()

    def take(self, piece: Piece) -> None:
        """Compare some calls more."""
        listed = _priced(self._engine, [recorded(facts) for facts in piece.kinds], piece, piece.usage, None)
        projected = [
            _priced(self._engine, [self._otherwise(facts, change) for facts in piece.kinds], piece, changed(piece.usage, change), change)
            for change in self._changes
        ]
        rows = self._compared(piece, projected)
        self._add(piece, rows, listed, projected)
        self._count_targets(piece, rows)
        self._mix = self._mix.plus(_mix(piece.usage, rows))

    def result(self) -> Compared:
        """All that was taken."""
        return Compared(self._groups, self._left_out, self._unable, self._targets, self._mix)

    def _otherwise(self, facts: PricedBy, change: Change) -> PriceableCall:
        return otherwise(self._engine, facts, change)

    def _compared(self, piece: Piece, projected: Sequence[list[int | None]]) -> list[int]:
        """The numbers of the rows that every change can price; the others are counted by why not."""
        others = [self._others(facts, piece.at_ns[0]) for facts in piece.kinds]
        is_covered = [facts.cost_method == COVERED for facts in piece.kinds]
        rows = []
        for row, (kind, cost) in enumerate(zip(piece.kind, piece.cost_pico, strict=True)):
            if is_covered[kind] or cost is None:
                self._left_out["covered" if is_covered[kind] else "unpriced"] += 1
                continue
            unable = [number for number, costs in enumerate(projected) if costs[row] is None or number in others[kind]]
            for number in unable:
                self._unable[number] += 1
            if unable:
                self._left_out["no_price" if others[kind].isdisjoint(unable) else "other_mode"] += 1
            else:
                rows.append(row)
        return rows

    def _others(self, facts: PricedBy, at_ns: int) -> frozenset[int]:
        """The changes by which a kind of calls would be made by something that does another thing."""
        match, _ = self._engine.terms(recorded(facts)._replace(at_ns=at_ns))
        found = (self._engine.terms(self._otherwise(facts, change)._replace(at_ns=at_ns))[0] for change in self._changes)
        return frozenset(
            number for number, other in enumerate(found) if other is not None and match is not None and _does(other) != _does(match)
        )

    def _add(self, piece: Piece, rows: Sequence[int], listed: Sequence[int | None], projected: Sequence[Sequence[int | None]]) -> None:
        by_kind: dict[int, list[int]] = {}
        for row in rows:
            by_kind.setdefault(piece.kind[row], []).append(row)
        for kind, own in by_kind.items():
            booked = [piece.cost_pico[row] or 0 for row in own]
            by_book = [stands if (price := listed[row]) is None else price for row, stands in zip(own, booked, strict=True)]
            otherwise_ = tuple(sum(costs[row] or 0 for row in own) for costs in projected)
            sums = Sums(len(own), sum(booked), sum(by_book), otherwise_)
            key = self._group_of(piece.kinds[kind])
            held = self._groups.get(key)
            self._groups[key] = sums if held is None else held.plus(sums)

    def _group_of(self, facts: PricedBy) -> Pair:
        key = facts.provider, facts.model
        return key if key in self._groups or len(self._groups) < WHATIF_GROUPS_MAX else (None, None)

    def _count_targets(self, piece: Piece, rows: Sequence[int]) -> None:
        of_kind = Counter(piece.kind[row] for row in rows)
        for change, targets in zip(self._changes, self._targets, strict=True):
            for kind, calls in of_kind.items():
                found = target_of(self._engine, self._otherwise(piece.kinds[kind], change)._replace(at_ns=piece.at_ns[0]))
                if found is not None:
                    targets[found] += calls


def recorded(facts: PricedBy) -> PriceableCall:
    """Calls of a kind as they were made."""
    names = dict.fromkeys(name for name in (facts.response_model, facts.request_model) if name)
    return PriceableCall(
        facts.provider, tuple(names), {}, 0, facts.usage_source, facts.unpriced_reason, facts.error_type, facts.service_tier,
        facts.region_kind, facts.region, facts.speed, account=facts.account,
    )  # fmt: skip


def otherwise(engine: PriceEngine, facts: PricedBy, change: Change) -> PriceableCall:
    """Calls of a kind as the change has them; where they were served says nothing of another provider's prices."""
    call = recorded(facts)
    if change.service_tier is not None:
        call = call._replace(service_tier=None if change.service_tier == STANDARD_TIER else change.service_tier)
    provider = change.provider
    if provider is None and change.model is not None:
        has_it = facts.provider is not None and engine.resolve(facts.provider, change.model, change.at_ns) is not None
        provider = facts.provider if has_it else None
    elif provider is None:
        return call
    models = call.models if change.model is None else (change.model,)
    if provider is not None and facts.provider is not None and canonical(provider) == canonical(facts.provider):
        return call._replace(models=models)
    return call._replace(provider=provider, models=models, region=None, region_kind=None, speed=None)


def has_price(engine: PriceEngine, provider: str | None, model: str, at_ns: int | None = None) -> bool:
    """Whether the price book has the model; without a provider, whether anybody's row is called so."""
    if engine.resolve(provider, model, at_ns) is not None:
        return True
    return provider is None and any(clean(model) in own_names(row.family, row.key.lower()) for row in engine.book.rows())


def target_of(engine: PriceEngine, call: PriceableCall) -> Target | None:
    """What prices a call; None where nothing does."""
    match, sheet = engine.terms(call)
    if match is None or sheet is None:
        return None
    tier = tier_of(call.service_tier)
    asked = call.service_tier if tier != STANDARD else None
    return Target(match.key, asked, tier == STANDARD or _has_tier(match, tier), _has_cache(sheet))


def _has_tier(match: Match, tier: str) -> bool:
    """Whether the row prices the tier; a batch without a price of its own is billed at half."""
    return any(name.endswith(tier) for name in match.row.fields) and (tier != BATCH or f"input_cost_per_token{BATCH}" in match.row.fields)


def _has_cache(sheet: Sheet) -> bool:
    rate = dict(sheet.first.wholes).get("cache_read")
    return rate is not None and rate.own


def _does(match: Match) -> str:
    return "text" if match.row.mode in _TEXT else match.row.mode


# --- other counts ----------------------------------------------------------------------------------------------------


def changed(usage: Columns, change: Change) -> Columns:
    """The counts as the change has them."""
    if change.cache_hit_rate is not None:
        usage = with_hit_rate(usage, change.cache_hit_rate)
    return usage if change.token_factor == 1 else scaled(usage, change.token_factor)


def scaled(usage: Columns, factor: Fraction) -> Columns:
    """So many times the tokens: wholes rounded half-even, their parts down, so that parts never exceed their whole."""
    numerator, denominator = factor.numerator, factor.denominator
    found: dict[str, Sequence[int]] = {}
    for unit, counts in usage.items():
        if unit in _SCALED:
            found[unit] = [divide_half_even(count * numerator, denominator) for count in counts]
        elif unit in _PARTS:
            found[unit] = [count * numerator // denominator for count in counts]
        else:
            found[unit] = counts
    return found


def with_hit_rate(usage: Columns, rate: Fraction) -> Columns:
    """The same prompts with this share of each read from a cache (rounded half-even); what is left is written to the cache and sent anew
    in the proportion in which it was, writes rounded down.
    """
    rows = max(map(len, usage.values()), default=0)
    if not rows:  # calls without any counts have no columns
        return usage
    none: Sequence[int] = (0,) * rows
    recorded_ = [usage.get(unit, none) for unit in PROMPT_UNITS]
    columns = zip(*(_split(counts, rate) for counts in zip(*recorded_, strict=True)), strict=True)
    return {**usage, **{unit: list(column) for unit, column in zip(PROMPT_UNITS, columns, strict=True)}}


def _split(counts: tuple[int, ...], rate: Fraction) -> tuple[int, ...]:
    prompt = sum(counts)
    uncached, _, *writes = counts
    read = divide_half_even(prompt * rate.numerator, rate.denominator)
    rest, anew = prompt - read, uncached + sum(writes)
    written = [rest * count // anew for count in writes] if anew else [0] * len(writes)
    return rest - sum(written), read, *written


# --- columns -----------------------------------------------------------------------------------------------------------


def _priced(engine: PriceEngine, kinds: Sequence[PriceableCall], piece: Piece, usage: Columns, change: Change | None) -> list[int | None]:
    """What every row costs by the kinds' prices; None for no price."""
    at_ns = piece.at_ns if change is None or change.at_ns is None else [change.at_ns] * len(piece.at_ns)
    pricer = BulkPricer(engine, kinds, min(at_ns), max(at_ns) + 1)
    priced = pricer.price(Batch(piece.kind, at_ns, usage))
    known = zip(_plain(priced.cost_pico), _plain(priced.priced), strict=True)
    return [cost if is_priced else None for cost, is_priced in known]


def _plain(column: Any) -> Sequence[int]:
    """A column as Python's own numbers."""
    return column if isinstance(column, list) else column.tolist()


def _mix(usage: Columns, rows: Sequence[int]) -> Mix:
    def total(units: Iterable[str]) -> int:
        return sum(sum(column[row] for row in rows) for unit in units if (column := usage.get(unit)) is not None)

    return Mix(total(PROMPT_UNITS), total(("cache_read",)), total(WRITE_UNITS), total(("output",)), total(("reasoning",)))
