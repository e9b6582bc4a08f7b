"""What was spent for nothing within one trace, call by call; pure rules over the calls of one tenant in one trace.

Within a kind no dollar is claimed twice, and no call for more than it cost. The kinds look at the same calls and are not to be added up.
What was said is not kept, so calls are compared by their counts: findings are good reasons to look, not proofs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.times import NS_PER_SECOND
from otel_finops.genai.usage import PROMPT_UNITS, Usage, prompt_tokens
from otel_finops.settings.waste import Waste

Kind: TypeAlias = Literal[
    "runaway_loop", "repeated_calls", "billed_retries", "growing_context", "cache_potential", "oversized_model", "failing_agent"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
GROWTH_CALLS_MIN: Final = 5
"""Fewer prompts say nothing of a course."""
_GROWTH_TOKENS_MIN: Final = 2_000
"""A context that small costs next to nothing, however it grew."""
_RISING_SHARE: Final = 0.8
"""Of the steps from call to call; agents drop a part of their context now and then."""
CACHE_CALLS_MIN: Final = 4
"""So many prompts in a row that, by their sizes, begin as the one before: those of four different texts rise like this once in 24 times."""
_SAME_PROMPT: Final = 0.05
"""A retry's prompt differs by less: some clients add a line that tells of the failure."""


class WasteCall(NamedTuple):
    """A standing call.

    Attributes:
        ended_ns: as it is known, else the start.
        error: None for one that did not fail.
        usage: token counts.
        cost: pico-USD; 0 where it is not known.
        price_key: the row that priced it; None: nothing can be worked out by other counts.
        service_tier, region_kind, region, speed, account: what else its price depends on.
    """

    span_id: str
    started_ns: int
    ended_ns: int
    tenant: str
    service: str | None
    agent: str | None
    step: str | None
    provider: str | None
    model: str | None
    operation: str | None
    error: str | None
    usage: Usage
    cost: int
    price_key: str | None = None
    service_tier: str | None = None
    region_kind: str | None = None
    region: str | None = None
    speed: str | None = None
    account: str | None = None

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return prompt_tokens(self.usage)

    @property
    def lane(self) -> tuple[str | None, ...]:
        """What does one thing after another: an agent, else a step."""
        return (self.service, self.agent) if self.agent is not None else (self.service, None, self.step)


class Claim(NamedTuple):
    """What of a call's cost was for nothing, pico-USD; negative where another way to work costs more at this call to save at others."""

    kind: Kind
    call: WasteCall
    pico: int


Price: TypeAlias = Callable[[WasteCall, Usage, str | None], int | None]
"""What a call would have cost with other counts, and by another model where one is named; None: there is no price."""


def claims_of(calls: Iterable[WasteCall], rules: Waste, price: Price) -> Iterator[Claim]:
    """All claims on the calls of one tenant in one trace, except of models that are oversized (`Oversized`) and of failed runs."""
    ordered = sorted(calls, key=lambda call: (call.started_ns, call.span_id))
    if len(ordered) < 2:
        return
    yield from loops(ordered, rules)
    yield from repetitions(ordered, rules)
    yield from retries(ordered, rules)
    yield from growth(ordered, rules, price)
    yield from uncached(ordered, rules, price)


def loops(calls: Sequence[WasteCall], rules: Waste) -> Iterator[Claim]:
    """Calls of an agent beyond so many that it made one after another; what it did at the same time is no loop."""
    for lane in _lanes(calls, lambda call: call.lane):
        yield from (Claim("runaway_loop", call, call.cost) for call in _in_turn(lane)[rules.loop_calls :] if call.cost > 0)


def repetitions(calls: Sequence[WasteCall], rules: Waste) -> Iterator[Claim]:
    """Calls whose every count, of the prompt and of the answer, and whose model and agent are those of an earlier one that was answered."""
    answered: set[tuple[object, ...]] = set()
    for call in calls:
        if call.error is not None or call.prompt < rules.repeat_tokens:
            continue
        key = call.lane, call.step, call.provider, call.model, call.operation, call.prompt, call.usage.get("output", 0)
        if key in answered and call.cost > 0:
            yield Claim("repeated_calls", call, call.cost)
        answered.add(key)


def retries(calls: Sequence[WasteCall], rules: Waste) -> Iterator[Claim]:
    """Failed calls that were charged for and made once more."""
    within_ns = round(rules.retry_seconds * NS_PER_SECOND)
    for lane in _lanes(calls, lambda call: (call.lane, call.step, call.operation)):
        starts = [call.started_ns for call in lane]
        for at, call in enumerate(lane):
            following = max(at + 1, bisect_left(starts, call.ended_ns))
            if call.error is None or call.cost <= 0 or following >= len(lane):
                continue
            again = lane[following]
            if again.started_ns - call.ended_ns <= within_ns and abs(again.prompt - call.prompt) <= _SAME_PROMPT * again.prompt:
                yield Claim("billed_retries", call, call.cost)


