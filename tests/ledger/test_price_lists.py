"""Price lists become part of the book whole or not at all; what was charged stays, and every process goes on with the new book."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ledger_rig import Rig, call
from price_lists import BASE, ROWS, Prices, row
from sqlalchemy.exc import DBAPIError

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.ledger import price_store
from otel_finops.pricing.diff import price_changes
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock

DOLLAR = 10**12
DEARER = {**ROWS, "gpt-4o": row(3)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def prices(store: Store, clock: FakeClock) -> Prices:
    return Prices(store, clock)


def last(store: Store) -> price_store.Attempt | None:
    with store.read() as transaction:
        return price_store.last_attempt(transaction)


def test_a_list_changes_prices_from_its_moment_on_and_none_before(prices: Prices, clock: FakeClock) -> None:
    clock.advance(3600)
    done = prices.refresh(DEARER)
    assert (done.outcome, [change.key for change in done.diff.changed], done.diff.new, done.diff.gone) == ("activated", ["gpt-4o"], (), ())
    assert prices.cost("gpt-4o", NOON) == prices.cost("gpt-4o", clock.now_ns() - 1) == 2.5 * DOLLAR
    assert prices.cost("gpt-4o", clock.now_ns()) == 3 * DOLLAR
    assert prices.cost("gpt-4.1", clock.now_ns()) == 2 * DOLLAR, "what the list does not change holds on"


def test_it_may_hold_from_another_moment(prices: Prices, clock: FakeClock) -> None:
    tomorrow = NOON + 86_400 * 10**9
    prices.refresh(DEARER, valid_from_ns=tomorrow)
    assert (prices.cost("gpt-4o", tomorrow - 1), prices.cost("gpt-4o", tomorrow)) == (2.5 * DOLLAR, 3 * DOLLAR)


def test_who_waited_for_another_refresh_comes_after_it(prices: Prices, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list holds from when it could be activated, not from when it began to wait, so that activations are in the order of time."""
    monkeypatch.setattr(price_store, "lock", lambda transaction: clock.advance(5))
    done = prices.refresh(DEARER)
    assert done.activation is not None
    assert done.activation.activated_ns == done.activation.valid_from_ns == clock.now_ns() == NOON + 5 * 10**9


def test_a_new_row_holds_from_the_beginning_and_one_that_went_answers_as_retired(prices: Prices, clock: FakeClock) -> None:
    new = {**{key: fields for key, fields in ROWS.items() if key != "gpt-4.1"}, "gpt-6": row(7)}
    done = prices.refresh(new)
    assert (done.diff.new, done.diff.gone) == (("gpt-6",), ("gpt-4.1",))
    assert prices.cost("gpt-6", NOON - 10**18) == 7 * DOLLAR
    assert prices.cost("gpt-4.1", clock.now_ns()) == 2 * DOLLAR


def test_a_dry_run_says_the_same_and_changes_nothing(prices: Prices, store: Store, clock: FakeClock) -> None:
    dry = prices.refresh(DEARER, dry_run=True)
    assert last(store) is None
    with store.read() as transaction:
        assert price_store.revision(transaction) == 0
    assert dry.diff == prices.refresh(DEARER).diff


def test_every_process_goes_on_with_the_new_book(prices: Prices, store: Store, clock: FakeClock) -> None:
    other = Prices(store, clock)
    before = other.current()
    prices.refresh(DEARER)
    assert other.current() is before, "what is asked for every batch asks no database"
    assert other.cost("gpt-4o", clock.now_ns()) == 3 * DOLLAR
    assert other.current() is other.current.fresh() is not before


def test_a_transaction_that_began_earlier_brings_no_older_book_back(prices: Prices, store: Store, clock: FakeClock) -> None:
    prices.refresher.adopt("serve")
    with store.read() as earlier:
        price_store.revision(earlier)
        prices.refresh(DEARER)
        newer = prices.current.fresh()
        assert prices.current.seen_by(earlier) is prices.current() is newer


