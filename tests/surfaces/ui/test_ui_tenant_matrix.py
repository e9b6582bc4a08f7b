"""T35 on pages: nothing that one tenant's admin opens in the console, sends by its forms or takes as a file has a mark of the other tenant.

The world is that of the matrix of operations, which asks every operation with everything that can name something of a tenant. Pages put
operations together, look up names, count what waits and say what could be chosen; so each page is opened as it is, with the other tenant
chosen, and with every number and name of the other's in its path or query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from e2e_service import Service
from test_t35_tenant_matrix import ASKER, LOOKUPS, NAMES, NOBODYS_NUMBER, OTHER, Twins
from two_tenants import bearer, marks, token, trace, two_tenants

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui import pages as _pages  # noqa: F401 - registers them
from otel_finops.surfaces.ui.page import PAGES, Declared
from otel_finops.surfaces.ui.session import TOKEN_COOKIE

OPENED = [one for one in PAGES if not one.changes]
ACTIONS = [one for one in PAGES if one.changes]
STREAMS = [one.name for one in OPERATIONS if one.streams]
WORDS = {"kind": "alias", "job": "settle", "rule": "1"}
"""Fields of paths that can mean nothing of a tenant."""
DEEDS = {"approvals": "approve", "credits": "topup"}
RANGE = {"range": "90d"}
ASKING = {"wait": "1", "dry_run": "false", "do": "book", "why": "x", "model": "gpt-4o", "name": "x", "key": "openai/gpt-4o"}
"""What a form that changes something would say."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with two_tenants(tmp_path_factory.mktemp("matrix")) as one:
        yield one


