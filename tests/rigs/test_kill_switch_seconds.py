"""A kill switch that is set at one process stops calls at the other within a second; the figure is printed with `-s`."""

from __future__ import annotations

import time

import httpx
from e2e_service import Service, running

from otel_finops.operations.local import upgrade_database
from otel_finops.settings import load

CALL = {"provider": "openai", "model": "gpt-4o", "tenant": "acme", "estimate_usd": "0.01"}
WITHIN_S = 1.0


def action(client: httpx.Client, service: Service) -> str:
    """What is decided on a call there; in observe mode, in which kill switches hold too."""
    return str(client.post(f"{service.web}/api/v1/decisions", json=CALL).raise_for_status().json()["action"])


def until(client: httpx.Client, service: Service, wanted: str) -> float:
    """Seconds until a call is decided so there."""
    began = time.monotonic()
    while action(client, service) != wanted:
        assert time.monotonic() - began < 10 * WITHIN_S, f"calls are not decided {wanted}"
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_switch_holds_in_every_process_within_a_second(database_url: str) -> None:
    upgrade_database(load(None, {"OTEL_FINOPS_DATABASE__URL": database_url}))
    switch = {"scope": "model", "name": "gpt-4*", "why": "a loop"}
    with running(database_url) as one, running(database_url) as other, httpx.Client(timeout=30) as client:
        assert (action(client, one), action(client, other)) == ("allow", "allow")
        client.post(f"{one.web}/api/v1/kill-switches", json=switch).raise_for_status()
        here, there = until(client, one, "block"), until(client, other, "block")
        client.post(f"{other.web}/api/v1/kill-switches/clear", json=switch).raise_for_status()
        again = until(client, one, "allow")
    print(f"effective after {here:.3f} s where it was set, {there:.3f} s in the other process; cleared after {again:.3f} s")
    assert max(here, there, again) < WITHIN_S
