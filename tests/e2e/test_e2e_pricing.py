"""From a model that nobody has a price for to the right money everywhere, by the very commands of docs/pricing.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from e2e_service import Database, Service, http, running
from e2e_spans import body, put, trace_id
from opentelemetry.proto.trace.v1.trace_pb2 import Span

DOCS = Path(__file__).parents[2] / "docs" / "pricing.md"
DEPLOYMENT, HOUSE = trace_id(1), trace_id(2)
COMMANDS = 6


def of_model(name: str) -> Any:
    def edit(span: Span, index: int) -> None:
        for key in ("gen_ai.request.model", "gen_ai.response.model"):
            put(span, key, name)
        put(span, "gen_ai.provider.name", "azure.ai.openai")
        put(span, "gen_ai.usage.input_tokens", 1000 + index)

    return edit


def documented() -> list[list[str]]:
    """The commands of the section on models without a price."""
    section = DOCS.read_text().split("## A model without a price")[1].split("\n## ")[0]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line) for line in block[1].splitlines()]
    assert {command[0] for command in commands} == {"otel-finops"}
    return [command[1:] for command in commands]


def unpriced(service: Service) -> dict[str, int]:
    return {one["model"]: one["calls"] for one in service.get("pricing/unpriced")["models"]}


def spent(service: Service) -> dict[str, tuple[str, int]]:
    groups = service.get("spend", group_by="model")["groups"]
    return {group["key"]["model"]: (group["cost_usd"], group["unpriced_calls"]) for group in groups}


def test_a_model_without_a_price_is_repaired_by_the_documented_commands(tmp_path: Path) -> None:
    repaired(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.long
@pytest.mark.postgres
def test_a_model_without_a_price_is_repaired_on_postgresql(postgres_database: str) -> None:
    repaired(Database(postgres_database).with_tables().url)


def repaired(url: str) -> None:
    """Three calls of a deployment of gpt-4o (2.50 and 10 USD a million) with 1,000, 1,001 and 1,002 tokens in and 200 out:
    3,003 x 2.5 + 600 x 10 = 13,507.5 millionths of a dollar. Two of the house's own model at 2 and 8 USD: 2,001 x 2 + 400 x 8 = 7,202.
    """
    with running(url) as service:
        service.send(body(DEPLOYMENT, 3, of_model("my-gpt-4o-prod")))
        service.send(body(HOUSE, 2, of_model("house-llm")))
        service.settled()
        _nothing_is_priced(service)

        printed = [service.database.command(*command) for command in documented()]
        assert len(printed) == COMMANDS
        assert "otel-finops pricing alias my-gpt-4o-prod azure/gpt-4o --provider azure --why 'WHY' --reprice" in printed[0]
        assert "the price book has no such model" in printed[1]
        assert "3 calls that had no price cost 0.0135075 USD.\nThis was a dry run" in printed[2]
        assert "3 calls that had no price cost 0.0135075 USD." in printed[3]
        assert "2 calls that had no price cost 0.007202 USD." in printed[4]
        assert "our own hardware, budget 2026" in printed[5]

        _all_is_priced(service)
        _later_calls_are_priced_too(service)
        service.stop()
        service.database.verify()


def _nothing_is_priced(service: Service) -> None:
    assert unpriced(service) == {"my-gpt-4o-prod": 3, "house-llm": 2}
    assert spent(service) == {"my-gpt-4o-prod": ("0", 3), "house-llm": ("0", 2)}
    assert [one["cost_usd"] for one in service.database.net()] == [None] * 5
    labels = {"model": "house-llm", "provider": "azure", "reason": "unknown_model"}
    assert service.series("finops_unpriced_calls_total", **labels) == 2
    assert service.get(f"traces/{HOUSE.hex()}")["unpriced_calls"] == 2


def _all_is_priced(service: Service) -> None:
    assert unpriced(service) == {}
    assert spent(service) == {"my-gpt-4o-prod": ("0.0135075", 0), "house-llm": ("0.007202", 0)}
    tree = service.get(f"traces/{HOUSE.hex()}")
    assert (tree["total_usd"], tree["unpriced_calls"]) == ("0.007202", 0)
    net = [(one["cost_usd"], one["price_key"], one["price_match"], one["price_version"]) for one in service.database.net()]
    assert sorted(net)[:2] == [("0.0036", "house-llm", "override", "rule:2"), ("0.003602", "house-llm", "override", "rule:2")]
    assert {row[1:3] for row in net if row[1] != "house-llm"} == {("azure/gpt-4o", "override")}
    assert service.metric("finops_cost_usd_total") == pytest.approx(0.0207095, abs=1e-12)
    unpriced_now = service.metric("finops_calls_total") - service.metric("finops_reversed_calls_total")
    assert unpriced_now == 5


def _later_calls_are_priced_too(service: Service) -> None:
    """The running service takes the rule up by itself; its quote is what will be booked."""

    def quote() -> Any:
        given = {"model": "house-llm", "provider": "azure", "input_tokens_uncached": 1000, "output_tokens": 200}
        return http("POST", f"{service.web}/api/v1/pricing/quote", json=given).json()

    assert (quote()["usd"], quote()["price_version"]) == ("0.0036", "rule:2")
    later = trace_id(3)
    service.send(body(later, 1, of_model("house-llm")))
    service.settled()
    assert service.get(f"traces/{later.hex()}")["total_usd"] == "0.0036"
