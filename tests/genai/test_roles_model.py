"""Generated applications whose true calls are known: whatever saw them, each is charged once, in whatever order spans come."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import agent, call, span, tool

from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import prompt_tokens

SCOPES = ("framework", "client", "sdk")
"""From the outermost to the innermost instrumentation."""
LAYOUTS = ("nested", "beside", "own_trace")


class World:
    """An application under construction: its spans, and the (input, output) of each call that the provider billed."""

    def __init__(self) -> None:
        self.spans: list[Sighting] = [span("root", attribution={"tenant": "acme"})]
        self.truth: list[tuple[int, int]] = []
        self.failures = 0

    def name(self) -> str:
        return f"s{len(self.spans):03}"

    def add(self, sighting: Sighting) -> str:
        self.spans.append(sighting)
        return sighting.span_id


@st.composite
def turns(draw: st.DrawFn) -> dict[str, object]:
    """One turn of an agent: equal twins seen by some scopes, maybe a sum above, a lost count, failed attempts, a tool's own turn."""
    return {
        "twins": draw(st.integers(1, 4)),
        "scopes": draw(st.lists(st.sampled_from(SCOPES), min_size=1, max_size=3, unique=True)),
        "layout": draw(st.sampled_from(LAYOUTS)),
        "sum": draw(st.booleans()),
        "unmeasured_wrapper": draw(st.booleans()),
        "failed_first": draw(st.booleans()),
        "agent_total": draw(st.booleans()),
        "ids": draw(st.booleans()),
        "wobble": draw(st.integers(-1, 1)),
    }


def play(world: World, parent: str, number: int, turn: dict[str, object]) -> None:
    """Add one turn's spans and truth; turns differ in their numbers, so that only twins are equal."""
    prompt, output, at = 1_000 + 37 * number, 100 + 11 * number, 10.0 * number
    twins, scopes = int(str(turn["twins"])), sorted(map(str, turn["scopes"]), key=SCOPES.index)  # type: ignore[call-overload]
    usage = {"input_uncached": prompt * twins, "output": output * twins}
    totals = {"usage": usage, "usage_source": "reported", "input_readings": (prompt * twins,)} if turn["agent_total"] else {}
    above = world.add(agent(world.name(), parent, at=at, to=at + 9, **totals))
    if turn["sum"]:
        above = world.add(call(world.name(), above, (prompt * twins, output * twins), scope="summing", at=at, to=at + 8))
    if turn["unmeasured_wrapper"] and twins == 1:
        above = world.add(call(world.name(), above, None, scope="losing", at=at, to=at + 7))
    if turn["failed_first"]:
        world.add(call(world.name(), above, None, scope="client", error_type="RateLimitError", at=at, to=at + 0.5))
        world.failures += 1
    for twin in range(twins):
        world.truth.append((prompt, output))
        see(world, above, (prompt, output), scopes, at + 1 + twin * 0.01, turn, f"resp_{number}_{twin}" if turn["ids"] else None)


def see(
    world: World, above: str, tokens: tuple[int, int], scopes: list[str], at: float, turn: dict[str, object], response_id: str | None
) -> None:
    """One true call as its scopes show it."""
    for level, scope in enumerate(scopes):
        own_trace = turn["layout"] == "own_trace" and level > 0
        wobble = int(str(turn["wobble"])) if level == 1 else 0  # a streaming instrumentation is wrong by one
        seen = call(
            world.name(), None if own_trace else above, (tokens[0], tokens[1] + wobble), scope=scope, at=at + level * 0.001, to=at + 5,
            response_id=response_id if scope != "framework" else None, rank=2 - level,
            **({"trace": f"{len(world.spans):032x}"} if own_trace else {}),
        )  # fmt: skip
        world.add(seen)
        if turn["layout"] == "nested":
            above = seen.span_id


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World()
    parent = "root"
    for number, turn in enumerate(draw(st.lists(turns(), min_size=1, max_size=5))):
        play(world, parent, number, turn)
        if draw(st.booleans()):
            parent = world.add(tool(world.name(), parent, at=10.0 * number, to=10.0 * number + 60))
    return world


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_each_true_call_is_charged_once(world: World) -> None:
    standing = [d.sighting for d in decide(world.spans) if d.role == "call"]
    measured = Counter(prompt_tokens(s.usage) for s in standing if s.usage)
    assert measured == Counter(prompt for prompt, _ in world.truth)
    outputs = sorted((prompt_tokens(s.usage), s.usage["output"]) for s in standing if s.usage)
    assert all(abs(got[1] - want[1]) <= 2 for got, want in zip(outputs, sorted(world.truth), strict=True))
    assert sum(not s.usage for s in standing) == world.failures


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_and_repetition_change_nothing(world: World, shuffle: random.Random) -> None:
    again = [*world.spans, *shuffle.sample(world.spans, shuffle.randint(0, len(world.spans)))]
    shuffle.shuffle(again)
    assert decide(again) == decide(world.spans)


@given(worlds())
@settings(max_examples=200, deadline=None)
def test_every_candidate_has_one_decision_and_points_at_a_standing_call(world: World) -> None:
    decisions = decide(world.spans)
    assert [d.sighting.key for d in decisions] == sorted(s.key for s in world.spans if s.is_candidate)
    standing = {d.sighting.key for d in decisions if d.role == "call"}
    for decision in decisions:
        assert decision.counted_in is None or (decision.role != "call" and decision.counted_in in standing)
        assert decision.role != "duplicate" or decision.counted_in is not None
        assert decision.sighting.attribution["tenant"]


@given(worlds(), st.data())
@settings(max_examples=100, deadline=None)
def test_no_shape_of_parents_breaks_it(world: World, data: st.DataObject) -> None:
    """Cycles, self-parents, orphans: every candidate still gets its one decision, and order still does not matter."""
    ids = [s.span_id for s in world.spans]
    bent = [s._replace(parent_span_id=data.draw(st.sampled_from([*ids, None, "gone"]))) for s in world.spans]
    decisions = decide(bent)
    assert [d.sighting.key for d in decisions] == sorted(s.key for s in bent if s.is_candidate)
    assert decide(reversed(bent)) == decisions
