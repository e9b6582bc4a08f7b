"""A book of several snapshots and the operator's rules: what holds when, and who wins over whom."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.times import parse_ns
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.house_rules import Alias, HouseRules, Override
from otel_finops.pricing.quote import PriceableCall, Quote
from otel_finops.pricing.snapshot import Fields, Snapshot

MILLION = 1_000_000
USD = 10**12
MAY, JUNE, JULY = (parse_ns(f"2026-0{month}-01") for month in (5, 6, 7))


def prices(usd_in: float, usd_out: float = 0, **more: Any) -> dict[str, Any]:
    return {"input_cost_per_token": usd_in / MILLION, "output_cost_per_token": usd_out / MILLION, **more}


def row(usd: float, provider: str = "acme", **more: Any) -> dict[str, Any]:
    return {"litellm_provider": provider, "mode": "chat", **prices(usd, **more)}


def snapshot(version: str, valid_from_ns: int | None = None, source: str = "litellm", **rows: Fields) -> Snapshot:
    keys = {name.replace("__", "/").replace("_", "-"): fields for name, fields in rows.items()}
    return Snapshot(source, "1", version, "2026-05-01", valid_from_ns, keys)


def engine_of(*snapshots: Snapshot, overrides: tuple[Override, ...] = (), aliases: tuple[Alias, ...] = ()) -> PriceEngine:
    return PriceEngine(PriceBook.of(snapshots, HouseRules(overrides, aliases)))


def quote(engine: PriceEngine, model: str, at_ns: int = JULY, provider: str | None = "acme", **more: Any) -> Quote:
    usage = more.pop("usage", {"input_uncached": MILLION})
    return engine.quote(PriceableCall(provider, (model,), usage, at_ns, **more))


def usd(quoted: Quote) -> float | None:
    return None if quoted.cost_pico is None else quoted.cost_pico / USD


# --- several snapshots ------------------------------------------------------------------------------------------------


def test_a_row_holds_until_a_newer_snapshot_changes_it() -> None:
    engine = engine_of(snapshot("v1", acme__one=row(1)), snapshot("v2", JUNE, acme__one=row(2)))
    assert [(usd(quoted), quoted.price_version) for at in (0, MAY, JUNE - 1, JUNE, JULY) for quoted in [quote(engine, "one", at)]] == [
        (1, "v1"), (1, "v1"), (1, "v1"), (2, "v2"), (2, "v2"),
    ]  # fmt: skip


def test_a_row_that_a_newer_snapshot_leaves_as_it_is_keeps_its_version() -> None:
    engine = engine_of(snapshot("v1", acme__one=row(1)), snapshot("v2", JUNE, acme__one=row(1), acme__two=row(2)))
    assert quote(engine, "one", JULY).price_version == "v1"
    assert engine.version == engine.status().version == "v2"


def test_a_new_row_holds_from_the_beginning() -> None:
    """A model that came out between two snapshots is priced once the second is there, its first calls too."""
    engine = engine_of(snapshot("v1", acme__one=row(1)), snapshot("v2", JUNE, acme__one=row(1), acme__two=row(2)))
    assert (usd(quote(engine, "two", MAY)), quote(engine, "two", MAY).price_version) == (2, "v2")


def test_a_row_that_is_gone_is_retired_from_then_on_and_comes_back_when_it_does() -> None:
    engine = engine_of(
        snapshot("v1", acme__one=row(1), acme__one_latest=row(7)),
        snapshot("v2", JUNE, acme__one_latest=row(7)),
        snapshot("v3", JULY, acme__one=row(3), acme__one_latest=row(7)),
    )
    assert [usd(quote(engine, "one-2026-01-01", at)) for at in (MAY, JUNE, JULY)] == [1, 1, 3]
    retired = engine.resolve("acme", "one", JUNE)
    live = engine.resolve("acme", "one", MAY)
    assert retired is not None
    assert live is not None
    assert (retired.row.retired, live.row.retired) == (True, False)


def test_a_live_row_found_by_any_rewrite_comes_before_a_retired_one() -> None:
    engine = engine_of(snapshot("v1", acme__one_latest=row(1), acme__one=row(2)), snapshot("v2", JUNE, acme__one=row(2)))
    assert [usd(quote(engine, "one-latest", at)) for at in (MAY, JUNE)] == [1, 2]


def test_lists_are_asked_in_their_order_whatever_was_activated_first() -> None:
    """`models.dev` writes the provider into the key, LiteLLM does not; LiteLLM's row holds all the same."""
    engine = engine_of(
        snapshot("m1", source="models_dev", acme__one=row(9), acme__two=row(8)),
        snapshot("v1", one=row(1)),
        snapshot("x1", source="x", acme__three=row(5)),
    )
    assert [usd(quote(engine, model)) for model in ("one", "two", "three")] == [1, 8, 5]
    assert engine.status().source == "litellm"


