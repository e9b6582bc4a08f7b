"""Which notice goes to which channels."""

from __future__ import annotations

from typing import Any

import pytest
from delivery_rig import notice

from otel_finops.alerting.routes import Channel, Route, Routing

OPS = Channel(1, "ops", "slack")
ACME = Channel(2, "acme's", "webhook", "acme")
GLOBEX = Channel(3, "globex's", "webhook", "globex")
ALL = [OPS, ACME, GLOBEX]


def numbers(routing: Routing, **said: Any) -> list[int]:
    return [one.no for one in routing.channels_for(notice(**said))]


def test_a_channel_that_no_route_names_carries_all_that_it_may() -> None:
    routing = Routing(1, ALL)
    assert numbers(routing, tenant="acme") == [1, 2]
    assert numbers(routing, tenant="globex") == [1, 3]
    assert numbers(routing, tenant="") == [1]  # about all tenants: nothing for one of them
    assert numbers(Routing(1, [OPS._replace(enabled=False)])) == []


def test_a_channel_that_a_route_names_carries_what_routes_say_alone() -> None:
    routing = Routing(1, ALL, [Route(1, "the worst", channels=(1,), min_severity="critical")])
    assert numbers(routing, severity="warning") == [2]
    assert numbers(routing, severity="critical") == [1, 2]
    off = Routing(1, ALL, [Route(1, "the worst", channels=(1,), enabled=False)])
    assert numbers(off, severity="critical") == [2]


def test_no_route_brings_a_tenants_channel_what_is_anothers() -> None:
    routing = Routing(1, ALL, [Route(1, "everything", channels=(1, 2, 3))])
    assert numbers(routing, tenant="acme") == [1, 2]
    assert numbers(routing, tenant="") == [1]


def test_two_routes_to_one_channel_are_one_delivery() -> None:
    routing = Routing(1, [OPS], [Route(1, "a", channels=(1,)), Route(2, "b", channels=(1, 99))])
    assert numbers(routing) == [1]


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        ({}, True),
        ({"tenant": "acme"}, True),
        ({"tenant": "globex"}, False),
        ({"rules": ("budgets",)}, True),
        ({"rules": ("anomal*", "Bud*")}, True),
        ({"rules": ("budget",)}, False),  # nothing by likeness
        ({"kinds": ("budget", "anomaly")}, True),
        ({"kinds": ("anomaly",)}, False),
        ({"min_severity": "info"}, True),
        ({"min_severity": "critical"}, False),
        ({"labels": {"budget": "all *"}}, True),
        ({"labels": {"budget": "all of it", "model": "*"}}, True),  # `*` stands for anything, nothing too
        ({"labels": {"model": "gpt-*"}}, False),
        ({"resolved": False}, True),
    ],
)
def test_what_a_route_takes(said: dict[str, Any], takes: bool) -> None:
    assert Route(1, "r", channels=(1,), **said).takes(notice()) is takes


def test_the_end_of_an_alert_is_told_where_that_is_wanted() -> None:
    over = notice(state="resolved")
    assert Route(1, "r", channels=(1,)).takes(over)
    assert not Route(1, "r", channels=(1,), resolved=False).takes(over)
