"""Where each key of attribution may come from, nearest first, and what happens when the source comes late (design 4.6)."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import Rig
from rig_ledgers import Ledgers, canonical, differences
from span_making import chat, span

from otel_finops.base.protocols import Credential
from otel_finops.base.span import Span
from otel_finops.genai.attribution_keys import AttributionSettings
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.inheritance import resolve
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import Sighting

KEYS = {
    "agent": "gen_ai.agent.name",
    "step": "finops.step",
    "tool": "gen_ai.tool.name",
    "workflow": "gen_ai.workflow.name",
    "user": "user.id",
    "session": "gen_ai.conversation.id",
    "tenant": "tenant.id",
    "cost_center": "finops.cost_center",
    "purpose": "finops.purpose",
}
"""Attribution key -> an attribute that says it."""
PICO = 3_500_000_000
"""gpt-4o, 1,000 tokens in and 100 out: 0.0025 + 0.001 USD."""
CALL = chat(usage__input_tokens=1_000, usage__output_tokens=100)
SERVICE = {"service.name": "shop"}


def made(number: int, parent: int | None, attributes: dict[str, Any], resource: dict[str, Any]) -> Span:
    above = None if parent is None else parent.to_bytes(8, "big")
    return span(
        attributes, span_id=number.to_bytes(8, "big"), parent_span_id=above, name="" if number < 3 else "chat gpt-4o", resource=resource
    )


def seen(
    key: str, own: str = "", parent: str = "", root: str = "", baggage: str = "", resource: str = "", setting: str = ""
) -> list[Sighting]:
    """A call under a nameless parent under a nameless root; each place says the key's value where one is given."""
    normalise = Normaliser(load_dialects(), AttributionSettings(defaults={key: setting} if setting else {}))
    said = KEYS[key]
    around = SERVICE | ({said: resource} if resource else {})
    carried = {f"baggage.{said}": baggage} if baggage else {}
    spans = [
        made(1, None, {said: root} if root else {}, around),
        made(2, 1, {said: parent} if parent else {}, around),
        made(3, 2, CALL | carried | ({said: own} if own else {}), around),
    ]
    return [normalise(one, Credential()) for one in spans]


def value(key: str, sightings: list[Sighting]) -> str | None:
    return resolve(sightings)[sightings[-1].key].get(key)


PLACES = ("own", "parent", "root", "baggage", "resource", "setting")
"""From the nearest to the last resort."""


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("place", PLACES)
def test_each_place_speaks_for_each_key(key: str, place: str) -> None:
    assert value(key, seen(key, **{place: "this"})) == "this"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("nearest", range(len(PLACES) - 1))
def test_the_nearest_place_wins(key: str, nearest: int) -> None:
    assert value(key, seen(key, **{place: place for place in PLACES[nearest:]})) == PLACES[nearest]


@pytest.mark.parametrize("key", KEYS)
def test_where_nobody_says_it_it_is_not_known(key: str) -> None:
    assert value(key, seen(key)) == {"tenant": "default"}.get(key)


def test_the_step_is_the_nearest_named_span_that_is_no_call_where_nobody_states_one() -> None:
    root, parent, call = seen("step")
    assert value("step", [root._replace(name="handle order"), parent._replace(name="draft reply"), call]) == "draft reply"
    assert value("step", [root._replace(name="handle order"), parent, call]) == "handle order"


# --- late sources ----------------------------------------------------------------------------------------------------


def settled_late(rig: Rig, key: str) -> None:
    root, parent, call = seen(key, root="this")
    [charge] = rig.settle(call)
    assert (charge.kind, charge.cost_pico) == ("charge", PICO)
    assert rig.settle(parent) == []  # it says nothing, and its own parent is still missing
    [moved] = rig.settle(root)
    assert (moved.kind, moved.span_id, getattr(moved, key)) == ("reattribution", charge.span_id, rig.net()[charge.span_id]._asdict()[key])
    assert (moved.cost_pico, moved.cost_method, moved.cost_lines, moved.usage) == (None, None, (), {})
    assert (rig.total(), rig.spent(), rig.net()[charge.span_id].cost_pico) == (PICO, PICO, PICO)
    [row] = rig.canonical()
    assert row[key] == "this"


@pytest.mark.parametrize("key", KEYS)
def test_a_late_ancestor_gives_a_reattribution_that_moves_no_money(ledgers: Ledgers, key: str) -> None:
    with ledgers.new() as rig:
        settled_late(rig, key)
        late = canonical(rig)
    with ledgers.new() as rig:
        rig.settle(*seen(key, root="this"))
        assert differences(canonical(rig), late) == []


def test_a_nearer_ancestor_that_comes_later_takes_its_place(ledgers: Ledgers) -> None:
    root, parent, call = seen("agent", root="orchestrator", parent="researcher")
    with ledgers.new() as rig:
        rig.settle(root, call._replace(parent_span_id=parent.span_id))
        assert rig.net()[call.span_id].agent is None  # the parent between them is not there yet
        [moved] = rig.settle(parent)
        assert (moved.kind, moved.agent) == ("reattribution", "researcher")
        assert (rig.total(), rig.spent(agent="researcher")) == (PICO, PICO)


def test_what_came_late_moves_in_the_roll_ups_too(ledgers: Ledgers) -> None:
    for key in ("agent", "tenant", "cost_center"):
        with ledgers.new() as rig:
            root, parent, call = seen(key, root="this")
            rig.settle(call, parent)
            before = {"tenant": "default"}.get(key, "")
            assert (rig.spent(**{key: before}), rig.spent(**{key: "this"})) == (PICO, 0)
            rig.settle(root)
            assert (rig.spent(**{key: before}), rig.spent(**{key: "this"})) == (0, PICO)