def test_a_gateways_own_list_comes_before_its_vendors_row() -> None:
    listed = snapshot("v1", gpt_4o=row(1, "openai"), gpt_5=row(2, "openai"))
    own = snapshot("o1", source="openrouter", openrouter__openai__gpt_4o=row(3, "openrouter"))
    engine = engine_of(listed, own)
    found = [engine.resolve("openrouter", f"openai/{model}") for model in ("gpt-4o", "gpt-5")]
    assert [(match.key, match.kind) for match in found if match] == [("openrouter/openai/gpt-4o", "exact"), ("gpt-5", "inferred")]


def test_a_free_row_of_the_vendor_says_nothing_about_a_gateways_price() -> None:
    assert engine_of(snapshot("v1", gemma=row(0, "gemini"))).resolve("openrouter", "google/gemma") is None


# --- overrides and contract prices -----------------------------------------------------------------------------------


def test_an_override_prices_a_model_that_no_list_knows() -> None:
    engine = engine_of(snapshot("v1"), overrides=(Override("7", "override", None, "house-model", None, prices(3, 5)),))
    quoted = quote(engine, "House-Model", usage={"input_uncached": MILLION, "output": MILLION})
    assert (usd(quoted), quoted.price_key, quoted.price_match, quoted.price_version) == (8, "house-model", "override", "rule:7")
    assert quote(engine, "house-model", provider=None).cost_pico == 3 * USD
    assert quote(engine, "other").unpriced_reason == "unknown_model"


def test_an_override_holds_for_the_row_however_a_call_names_it() -> None:
    engine = engine_of(snapshot("v1", acme__one=row(1)), overrides=(Override("1", "override", "acme", "one", None, prices(4)),))
    names = ["one", "ONE", "acme/one", "models/one", "one-2026-05-05", "one-latest"]
    assert [usd(quote(engine, name)) for name in names] == [4] * len(names)
    assert usd(quote(engine, "acme/one", provider=None)) == 4


@pytest.mark.parametrize("speaks_of", ["acme/one", "one", "team/one"])
def test_an_override_speaks_of_a_price_key_or_of_a_name_as_spans_carry_it(speaks_of: str) -> None:
    engine = engine_of(
        snapshot("v1", acme__one=row(1)),
        overrides=(Override("1", "override", "acme", speaks_of, None, prices(4)),),
        aliases=(Alias("2", None, "team/one", "acme/one"),),
    )
    name = "team/one" if speaks_of == "team/one" else "one"
    assert (usd(quote(engine, name)), quote(engine, name).price_key) == (4, "acme/one")


def test_an_override_holds_for_its_provider_and_its_time() -> None:
    rule = Override("1", "override", "acme", "one", None, prices(4), JUNE, JULY)
    engine = engine_of(snapshot("v1", acme__one=row(1), other__one=row(2, "other")), overrides=(rule,))
    assert [usd(quote(engine, "one", at)) for at in (JUNE - 1, JUNE, JULY - 1, JULY)] == [1, 4, 4, 1]
    assert usd(quote(engine, "one", JUNE, provider="other")) == 2