@pytest.fixture(scope="module")
def console(service: Service) -> Iterator[httpx.Client]:
    """The browser of the asker's admin."""
    with httpx.Client(
        base_url=service.web, timeout=60, cookies={TOKEN_COOKIE: token(ASKER)}, headers={"Sec-Fetch-Site": "same-origin"}
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def things(service: Service) -> dict[tuple[str, str], Twins]:
    """By room and parameter: the other's, and one of the asker's own."""
    found = {}
    with httpx.Client(base_url=f"{service.web}/api/v1/", timeout=60) as api:
        for (room, name), (path, many, field, _) in LOOKUPS.items():
            theirs, own = (api.get(path, headers=bearer(token(tenant))).json()[many] for tenant in (OTHER, ASKER))
            values = [next((row[field] for row in rows if row[field] is not None), NOBODYS_NUMBER) for rows in (theirs, own)]
            found[room, name] = Twins(*values)
    return found


def filled(one: Declared, things: dict[tuple[str, str], Twins], *, foreign: bool) -> str:
    """The path of a page with values of the other's or of the asker's own."""
    room = one.needs[0].partition(".")[0]

    def value(match: re.Match[str]) -> str:
        name = match[1].removesuffix(":path")
        if name in WORDS or name == "deed":
            return WORDS.get(name) or DEEDS[room]
        if name == "trace_id":
            return trace(OTHER if foreign else ASKER, 1).hex()
        twins: Twins = things.get((room, name)) or NAMES[name]
        said = twins.foreign if foreign else twins.nobodys
        return str(said if foreign or name not in NAMES else str(said).replace("nobody", "zebra"))

    return re.sub(r"\{([^}]+)\}", value, one.path)


def told(answer: httpx.Response, *asked: Any) -> list[str]:
    """Marks of the other tenant in an answer, besides what was asked for."""
    text = f"{answer.text} {answer.headers}".lower()
    for word in sorted({word for one in asked for word in re.findall(r"[\w-]+", str(one).lower())}, key=len, reverse=True):
        text = text.replace(word, "")
    return [mark for mark in marks(OTHER) if mark in text]


@pytest.mark.parametrize("one", OPENED, ids=lambda one: one.path)
def test_t35_a_page_shows_nothing_of_the_others(console: httpx.Client, things: dict[tuple[str, str], Twins], one: Declared) -> None:
    path = filled(one, things, foreign=False)
    plain = console.get(path, params=RANGE)
    assert plain.status_code in (200, 403, 404), plain.text
    assert not told(plain), plain.text
    chosen = console.get(path, params={**RANGE, "tenant": OTHER})
    assert chosen.status_code < 500, chosen.text
    assert not told(chosen, OTHER), chosen.text
    if "{" in one.path and (theirs := filled(one, things, foreign=True)) != path:
        answer = console.get(theirs, params=RANGE)
        assert answer.status_code == 404 or one.path.startswith("/prices/{"), answer.text
        assert not told(answer, *theirs.split("/")), answer.text


def test_opening_pages_changes_nothing(service: Service, console: httpx.Client, things: dict[tuple[str, str], Twins]) -> None:
    """Whatever a link, a picture or a preview of a chat opens: the trail has a line for each change that anybody makes."""

    def changes() -> int:
        return service.database.number(f"SELECT COUNT(*) FROM audit_entries WHERE who LIKE '%boss of {ASKER}%'")

    before = changes()
    assert before
    for one in OPENED:
        for query in (
            {},
            {"wait": "1", "dry_run": "false", "do": "book", "why": "x", "model": "gpt-4o", "name": "x", "key": "openai/gpt-4o"},
        ):
            assert console.get(filled(one, things, foreign=False), params=query).status_code < 500
    assert changes() == before


@pytest.mark.parametrize("one", ACTIONS, ids=lambda one: one.path)
def test_t35_a_form_changes_and_tells_nothing_of_the_others(
    console: httpx.Client, things: dict[tuple[str, str], Twins], one: Declared
) -> None:
    room = one.needs[0].partition(".")[0]
    path = filled(one, things, foreign=True)
    fields = {name: twins.foreign for (of, name), twins in things.items() if of == room and f"{{{name}}}" not in one.path}
    answer = console.post(path, data={"tenant": OTHER, "dry_run": "true", "why": "for a try", **fields})
    assert answer.status_code < 500, answer.text
    if "{no}" in one.path or "{approval_id}" in one.path or "{rule}" in one.path:
        assert answer.status_code in (403, 404), answer.text
    assert not told(answer, OTHER, *path.split("/"), *fields.values()), answer.text


@pytest.mark.parametrize("name", STREAMS)
def test_t35_a_file_holds_nothing_of_the_others(console: httpx.Client, name: str) -> None:
    for query in ({}, {"tenant": OTHER}, {"realm": OTHER}):
        answer = console.get(f"/download/{name}", params={"from": "2020-01-01", "month": "2026-11", **query})
        assert answer.status_code < 500, answer.text
        assert not told(answer, OTHER), answer.text


def test_t35_the_stream_of_charges_tells_nothing_of_the_others(console: httpx.Client) -> None:
    for query in ({}, {"tenant": OTHER}):
        with console.stream("GET", "/live/events", params=query) as answer:
            lines = answer.iter_lines()
            said = "".join(next(lines) for _ in range(5))
        assert ("zebra" in said) == (not query)
        assert "walrus" not in said


@pytest.mark.long
@pytest.mark.parametrize("one", OPENED, ids=lambda one: one.path)
def test_t35_no_name_of_the_others_in_a_query_tells_anything(
    console: httpx.Client, things: dict[tuple[str, str], Twins], one: Declared
) -> None:
    path = filled(one, things, foreign=False)
    asked = [*((name, twins.foreign) for (_, name), twins in things.items()), *((name, twins.foreign) for name, twins in NAMES.items())]
    for name, value in asked:
        answer = console.get(path, params={**RANGE, name: str(value)})
        assert answer.status_code < 500, f"{name}: {answer.text}"
        assert not told(answer, value, str(value)[2:-2]), f"{name}: {answer.text}"
