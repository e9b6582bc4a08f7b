"""Makes `docs/instrumentations.md` from recorded spans: `python tests/rigs/instrumentations_page.py CORPUS docs/instrumentations.md`.

A row for each recorded case: the libraries, what they do not tell (from the recording's own truth), and what our rules make of it. A test
fails while a row is stale.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "genai"))

from genai_corpus import Case, cases, shows

from otel_finops.base.money import parse_usd
from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.pricing.engine import PriceEngine

LOST: Final = {
    "cache_read": "cached tokens",
    "cache_write": "cache writes",
    "cache_write_ttl": "how long cache writes live",
    "reasoning": "reasoning tokens",
    "service_tier": "service tier",
    "response_model": "response model",
    "request_model": "request model",
    "streaming_flag": "that it streamed",
    "audio_in": "audio in",
    "audio_out": "audio out",
    "image_in": "images in",
}
"""Facts that spans may lack, in words."""
TOUCHES_PRICE: Final = frozenset(LOST) - {"streaming_flag"}


class Result(NamedTuple):
    """What our rules make of a case.

    Attributes:
        billed: calls that the provider bills. visible: of those the ones whose counts the spans have.
        right: visible calls that stand once with the right counts and, where the price is known and the spans tell what it depends on, the
            right dollars.
        extra: calls charged beside them. agents: calls under the right agent, and calls whose agent is known.
        unpriced: standing calls without a price, by reason.
    """

    billed: int
    visible: int
    right: int
    extra: int
    agents: tuple[int, int]
    unpriced: Counter[str]


@lru_cache(maxsize=1)
def prices() -> PriceEngine:
    return PriceEngine.load()


def result(case: Case) -> Result:
    """Decide and price a case's spans, and hold them against its truth."""
    standing = [decision.sighting for decision in decide(case.sightings()) if decision.role == "call"]
    unpriced = Counter(reason for s in standing if (reason := prices().quote(prices().priceable(s)).unpriced_reason))
    left = [s for s in standing if s.usage_source == "reported" and total_tokens(s.usage)]
    right = agents = known = 0
    for call in case.visible_calls:
        hit = next((s for s in left if shows(call, s.usage)), None)
        if hit is not None:
            left.remove(hit)
            right += costs_so(call, hit)
        if call.get("agent"):
            known += 1
            agents += hit is not None and hit.attribution.get("agent") == call["agent"]
    guesses = sum(call["billable"] and call["streaming"] and "usage" in call["lost"] for call in case.calls)
    billed = sum(call["billable"] for call in case.calls)
    return Result(billed, len(case.visible_calls), right, max(0, len(left) - guesses), (agents, known), unpriced)


def costs_so(call: dict[str, Any], hit: Sighting) -> bool:
    """Whether the price is the recorded one, where that is known and nothing that it depends on was lost."""
    if not call.get("usd") or TOUCHES_PRICE & set(call["lost"]):
        return True
    return prices().quote(prices().priceable(hit)).cost_pico == parse_usd(call["usd"])


def row(case: Case) -> str:
    """The case's line of the table."""
    found = result(case)
    libraries = ", ".join(f"{name} {version}" for name, version in case.truth["libraries"].items())
    agents = f"{found.agents[0]} of {found.agents[1]}" if found.agents[1] else ""
    extra = f", {found.extra} too many" if found.extra else ""
    unpriced = ", ".join(f"{calls} x `{reason}`" for reason, calls in sorted(found.unpriced.items()))
    cells = (
        case.name.replace("__", ": "),
        libraries,
        "; ".join(losses(case)),
        str(found.billed),
        f"{found.right} of {found.visible}{extra}",
    )
    return f"| {' | '.join((*cells, agents, unpriced))} |"


def losses(case: Case) -> Iterator[str]:
    """What the spans lack: first the counts of whole calls, then single facts, each with the number of calls if it is not all."""
    calls = [call for call in case.calls if call["billable"]]
    for kind, number in sorted(Counter(_kind(call) for call in calls if "usage" in call["lost"]).items()):
        yield f"**counts** of {number} {kind}"
    seen = [call for call in calls if "usage" not in call["lost"]]
    for fact, words in LOST.items():
        number = sum(fact in call["lost"] for call in seen)
        if number:
            yield words if number == len(seen) else f"{words} ({number} of {len(seen)})"


def _kind(call: dict[str, Any]) -> str:
    words = [word for word, holds in (("failed", call["error"]), ("streamed", call["streaming"])) if holds]
    return " ".join((*words, str(call["operation"])))


def page(corpus: Path) -> str:
    """The whole page."""
    return "\n".join((HEAD, *(row(case) for case in cases(corpus, "")), ""))


HEAD: Final = """# Instrumentations

<!-- Written by `python tests/rigs/instrumentations_page.py CORPUS docs/instrumentations.md` from recorded spans; do not edit. -->

Each line is one recording: real libraries with their real OTLP exporters against a scripted provider, whose own log says what it would
bill. Only spans are read for this table. What a library does not tell, nobody can charge: such calls stand as unpriced with a reason, and
`otel-finops coverage report` says for your own services how many there are and what to do.

* *not told*: facts that are in no span of the recording. Without **counts** a call has no price; the other facts may change it.
* *billed*: calls that the provider bills, seen or not. An attempt that timed out counts, since the provider had answered.
* *counted rightly*: of the calls whose counts are in the spans those that stand exactly once with the right counts, and cost what they
  should to the pico-dollar where the price is known and the spans tell all that it depends on.
* *agents*: of the calls whose agent is known those that are put under it.
* *unpriced*: standing calls without a price, by reason (`ledger.md` says what each means).

| recording | libraries | not told | billed | counted rightly | agents | unpriced |
|---|---|---|---|---|---|---|"""


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1])))