def test_an_override_wins_over_a_contract_and_that_over_the_list() -> None:
    contract = Override("1", "contract", "acme", "one", None, prices(4, 40))
    override = Override("2", "override", "acme", "one", None, {"input_cost_per_token": 6 / MILLION}, JULY)
    engine = engine_of(snapshot("v1", acme__one=row(1)), overrides=(contract, override))
    both = {"input_uncached": MILLION, "output": MILLION}
    assert [usd(quote(engine, "one", at, usage=both)) for at in (JUNE, JULY)] == [44, 46]


def test_a_contract_of_an_account_holds_for_its_calls_alone() -> None:
    rules = (
        Override("1", "contract", "acme", "one", "team-a", prices(2)),
        Override("2", "contract", "acme", "one", None, prices(3)),
        Override("3", "contract", "acme", "two", "team-a", prices(4)),
    )
    engine = engine_of(snapshot("v1", acme__one=row(9), acme__two=row(8)), overrides=rules)
    assert [usd(quote(engine, "one", account=account)) for account in ("team-a", "team-b", None)] == [2, 3, 3]
    assert [usd(quote(engine, "two", account=account)) for account in ("team-a", "team-b", None)] == [4, 8, 8]


def test_of_two_rules_for_the_same_the_one_for_the_provider_wins_then_the_later() -> None:
    rules = (
        Override("1", "override", "acme", "one", None, prices(2)),
        Override("2", "override", "acme", "one", None, prices(3)),
        Override("3", "override", None, "one", None, prices(4)),
    )
    engine = engine_of(snapshot("v1", acme__one=row(9)), overrides=rules)
    assert usd(quote(engine, "one")) == 3
    assert usd(quote(engine, "one", provider=None)) == 4


LISTED = row(
    10,
    input_cost_per_token_batches=5 / MILLION,
    input_cost_per_token_above_200k_tokens=20 / MILLION,
    cache_read_input_token_cost=1 / MILLION,
    input_cost_per_audio_token=30 / MILLION,
    search_context_cost_per_query={"search_context_size_medium": 0.01},
    regional_processing_uplift_multiplier_eu=1.1,
)


@pytest.mark.parametrize(
    ("usage", "more", "amount", "partial"),
    [
        ({"input_uncached": 1000}, {}, 2000, False),
        ({"input_uncached": 300_000}, {}, 600_000, False),
        ({"input_uncached": 1000}, {"service_tier": "batch"}, 1000, True),
        ({"cache_read": 1000}, {}, 2000, True),
        ({"input_uncached": 1000, "audio_in": 1000}, {}, 2000, True),
        ({"input_uncached": 1000}, {"region_kind": "data_residency", "region": "eu"}, 2000, False),
        ({"web_searches": 2}, {}, 20_000, False),
    ],
)
def test_an_override_takes_the_place_of_its_price_in_every_form_and_of_what_falls_back_on_it(
    usage: dict[str, int], more: dict[str, Any], amount: int, partial: bool
) -> None:
    """2 USD in place of 10: for long prompts, cached input (flagged, as it has no price of its own), in every region; searches stay.

    The expected amounts are millionths of a USD.
    """
    engine = engine_of(snapshot("v1", acme__one=LISTED), overrides=(Override("1", "override", "acme", "one", None, prices(2)),))
    quoted = quote(engine, "one", usage=usage, **more)
    assert (quoted.cost_pico, quoted.partial) == (amount * MILLION, partial)


