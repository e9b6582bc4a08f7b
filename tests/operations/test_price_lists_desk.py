"""Refreshing by the clock, over the API and by file: who may fetch what, and what is on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from price_lists import BASE, ROWS, Prices, row

from otel_finops.base.errors import BadInput
from otel_finops.operations.price_lists import PriceLists
from otel_finops.settings.tree import Prices as PriceSettings
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock


def desk(store: Store, clock: FakeClock, *, anywhere: bool = False, **settings: Any) -> PriceLists:
    return PriceLists(store, Prices(store, clock).current, PriceSettings(**settings), anywhere=anywhere)


@pytest.fixture
def clock(store: Store) -> FakeClock:
    assert isinstance(store.clock, FakeClock)
    return store.clock


def written(folder: Path, rows: dict[str, Any]) -> str:
    file = folder / "list.json"
    file.write_text(json.dumps(rows))
    return str(file)


def test_the_clock_refreshes_once_in_its_hours_whoever_asks(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    place = written(tmp_path, {**ROWS, "gpt-4o": row(3)})
    one, other = (desk(store, clock, refresh_from=place, refresh_hours=24.0) for _ in range(2))
    assert one.refresh_by_the_clock() == "list.json: activated: 0 new, 1 changed, 0 gone"
    assert (one.refresh_by_the_clock(), other.refresh_by_the_clock()) == ("not yet", "not yet")
    clock.advance(24 * 3600)
    assert other.refresh_by_the_clock() == "list.json: unchanged: 0 new, 0 changed, 0 gone"
    assert other.trouble() is None
    last = one.status().last
    assert last is not None
    assert (last.who, last.outcome) == ("scheduler", "unchanged")


def test_what_the_clock_finds_wrong_is_told_and_tried_again_sooner_when_it_could_not_be_had(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    one = desk(store, clock, refresh_from=str(tmp_path / "list.json"), refresh_hours=24.0)
    with pytest.raises(BadInput, match=r"list\.json: cannot be read: No such file"):
        one.refresh_by_the_clock()
    assert one.trouble() == "the last refresh failed: list.json: cannot be read: No such file or directory"
    clock.advance(3600)
    written(tmp_path, {key: ROWS[key] for key in list(ROWS)[:2]})
    with pytest.raises(BadInput, match="the list shrank from 5 to 2 rows"):
        one.refresh_by_the_clock()
    assert (one.trouble() or "").startswith("the last refresh refused: list.json: the list shrank")
    clock.advance(3600)
    assert one.refresh_by_the_clock() == "not yet"
    assert one.status().status.version == BASE.version


def test_over_the_api_nothing_is_fetched_but_what_the_settings_name(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    place = written(tmp_path, dict(ROWS))
    for settings in ({}, {"refresh_from": place}):
        with pytest.raises(BadInput, match=r"from prices\.refresh_from only"):
            desk(store, clock, **settings).fetched("https://169.254.169.254/latest", None, who="eve")
    assert desk(store, clock, refresh_from=place).fetched(None, None, who="ann")[1] == "list.json"
    with pytest.raises(BadInput, match="say where the list is"):
        desk(store, clock, anywhere=True).fetched(None, None, who="ann")


def test_the_age_is_that_of_the_active_list(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    one = desk(store, clock, refresh_from=written(tmp_path, {**ROWS, "gpt-4o": row(3)}))
    assert one.status().status.age_s(clock.now_ns()) == 20.5 * 86_400, "from 1 November to noon of the 21st"
    one.refresh_by_the_clock()
    assert one.status().status.age_s(clock.now_ns()) == 0.5 * 86_400, "a list without a day is of the day on which it was taken"
