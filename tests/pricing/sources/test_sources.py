"""Every publisher's format becomes rows in USD for one unit; what cannot be said exactly is left out with a reason, or refused."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from otel_finops.base import plugins
from otel_finops.base.errors import BadInput, StartRefused
from otel_finops.pricing.sources import loading
from otel_finops.pricing.sources.loading import BUILTIN, chosen, load_sources
from otel_finops.pricing.sources.source import BadRow, PriceList, PriceSource, Reading

TODAY = Reading("2026-11-22")
LITELLM = {
    "sample_spec": {"input_cost_per_token": 0, "litellm_provider": "one of"},
    "acme/one": {
        "litellm_provider": "acme", "mode": "chat", "max_tokens": 10, "supports_vision": True, "input_cost_per_token": 1e-6,
        "cache_read_input_token_cost_above_200k_tokens_priority": 5.0000000000000004e-08, "input_dbu_cost_per_token": 3.0,
        "provider_specific_entry": {"us": 1.1, "priority_tier": 3, "note": "x"},
        "tiered_pricing": [{"range": [0, 1000.0], "input_cost_per_token": 1e-6}],
    },
}  # fmt: skip
OPENROUTER = {
    "data": [
        {"id": "openai/gpt-4o", "pricing": {"prompt": "0.0000025", "completion": "0.00001", "web_search": "0.01", "image": "0.003613"}},
        {
            "id": "google/gemini-pro",
            "pricing": {
                "prompt": "0.000002", "completion": "0.000012", "image": "0.000002", "input_cache_write_1h": "0.00001",
                "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000004"}],
            },
        },
        {"id": "some/free:free", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "a/by-the-hour", "pricing": {"prompt": "1", "overrides": [{"utc": "01:00-02:00", "prompt": "0.5"}]}},
    ]
}  # fmt: skip
MODELS_DEV = {
    "openai": {"id": "openai", "models": {
        "gpt-4o": {"cost": {"input": 2.5, "output": 10, "cache_read": 1.25, "context_over_200k": {"input": 5, "output": 20}}},
        "no-cost": {},
    }},
    "google-vertex": {"models": {"gemini-pro": {"cost": {
        "input": 2, "output": 12, "tiers": [{"tier": {"type": "context", "size": 272000}, "input": 4}], "context_over_200k": {"input": 9},
    }}}},
    "github-copilot": {"models": {"gpt-4o": {"cost": {"input": 0, "output": 0}}}},
}  # fmt: skip
LLM_PRICES = {
    "updated_at": "2026-07-30",
    "prices": [
        {"id": "gpt-4o", "vendor": "openai", "name": "GPT-4o", "input": 2.5, "output": 10, "input_cached": None},
        {
            "id": "gpt-4o",
            "vendor": "openai",
            "name": "GPT-4o",
            "input": 5,
            "output": 15,
            "from_date": "2024-05-13",
            "to_date": "2024-08-06",
        },
        {"id": "gemini-2.5-pro", "vendor": "google", "name": "Gemini 2.5 Pro \u2264200k", "input": 1.25, "output": 10},
    ],
}
GENAI_PRICES = [
    {"id": "openai", "models": [{"id": "gpt-4o", "prices": {"input_mtok": 2.5, "output_mtok": 10, "web_searches_kcount": 25}}]},
    {"id": "x-ai", "models": [{"id": "grok-5", "prices": {"input_mtok": {"base": 2, "tiers": [{"start": 199999, "price": 4}]}}}]},
    {"id": "aws", "models": [
        {"id": "regional.nova", "prices": {"input_mtok": 1}},
        {"id": "claude-5", "prices": [
            {"prices": {"input_mtok": 2}}, {"constraint": {"start_date": "2026-09-01"}, "prices": {"input_mtok": 3}},
            {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": 4}},
        ]},
        {"id": "night", "prices": [
            {"prices": {"input_mtok": 2}}, {"constraint": {"start_time": "01:00", "end_time": "02:00"}, "prices": {}},
        ]},
    ]},
]  # fmt: skip


def read(document: Any, how: Reading = TODAY) -> PriceList:
    return chosen(BUILTIN, document, None).read(document, how)


def test_litellm_rows_keep_prices_and_factors_alone() -> None:
    assert read(LITELLM).rows == {
        "acme/one": {
            "litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-6,
            "cache_read_input_token_cost_above_200k_tokens_priority": 5e-8, "provider_specific_entry": {"us": 1.1},
            "tiered_pricing": [{"range": [0, 1000], "input_cost_per_token": 1e-6}],
        }
    }  # fmt: skip


def test_openrouter_states_usd_for_one_token_as_text() -> None:
    found = read(OPENROUTER)
    assert found.rows["openrouter/openai/gpt-4o"] == {
        "litellm_provider": "openrouter", "mode": "chat", "input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01}, "web_search_billing_unit": "per_query",
        "input_cost_per_image": 0.003613,
    }  # fmt: skip
    gemini = found.rows["openrouter/google/gemini-pro"]
    assert (gemini["input_cost_per_image_token"], gemini["cache_creation_input_token_cost_above_1hr"]) == (2e-6, 1e-5)
    assert gemini["input_cost_per_token_above_199999_tokens"] == 4e-6, "from 200,000 on, so strictly above 199,999"
    assert found.rows["openrouter/some/free:free"]["input_cost_per_token"] == 0, "a stated zero is free"
    assert {name: reason.partition(":")[0] for name, reason in found.left_out.items()} == {
        "openrouter/auto": "a router",
        "a/by-the-hour": "prices by the hour, which its list states without weekdays and dates",
    }


def test_models_dev_states_usd_for_a_million_tokens() -> None:
    found = read(MODELS_DEV)
    assert found.rows["openai/gpt-4o"] == {
        "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5,
        "cache_read_input_token_cost": 1.25e-6, "input_cost_per_token_above_200k_tokens": 5e-6,
        "output_cost_per_token_above_200k_tokens": 2e-5,
    }  # fmt: skip
    vertex = found.rows["vertex_ai/gemini-pro"]
    assert vertex["input_cost_per_token_above_272k_tokens"] == 4e-6
    assert "input_cost_per_token_above_200k_tokens" not in vertex, "tiers come in place of the older block"
    assert found.left_out == {"openai/no-cost": "no price", "github_copilot/gpt-4o": "all prices are 0: covered by a plan, not free"}


def test_llm_prices_states_usd_for_a_million_tokens_and_its_day() -> None:
    found = read(LLM_PRICES)
    assert found.rows == {
        "openai/gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
    }
    assert found.date == "2026-07-30"
    assert list(found.left_out) == ["gemini/gemini-2.5-pro"]


def test_genai_prices_states_the_price_of_the_day() -> None:
    found = read(GENAI_PRICES)
    assert found.rows["openai/gpt-4o"]["search_context_cost_per_query"] == {"search_context_size_medium": 0.025}
    assert found.rows["xai/grok-5"]["input_cost_per_token_above_200k_tokens"] == 4e-6, "xAI's tier begins at the edge; the book knows"
    assert found.rows["bedrock/claude-5"]["input_cost_per_token"] == 3e-6
    assert read(GENAI_PRICES, Reading("2026-08-31")).rows["bedrock/claude-5"]["input_cost_per_token"] == 2e-6
    assert set(found.left_out) == {"bedrock/regional.nova", "bedrock/night"}


def changed(document: Any, *path: Any, to: Any) -> Any:
    """The document with one value replaced."""
    first, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[first] = changed(copy[first], *rest, to=to) if rest else to
    return copy


PRICES = {
    "litellm": (LITELLM, ("acme/one", "input_cost_per_token"), "acme/one"),
    "openrouter": (OPENROUTER, ("data", 0, "pricing", "prompt"), "openai/gpt-4o"),
    "models_dev": (MODELS_DEV, ("openai", "models", "gpt-4o", "cost", "input"), "gpt-4o"),
    "llm_prices": (LLM_PRICES, ("prices", 0, "input"), "gpt-4o"),
    "genai_prices": (GENAI_PRICES, (0, "models", 0, "prices", "input_mtok"), "gpt-4o"),
}


@pytest.mark.parametrize(
    ("value", "reason"), [(-2, "is negative"), (float("inf"), "is not finite"), (True, "is no number"), ([], "is no number")]
)
@pytest.mark.parametrize("source", PRICES)
def test_a_price_that_is_none_is_refused_by_row(source: str, value: Any, reason: str) -> None:
    document, path, row = PRICES[source]
    with pytest.raises(BadRow) as raised:
        read(changed(document, *path, to=value))
    assert raised.value.row == row
    assert reason in raised.value.reason


UNKNOWN = {
    "litellm": (LITELLM, ("acme/one", "input_cost_per_smell"), "acme/one"),
    "openrouter": (OPENROUTER, ("data", 0, "pricing", "smell"), "openai/gpt-4o"),
    "models_dev": (MODELS_DEV, ("openai", "models", "gpt-4o", "cost", "smell"), "openai/gpt-4o"),
    "llm_prices": (LLM_PRICES, ("prices", 0, "smell"), "openai/gpt-4o"),
    "genai_prices": (GENAI_PRICES, (0, "models", 0, "prices", "smell_mtok"), "openai/gpt-4o"),
}


@pytest.mark.parametrize("source", UNKNOWN)
def test_an_unknown_unit_is_refused_and_can_be_left_out_when_somebody_says_so(source: str) -> None:
    document, path, row = UNKNOWN[source]
    odd = changed(document, *path, to=1)
    with pytest.raises(BadRow, match="this version does not know") as raised:
        read(odd)
    assert raised.value.unknown
    assert row in read(odd, TODAY._replace(leave_out=True)).left_out


def test_two_rows_for_one_key_and_date_are_refused() -> None:
    twice = {"prices": [LLM_PRICES["prices"][0]] * 2}  # type: ignore[index]
    with pytest.raises(BadRow, match="stands twice for openai"):
        read(twice)
    with pytest.raises(BadRow, match="stands twice but for capitals"):
        read({"acme/one": LITELLM["acme/one"], "Acme/ONE": LITELLM["acme/one"]})
    with pytest.raises(BadRow, match="stands twice"):
        read({"data": [OPENROUTER["data"][0]] * 2})


def test_each_document_is_recognised_by_one_source_alone() -> None:
    for name, (document, _, _) in PRICES.items():
        assert [source.name for source in BUILTIN if source.recognises(document)] == [name]
    with pytest.raises(BadInput, match="say which one it is by --source"):
        chosen(BUILTIN, {"a": 1}, None)
    with pytest.raises(BadInput, match="no price source 'none'; there are litellm, openrouter"):
        chosen(BUILTIN, LITELLM, "none")


# --- the seam for others -----------------------------------------------------------------------------------------------

CENTS = PriceSource(
    "cents",
    "cents for one token",
    lambda document: isinstance(document, dict) and document.get("unit") == "cents",
    lambda document, how: PriceList(
        {k: {"litellm_provider": "acme", "input_cost_per_token": v / 100} for k, v in document["rows"].items()}
    ),
)
no_source = object()


def plugged(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    point = EntryPoint(name, f"test_sources:{name}", loading.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == "otel_finops.price_sources" else [])


def test_a_plug_in_reads_a_list_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, "CENTS")
    document = {"unit": "cents", "rows": {"acme/one": 0.0008}}
    source = chosen(load_sources(), document, None)
    assert source is CENTS
    assert source.read(document, TODAY).rows["acme/one"]["input_cost_per_token"] == 8e-6


@pytest.mark.parametrize(("name", "told"), [("no_source", "is no PriceSource"), ("nowhere", "cannot be loaded: AttributeError")])
def test_a_plug_in_that_is_none_refuses_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    plugged(monkeypatch, name)
    with pytest.raises(StartRefused, match=told):
        load_sources()