def test_the_list_of_before_can_be_made_active_again(prices: Prices, store: Store, clock: FakeClock) -> None:
    first, second = clock.now_ns(), NOON + 10**9
    prices.refresh(DEARER)
    clock.advance(1)
    made, stored, diff = prices.refresher.activate_again(BASE.version, valid_from_ns=None, who="ann")
    assert made is not None
    assert (stored.version, [change.key for change in diff.changed]) == (BASE.version, ["gpt-4o"])
    assert (prices.cost("gpt-4o", first), prices.cost("gpt-4o", second)) == (3 * DOLLAR, 2.5 * DOLLAR)
    assert prices.refresher.activate_again("bbbb", valid_from_ns=None, who="ann")[0] is None, "it is active already"
    with pytest.raises(NotFound, match="no stored price list of the version 'cccc'"):
        prices.refresher.activate_again("cccc", valid_from_ns=None, who="ann")
    with store.read() as transaction:
        assert [(one.cause, one.stored.version) for one in price_store.activations(transaction)] == [
            ("base", BASE.version), ("refresh", sha256(json.dumps(DEARER, indent=1).encode()).hexdigest()[:16]), ("again", BASE.version),
        ]  # fmt: skip
        assert [one.rows for one in price_store.stored_lists(transaction)] == [5, 5], "old lists are kept, none twice"


def test_the_same_list_once_more_changes_nothing(prices: Prices, store: Store) -> None:
    prices.refresh(DEARER)
    assert prices.refresh(DEARER).outcome == "unchanged"
    with store.read() as transaction:
        assert price_store.revision(transaction) == 2


def test_two_refreshes_at_once_activate_one(prices: Prices, store: Store, clock: FakeClock) -> None:
    processes = [Prices(store, clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda one: one.refresh(DEARER).outcome, processes))
    assert sorted(outcomes) == ["activated", "unchanged", "unchanged", "unchanged"]
    with store.read() as transaction:
        assert [one.cause for one in price_store.activations(transaction)] == ["base", "refresh"]


# --- what is refused ---------------------------------------------------------------------------------------------------

