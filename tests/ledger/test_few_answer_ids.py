"""Answer ids that are drawn from few: whoever else got the same one, a service's own earlier answer is found."""

from __future__ import annotations

from itertools import permutations

import pytest
from ledger_rig import Rig, call

from otel_finops.genai.sighting import Sighting
from otel_finops.store.engine import Store


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def numbered(span: int, service: str, at_s: int) -> Sighting:
    """A call with the id that a local server gave many; each in a trace of its own."""
    return call(span, trace=span, at_s=at_s, response_id="chatcmpl-417", instance=service, defaults={"service": service})


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_they_come_each_service_is_charged_once(rig: Rig, order: tuple[int, ...]) -> None:
    """The stranger asked first, so that his is the earliest equal answer of all; the shop's second one is from a cache."""
    spans = [numbered(1, "stranger", 0), numbered(2, "shop", 10), numbered(3, "shop", 20)]
    for place in order:
        rig.settle(spans[place])
    roles = {row.service: [] for row in rig.net().values()}
    for row in sorted(rig.net().values(), key=lambda row: row.started_ns):
        roles[row.service].append(row.role)
    assert roles == {"stranger": ["call"], "shop": ["call", "gateway_copy"]}
