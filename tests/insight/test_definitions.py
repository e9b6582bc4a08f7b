"""Saved scenarios and routing rules: who sees and changes them, and what stands."""

from __future__ import annotations

import pytest

from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.identity.principals import Editor
from otel_finops.insight.definitions import Definitions
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

ANN, BOB = Editor("ann"), Editor("bob", ("acme",))


def test_definitions_are_made_changed_and_taken_away(store: Store) -> None:
    clock = FakeClock()
    scenarios = Definitions(store, clock, "scenario")
    first = scenarios.create("cheaper", "acme", {"to_model": "gpt-4o-mini"}, BOB)
    assert (first.no, first.said, first.of_all, scenarios.find(1, ("acme",))) == (1, {"to_model": "gpt-4o-mini"}, False, first)
    clock.advance(60)
    before, after = scenarios.update(1, "cheapest", lambda said: {**said, "service_tier": "batch"}, ANN)
    assert (before, after.name, after.said["service_tier"], after.made_by, after.changed_by) == (first, "cheapest", "batch", "bob", "ann")
    assert scenarios.find(1, None) == after
    assert scenarios.update(1, None, lambda said: said, BOB) == (after, after), "nothing is stored where nothing differs"
    with pytest.raises(Conflict, match="Scenario 1 is of revision 2, changed by ann; look at it again"):
        scenarios.delete(1, BOB, revision=1)
    scenarios.delete(1, BOB, dry_run=True)
    assert scenarios.delete(1, BOB) == after
    assert scenarios.all(None) == []
    assert scenarios.create("cheaper", "acme", {}, BOB).no == 2, "no number is given twice"


def test_nobody_sees_or_changes_others(store: Store) -> None:
    rules = Definitions(store, FakeClock(), "routing")
    rules.create("all", "*", {}, ANN)
    rules.create("theirs", "globex", {}, ANN)
    rules.create("ours", "acme", {}, ANN)
    assert [one.name for one in rules.all(("acme",))] == ["ours"]
    for no in (1, 2, 9):
        with pytest.raises(NotFound, match=f"There is no routing rule {no}"):
            rules.delete(no, BOB)
    with pytest.raises(Forbidden, match="Routing rule 3 was made by ann, who sees all tenants; only such may change it"):
        rules.update(3, "mine", dict, BOB)
    with pytest.raises(BadInput, match="name: routing rule 3 is called so already"):
        rules.create("ours", "acme", {}, BOB)
    assert Definitions(store, FakeClock(), "scenario").create("ours", "acme", {}, BOB).no == 1, "each kind has numbers of its own"