TEXT = json.dumps(DEARER, indent=1)
FEWER = {key: ROWS[key] for key in list(ROWS)[:3]}
IN = "input_cost_per_token"
REFUSED: dict[str, tuple[str, str]] = {
    "an unknown unit": (TEXT.replace(IN, "input_cost_per_smell", 1), "line 2: row 'gpt-4o': input_cost_per_smell is a unit"),
    "a negative price": (TEXT.replace(": 3e-06", ": -3e-06"), f"line 2: row 'gpt-4o': {IN} is negative (-3e-06)"),
    "a price that is no number": (TEXT.replace(": 3e-06", ': "3e-06"'), f"line 2: row 'gpt-4o': {IN} is no number"),
    "an infinite price": (TEXT.replace(": 3e-06", ": 1e999"), f"line 2: row 'gpt-4o': {IN} is not finite (inf)"),
    "NaN": (TEXT.replace(": 3e-06", ": NaN"), "line 5: NaN is no number"),
    "a row twice": (TEXT.replace('"gpt-4.1"', '"gpt-4o"'), "line 8: 'gpt-4o' stands twice in one object"),
    "a row twice but for capitals": (TEXT.replace('"gpt-4.1"', '"GPT-4o"'), "line 8: row 'GPT-4o': stands twice but for capitals"),
    "a list that shrank": (json.dumps(FEWER), "the list shrank from 5 to 3 rows (40%, allowed are 20%). Nothing was changed; look"),
    "a jump": (
        TEXT.replace("1e-06", "1.1e-05", 1), f"line 14: row 'acme/one': {IN} goes from 0.000001 to 0.000011 USD, by more than x10",
    ),
    "another unit": (
        TEXT.replace("3e-06", "3"),
        f"openai gpt-4o: {IN} is 3e+06 USD for a million tokens, known is 2.5: USD for a million tokens taken for USD for one",
    ),
    "a row without provider": (TEXT.replace('"litellm_provider": "openai",', "", 1), "line 2: row 'gpt-4o': no litellm_provider"),
    "no list": ('{"a": 1}', "list.json: no price list that is known by its form"),
    "an empty list": ('{"data": []}', "list.json: no price list that is known by its form"),
    "hours that are none": (
        TEXT.replace('"mode": "chat"', '"mode": "chat", "off_peak_pricing": {"hours_utc": "noon"}', 1), "row 'gpt-4o': ValueError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_place_and_reason_and_the_book_stays(prices: Prices, store: Store, case: str) -> None:
    text, told = REFUSED[case]
    before = prices.current.fresh()
    with pytest.raises(BadInput) as raised:
        prices.refresh(text.encode())
    assert told in str(raised.value)
    assert prices.current.fresh() is before
    attempt = last(store)
    assert attempt is not None
    assert (attempt.outcome, attempt.origin, attempt.who, attempt.detail) == ("refused", "list.json", "ann", str(raised.value)[:1000])


def test_one_changed_byte_is_refused_where_the_digest_is_known(prices: Prices, store: Store) -> None:
    wanted = sha256(TEXT.encode()).hexdigest()
    tampered = TEXT.replace("3e-06", "4e-06").encode()
    with pytest.raises(BadInput, match=f"its sha256 is {sha256(tampered).hexdigest()}, not {wanted}: it is another file, or was changed"):
        prices.refresh(tampered, sha256=wanted)
    assert prices.refresh(TEXT.encode(), sha256=wanted).outcome == "activated"


@pytest.mark.parametrize("case", ["a list that shrank", "a jump", "another unit"])
def test_what_the_guards_doubt_is_taken_when_somebody_accepts_it(prices: Prices, case: str) -> None:
    text, told = REFUSED[case]
    assert prices.refresh(text.encode(), dry_run=True).doubts, "a dry run tells it"
    done = prices.refresh(text.encode(), accept=True)
    assert done.outcome == "activated"
    assert any(told.partition(". Nothing")[0] in doubt for doubt in done.doubts)


def test_a_row_with_an_unknown_unit_can_be_left_out_alone(prices: Prices, clock: FakeClock) -> None:
    done = prices.refresh(REFUSED["an unknown unit"][0].encode(), accept=True)
    assert dict(done.one.said.left_out) == {"gpt-4o": "input_cost_per_smell is a unit that this version does not know"}
    assert prices.cost("gpt-4o", clock.now_ns()) == 2.5 * DOLLAR, "its old row answers, as a retired one"


# --- several lists, and lists that come with the program -----------------------------------------------------------------


def test_a_list_of_another_publisher_fills_gaps_and_wins_over_nothing(prices: Prices, clock: FakeClock) -> None:
    other = {"prices": [{"id": name, "vendor": "openai", "input": usd, "output": 9} for name, usd in (("gpt-4o", 9), ("o9", 4))]}
    done = prices.refresh(json.dumps(other).encode(), accept=True)
    assert (done.one.source, done.differing) == ("llm_prices", ("openai/gpt-4o",))
    assert (prices.cost("gpt-4o", clock.now_ns()), prices.cost("o9", clock.now_ns())) == (2.5 * DOLLAR, 4 * DOLLAR)
    assert prices.refresh(DEARER).diff.gone == (), "a list is compared with the former one of its own source"
    assert (prices.cost("gpt-4o", clock.now_ns()), prices.cost("o9", clock.now_ns())) == (3 * DOLLAR, 4 * DOLLAR)


def test_a_newer_program_brings_its_list_like_a_refresh_and_an_older_one_takes_nothing_back(store: Store, clock: FakeClock) -> None:
    Prices(store, clock).refresher.adopt("serve")
    clock.advance(10)
    newer = BASE._replace(version="c" * 16, date="2026-11-15", rows=DEARER)
    upgraded = Prices(store, clock, newer)
    assert upgraded.cost("gpt-4o", clock.now_ns()) == 3 * DOLLAR, "also before anybody wrote it down"
    assert upgraded.refresher.adopt("serve") is not None
    assert upgraded.refresher.adopt("serve") is None
    assert (upgraded.cost("gpt-4o", NOON), upgraded.cost("gpt-4o", clock.now_ns())) == (2.5 * DOLLAR, 3 * DOLLAR)
    old = Prices(store, clock)
    assert old.refresher.adopt("serve") is None
    assert old.cost("gpt-4o", clock.now_ns()) == 3 * DOLLAR


# --- charges ------------------------------------------------------------------------------------------------------------


def dump(rig: Rig) -> str:
    with rig.store.read() as transaction:
        return repr(transaction.execute("SELECT * FROM entries ORDER BY shard, block_seq, idx"))


def test_history_is_the_same_bytes_after_a_price_change(store: Store) -> None:
    rig = Rig(store)
    prices = Prices(store, rig.clock)
    rig.use(prices.current.fresh)
    (first,) = rig.settle(call(1, trace=1, parent=9))
    before, canonical = dump(rig), rig.canonical()
    prices.refresh(DEARER, valid_from_ns=0)
    rig.settle(call(1, trace=1, parent=9), call(2, trace=1, parent=9, at_s=3))
    assert dump(rig).startswith(before[:-1]), "a late span settles the trace again and touches nothing that stands"
    assert rig.canonical()[0] == canonical[0]
    assert (first.cost_pico, first.price_version) == (3_500_000_000, BASE.version)
    late = rig.net()[f"{2:016x}"]
    assert late.cost_pico == 4_000_000_000, "1,000 in at 3 USD a million, 100 out at 10: 0.003 + 0.001"
    assert late.price_version != BASE.version


def test_a_call_is_charged_by_its_own_moment_however_late_it_settles(store: Store) -> None:
    rig = Rig(store)
    prices = Prices(store, rig.clock)
    rig.use(prices.current.fresh)
    rig.send(call(1, trace=1), call(2, trace=2, at_s=3600))
    rig.clock.advance(1800)
    prices.refresh(DEARER)
    rig.clock.advance(1800)
    rig.settler.settle_all()
    charged = {span: (entry.cost_pico, entry.price_version) for span, entry in rig.net().items()}
    assert charged[f"{1:016x}"] == (3_500_000_000, BASE.version), "it began half an hour before the change"
    assert charged[f"{2:016x}"] == (4_000_000_000, prices.current().version)


@pytest.mark.parametrize("table", ["price_snapshots", "price_activations", "price_refreshes", "price_watches"])
def test_what_is_on_record_cannot_be_changed(prices: Prices, store: Store, table: str) -> None:
    prices.refresh(DEARER)
    with store.write() as transaction:
        transaction.execute("INSERT INTO price_watches (tenant, model, at_ns, who) VALUES ('*', 'm', 1, 'ann')")
    column = "source" if table == "price_snapshots" else "who"
    for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 'eve'"):
        with store.engine.connect().execution_options(write=True) as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.exec_driver_sql(sql)


# --- other people's data ----------------------------------------------------------------------------------------------


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_every_change_between_real_releases_is_told(oracle: Path) -> None:
    found = records(oracle, "litellm_price_changes.jsonl")
    assert len(found) > 500
    for one in found:
        before, after = ({name: pair[side] for name, pair in one["changes"].items() if pair[side] is not None} for side in (0, 1))
        told = {change.field: [change.before, change.after] for change in price_changes(before, after)}
        assert told == one["changes"], one["model"]


def test_rows_that_real_lists_dropped_go_on_pricing_old_traces(store: Store, clock: FakeClock, oracle: Path) -> None:
    gone = {one["model"]: one["row"] for one in records(oracle, "litellm_retired_rows.jsonl")}
    prices = Prices(store, clock, BASE._replace(rows={**ROWS, **gone}))
    done = prices.refresh(dict(ROWS), accept=True)
    assert len(done.diff.gone) == len(gone) > 600
    book = prices.current.fresh().book
    for key, fields in gone.items():
        found = book.retired(key.lower(), clock.now_ns())
        assert found is not None, key
        assert found.fields == fields