def growth(calls: Sequence[WasteCall], rules: Waste, price: Price) -> Iterator[Claim]:
    """What an agent's prompts cost beyond what its first one had, where they grow from call to call."""
    for lane in _lanes(calls, lambda call: (call.lane, call.provider, call.model)):
        turns = [call for call in _in_turn(lane) if call.prompt]
        if len(turns) < GROWTH_CALLS_MIN or not _grows([call.prompt for call in turns], rules.growth_factor):
            continue
        first = turns[0].prompt
        for call in turns[1:]:
            excess = call.prompt - first
            whole = price(call, {unit: count for unit, count in call.usage.items() if unit in PROMPT_UNITS}, None) if excess > 0 else None
            if whole is not None and (pico := min(call.cost, whole * excess // call.prompt)) > 0:
                yield Claim("growing_context", call, pico)


def _grows(prompts: Sequence[int], factor: float) -> bool:
    rising = sum(later >= earlier for earlier, later in pairwise(prompts))
    high_enough = prompts[-1] >= max(_GROWTH_TOKENS_MIN, factor * prompts[0])
    return high_enough and rising >= _RISING_SHARE * (len(prompts) - 1)


def uncached(calls: Sequence[WasteCall], rules: Waste, price: Price) -> Iterator[Claim]:
    """What calls would have saved that each began as the one before and did not read that from a cache, less what writing costs."""
    for lane in _lanes(calls, lambda call: (call.lane, call.provider, call.model)):
        for row in _rows(lane, rules):
            found = list(_cached(row, price))
            if sum(claim.pico for claim in found) > 0:
                yield from found


def _rows(lane: Sequence[WasteCall], rules: Waste) -> Iterator[Sequence[WasteCall]]:
    """Longest rows of calls that follow each other while a cache holds, each with the prompt of the one before at its beginning."""
    row: list[WasteCall] = []
    for call in lane:
        if row and not _continues(row[-1], call, rules):
            if len(row) >= CACHE_CALLS_MIN:
                yield row
            row = []
        row.append(call)
    if len(row) >= CACHE_CALLS_MIN:
        yield row


def _continues(before: WasteCall, call: WasteCall, rules: Waste) -> bool:
    """Whether, by its size, a prompt is the one before once more, or that with its answer and something new behind."""
    if before.prompt < rules.cache_tokens or not 0 <= call.started_ns - before.ended_ns <= rules.cache_seconds * NS_PER_SECOND:
        return False
    return call.prompt == before.prompt or call.prompt >= before.prompt + max(1, before.usage.get("output", 0))


def _cached(row: Sequence[WasteCall], price: Price) -> Iterator[Claim]:
    """Each call with the prompt before it read from the cache, and what is new written to it for the one behind."""
    known = 0
    for place, call in enumerate(row):
        usage = _with_cache(call.usage, known, writes=place + 1 < len(row))
        actual, otherwise = price(call, call.usage, None), price(call, usage, None)
        known = call.prompt
        if actual is not None and otherwise is not None and call.cost > 0 and actual != otherwise:
            yield Claim("cache_potential", call, min(call.cost, actual - otherwise))


def _with_cache(usage: Usage, known: int, *, writes: bool) -> Usage:
    fresh, read = usage.get("input_uncached", 0), usage.get("cache_read", 0)
    moved = max(0, min(fresh, known - read))
    changed = {**usage, "input_uncached": fresh - moved, "cache_read": read + moved}
    if writes:
        changed["cache_write_5m"] = changed.get("cache_write_5m", 0) + changed["input_uncached"]
        changed["input_uncached"] = 0
    return {unit: count for unit, count in changed.items() if count}


def is_short(call: WasteCall, rules: Waste) -> bool:
    """Whether a small model would most likely have done: an answer of few tokens to a prompt of not many."""
    return call.error is None and 0 < call.usage.get("output", 0) <= rules.short_output and call.prompt <= rules.short_prompt


def _lanes(calls: Iterable[WasteCall], key: Callable[[WasteCall], object]) -> Iterator[list[WasteCall]]:
    lanes: dict[object, list[WasteCall]] = {}
    for call in calls:
        lanes.setdefault(key(call), []).append(call)
    return iter(lanes.values())


def _in_turn(lane: Iterable[WasteCall]) -> list[WasteCall]:
    """Calls of which each began when the one before had ended; of those at the same time the first."""
    turns: list[WasteCall] = []
    for call in lane:
        if not turns or call.started_ns >= turns[-1].ended_ns:
            turns.append(call)
    return turns
