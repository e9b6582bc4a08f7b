"""What to do about calls that have no price or an unsure one, in words that an application's owner can act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_finops.genai.outcome import BAD_USAGE, NO_USAGE, NO_USAGE_STREAM, NO_USAGE_TIMEOUT
from otel_finops.genai.sighting import RANK_FRAMEWORK

if TYPE_CHECKING:
    from otel_finops.ledger.coverage import Covered, Lack

ADVICE: Final = {
    "attribute_limit": "The sender dropped attributes of these spans, the token counts most likely among them: raise its "
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT (many SDKs keep 128), or switch the recording of messages off.",
    "stream_usage": "These streams came without token counts: have the provider send them. With OpenAI and compatible services set "
    'stream_options={"include_usage": true}; then make sure that the stream is read to its end.',
    "client_instrumentation": "This framework's instrumentation tells no token counts: turn on the instrumentation of the client library "
    "that it calls (openai, anthropic, ...) beside it. The two sightings of a call are charged once.",
    "no_calls": "Agents ran in these traces, which show no model call. Unless their calls are in traces of their own, nothing is charged "
    "for them: turn on the instrumentation of the client library that the agents call (openai, anthropic, ...) beside theirs.",
    "agent_totals": "In these traces an agent or workflow reports more tokens than the calls have that are known there. A total is charged "
    "only where no call at all is known, and the embedding of a tool is one: calls that no span shows may be missing. Turn on the "
    "instrumentation of the client library that makes them (openai, anthropic, ...) beside it. Some frameworks count calls twice.",
    "no_counts": "This instrumentation tells no token counts for such calls: update it, switch on its recording of usage, or turn on "
    "another one beside it; the two sightings of a call are charged once. If these are streams, have the provider send counts (with OpenAI "
    'and compatible services stream_options={"include_usage": true}).',
    "timeouts": "The client gave up before the answer was complete, and the provider may bill it all the same: raise the client's timeout, "
    "or stream the answer.",
    "bad_counts": "These counts cannot be right (negative, fractional or absurdly large): update the instrumentation.",
    "map_model": "The price list has no such model. A deployment, an alias or a profile's ARN has to be mapped to the model behind it: "
    "otel-finops pricing unpriced prints the command that does it and reprices the calls; a new model needs a newer price list "
    "(prices refresh) or a price of your own (pricing override).",
    "name_model": "These spans name no model: update the instrumentation, or turn on that of the client library beside it.",
    "name_provider": "These spans name no provider, and several sell a model of this name: set gen_ai.provider.name.",
    "add_rate": "The price list has no rate for a unit that was used: otel-finops pricing explain says which; give it one with "
    "otel-finops pricing override MODEL UNIT=PRICE --why WHY --reprice.",
    "estimates": "The instrumentation guesses these counts: have the provider send them (with OpenAI and compatible services "
    'stream_options={"include_usage": true}), and update the instrumentation.',
    "incomplete": "The cost may be too low: the stream broke off before its counts were complete (read streams to their end), or a unit "
    "has no rate of its own (the notes in the trace say which it is).",
}
"""Advice by cause."""

_WITHOUT_COUNTS: Final = frozenset({NO_USAGE, NO_USAGE_STREAM})
_MAY_BE_DROPPED: Final = _WITHOUT_COUNTS | {"no_model", "no_provider"}
_CAUSES: Final = {
    NO_USAGE_STREAM: "stream_usage",
    NO_USAGE_TIMEOUT: "timeouts",
    BAD_USAGE: "bad_counts",
    "unknown_model": "map_model",
    "no_model": "name_model",
    "no_provider": "name_provider",
    "missing_rate": "add_rate",
}


class Advised(NamedTuple):
    """Advice, for how many calls (of `no_calls` and `agent_totals`: traces), and the models with most of them."""

    cause: str
    calls: int
    models: tuple[str, ...]


def advice_on(covered: Covered, models_max: int) -> list[Advised]:
    """What to do about a group's calls, the cause with most calls first."""
    calls: Counter[str] = Counter()
    models: dict[str, Counter[str]] = {}
    for cause, lack in _causes(covered):
        calls[cause] += covered.unpriced[lack]
        models.setdefault(cause, Counter()).update(covered.models.get(lack, {}))
    calls["no_calls"] += covered.silent
    calls["agent_totals"] += covered.beyond
    calls["estimates"] += covered.estimated
    calls["incomplete"] += covered.partial
    ordered = sorted((cause for cause in calls if calls[cause]), key=lambda cause: (-calls[cause], cause))
    return [Advised(cause, calls[cause], _named(models.get(cause, Counter()), models_max)) for cause in ordered]


def _causes(covered: Covered) -> Iterator[tuple[str, Lack]]:
    for lack in covered.unpriced:
        yield _cause(lack), lack


def _cause(lack: Lack) -> str:
    """Lost attributes explain missing counts, and a framework cannot know what its client does not tell it."""
    if lack.attributes_dropped and lack.reason in _MAY_BE_DROPPED:
        return "attribute_limit"
    if lack.reason == NO_USAGE:
        return "client_instrumentation" if lack.rank == RANK_FRAMEWORK else "no_counts"
    return _CAUSES.get(lack.reason, "no_counts")


def _named(models: Counter[str], at_most: int) -> tuple[str, ...]:
    return tuple(sorted(models, key=lambda model: (-models[model], model))[:at_most])