def test_an_override_of_an_image_model_holds_for_its_sizes_too_but_for_one_that_has_its_own() -> None:
    sized = {"1024-x-1024/art": row(0, input_cost_per_image=0.04), "art": row(0, input_cost_per_image=0.02)}
    listed = snapshot("v1")._replace(rows=sized)
    common = Override("1", "override", "acme", "art", None, {"input_cost_per_image": 0.01})
    large = Override("2", "override", "acme", "1024-x-1024/art", None, {"input_cost_per_image": 0.03})
    more: dict[str, Any] = {"usage": {"images": 1}, "image_size": "1024x1024"}
    amounts = [usd(quote(engine_of(listed, overrides=rules), "art", **more)) for rules in ((), (common,), (large,))]
    assert amounts == [0.04, 0.01, 0.03]


def test_an_override_of_one_price_leaves_the_rest_of_the_row() -> None:
    rule = Override("1", "override", "acme", "one", None, {"cache_read_input_token_cost": 0.5 / MILLION})
    engine = engine_of(snapshot("v1", acme__one=LISTED), overrides=(rule,))
    assert usd(quote(engine, "one", usage={"input_uncached": 100_000, "cache_read": 100_000})) == 1.05


def test_a_model_that_is_set_free_is_free_in_every_token() -> None:
    engine = engine_of(snapshot("v1", acme__one=LISTED), overrides=(Override("1", "override", "acme", "one", None, prices(0)),))
    quoted = quote(engine, "one", usage={"input_uncached": 300_000, "cache_read": 5, "cache_write_1h": 7, "audio_in": 3, "output": 9})
    assert (quoted.cost_pico, quoted.method) == (0, "computed")


def test_the_same_lists_under_other_rules() -> None:
    book = PriceBook.of([snapshot("v1", acme__one=row(1))])
    ruled = book.under(HouseRules((Override("1", "override", None, "one", None, prices(2)),)))
    assert [usd(quote(PriceEngine(each), "one")) for each in (book, ruled)] == [1, 2]


# --- aliases ----------------------------------------------------------------------------------------------------------

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"


@pytest.mark.parametrize(
    ("alias", "provider", "model"),
    [
        (Alias("1", "azure", "prod-chat", "azure/gpt-4o"), "azure.ai.openai", "Prod-Chat"),
        (Alias("1", "bedrock", PROFILE, "azure/gpt-4o"), "aws.bedrock", PROFILE),
        (Alias("1", None, "smart", "azure/gpt-4o"), "some-gateway", "smart"),
        (Alias("1", None, "smart", "Azure/GPT-4o"), None, "smart"),
        (Alias("1", "azure", "prod-chat", "azure/gpt-4o"), "litellm", "azure/prod-chat"),
        (Alias("1", "openai", "ft:gpt-4o:acme::id", "azure/gpt-4o"), "openai", "ft:gpt-4o:acme::id"),
    ],
)
def test_an_alias_names_the_row_that_a_name_stands_for(alias: Alias, provider: str | None, model: str) -> None:
    engine = engine_of(snapshot("v1", azure__gpt_4o=row(1, "azure")), aliases=(alias,))
    match = engine.resolve(provider, model)
    assert match is not None
    assert (match.key, match.kind) == ("azure/gpt-4o", "override")


def test_an_alias_comes_before_the_list_and_holds_for_its_provider_and_time() -> None:
    listed = snapshot("v1", acme__one=row(1), acme__two=row(2), other__one=row(3, "other"))
    engine = engine_of(listed, aliases=(Alias("1", "acme", "one", "acme/two", JUNE, JULY),))
    assert [usd(quote(engine, "one", at)) for at in (MAY, JUNE, JULY)] == [1, 2, 1]
    assert usd(quote(engine, "one", JUNE, provider="other")) == 3


def test_an_alias_to_nothing_leaves_the_name_unpriced_until_there_is_a_price() -> None:
    alias = Alias("1", None, "one", "acme/gone")
    assert quote(engine_of(snapshot("v1", acme__one=row(1)), aliases=(alias,)), "one").unpriced_reason == "unknown_model"
    priced = Override("2", "override", None, "acme/gone", None, prices(5))
    assert usd(quote(engine_of(snapshot("v1"), aliases=(alias,), overrides=(priced,)), "one")) == 5
