"""Tokens by the verbs: who may make which, what goes on record, and pages over stored tokens and those of the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.identity.live import LiveTokens
from otel_finops.identity.principals import LOCAL, Principal, Principals
from otel_finops.identity.roles import ROLES
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.first_admin import first_admin
from otel_finops.operations.local import Room, open_room, upgrade_database
from otel_finops.operations.registry import Json, invoke
from otel_finops.settings import load
from otel_finops.testing import FakeClock

ACME_ADMIN = Principal("boss", ("acme", "hooli"), ROLES["admin"])
LISTED = {
    "OTEL_FINOPS_AUTH__TOKENS": json.dumps([
        {"token_sha256": sha256(b"one").hexdigest(), "tenants": ["acme"], "role": "viewer", "name": "ops"},
        {"token_sha256": sha256(b"two").hexdigest(), "tenants": ["*"], "role": "manager"},
    ]),
    "OTEL_FINOPS_AUTH__SENDERS": json.dumps([{"token_sha256": sha256(b"three").hexdigest(), "tenants": ["acme"]}]),
}  # fmt: skip


def opened(folder: Path, clock: FakeClock, **environ: str) -> Any:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder}/ledger.db", "OTEL_FINOPS_AUTH__MODE": "token", **environ})
    upgrade_database(settings, clock)
    return open_room(settings, clock=clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def room(tmp_path: Path, clock: FakeClock) -> Iterator[Room]:
    with opened(tmp_path, clock, **LISTED) as room:
        yield room


def run(room: Room, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    return invoke(one, room.context, principal, one.input.model_validate(given), origin="test")


def audited(room: Room) -> list[tuple[Any, ...]]:
    with room.store.read() as transaction:
        return [row for row in transaction.execute("SELECT * FROM audit_entries") if '"what":"tokens.' in str(row)]


def board(room: Room, principal: Principal = LOCAL, **more: Any) -> Json:
    return run(room, "tokens.create", principal, **{"name": "board", "role": "viewer", "tenants": ["acme"], **more})


# --- making --------------------------------------------------------------------------------------------------------


def test_the_token_is_in_the_answer_and_nowhere_else(room: Room) -> None:
    answer = board(room, days=90)
    secret = answer["secret"]
    assert answer["made"] == {
        "no": 1, "source": "stored", "name": "board", "prefix": secret[:12], "role": "viewer", "tenants": ["acme"], "state": "active",
        "made_at": "2026-11-21T12:00:00.000000000Z", "made_by": "local", "replaces": None, "expires_at": "2027-02-19T12:00:00.000000000Z",
        "revoked_at": None, "revoked_by": None, "last_used_at": None,
    }  # fmt: skip
    run(room, "tokens.rotate", no=1)
    run(room, "tokens.revoke", no=1, why=f"found: {secret}")
    assert secret not in str(audited(room))
    assert sha256(secret.encode()).hexdigest() not in str(audited(room))
    assert len(audited(room)) == 3


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"tenants": ["globex"]}, NotFound),
        ({"tenants": ["acme", "globex"]}, NotFound),
        ({"tenants": "*"}, Forbidden),
        ({"tenants": ["*", "acme"]}, Forbidden),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_nobody_hands_on_tenants_that_are_not_his(room: Room, given: dict[str, Any], fault: type[Exception], dry_run: bool) -> None:
    with pytest.raises(fault):
        board(room, ACME_ADMIN, dry_run=dry_run, **given)
    with pytest.raises(fault):
        run(room, "senders.create", ACME_ADMIN, name="shop", dry_run=dry_run, **given)
    assert run(room, "tokens.list")["tokens"][0]["source"] == "settings"


def test_nobody_hands_on_a_permission_that_he_has_not(room: Room) -> None:
    halved = Principal("half", None, frozenset(("admin", "view")))
    with pytest.raises(Forbidden, match="you have not the permission approve, ingest, manage"):
        board(room, halved, role="manager")
    with pytest.raises(Forbidden, match="ingest"):
        run(room, "senders.create", halved, name="shop", tenants=["acme"])
    assert board(room, halved)["made"]["no"] == 1
    assert board(room, role="manager")["made"]["no"] == 2
    with pytest.raises(Forbidden, match="you have not the permission"):
        run(room, "tokens.rotate", halved, no=2)


@pytest.mark.parametrize("more", [{}, {"days": 2}, {"expires": "2026-11-22T12:00:00.000000001Z"}])
def test_nobody_hands_on_for_longer_than_he_has(room: Room, more: dict[str, Any]) -> None:
    """The clock stands at noon of 2026-11-21 and the admin's own token is made for one day: one who finds it has that day."""
    brief = board(room, role="admin", tenants="*", days=1)
    run(room, "senders.create", name="shop", tenants="acme")
    live = LiveTokens(room.store, FakeClock())
    live.fresh()
    admin = Principals(room.context.settings.auth, live)(brief["secret"])
    for verb, given in (
        ("tokens.create", {"name": "board", "role": "viewer", "tenants": ["acme"]}),
        ("senders.create", {"name": "shop", "tenants": ["acme"]}),
        ("tokens.rotate", {"no": 1}),
        ("senders.rotate", {"no": 1}),
    ):
        longer = more or ({"days": 2} if verb == "tokens.rotate" else {})  # a successor of the one day's token would have a day
        for dry_run in (True, False):
            with pytest.raises(Forbidden, match=r"your own token ends at 2026-11-22T12:00:00.000000000Z. Say `expires`"):
                run(room, verb, admin, **given, **longer, dry_run=dry_run)
        assert run(room, verb, admin, **given, expires="2026-11-22T12:00:00Z")["made"]["expires_at"] == "2026-11-22T12:00:00.000000000Z"


def test_an_admin_of_tenants_makes_tokens_for_these(room: Room) -> None:
    assert board(room, ACME_ADMIN, tenants="hooli, acme", role="admin")["made"]["tenants"] == ["hooli", "acme"]
    assert run(room, "senders.create", ACME_ADMIN, name="shop", tenants="acme")["made"]["tenants"] == ["acme"]


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""}, {"name": " "}, {"name": "a\nb"}, {"name": "x" * 257}, {"role": "root"}, {"tenants": []}, {"tenants": ""},
        {"tenants": "acme,,x"}, {"tenants": ["a\0"]}, {"tenants": 7},
        {"tenants": [f"t{n}" for n in range(257)]}, {"tenants": ",".join(f"t{n}" for n in range(257))},
        {"days": 0}, {"days": 3_661}, {"expires": "tomorrow"}, {"no": 1},
    ],
)  # fmt: skip
def test_input_that_makes_no_sense_is_refused(room: Room, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        board(room, **given)


@pytest.mark.parametrize(
    ("given", "says"),
    [({"days": 1, "expires": "2027-01-01"}, "not both"), ({"expires": "2026-11-21"}, "this instant is over")],
)
def test_a_token_ends_at_one_instant_that_lies_ahead(room: Room, given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        board(room, **given)


def test_no_sender_is_the_tenant_of_spans_without_one(room: Room) -> None:
    with pytest.raises(ValidationError, match="the tenant 'default'"):
        run(room, "senders.create", name="shop", tenants="default,acme")


def test_a_dry_run_makes_nothing(room: Room) -> None:
    answer = board(room, dry_run=True)
    assert (answer["secret"], answer["made"]["no"], answer["made"]["prefix"], answer["dry_run"]) == (None, None, None, True)
    assert audited(room) == []


# --- rotating and revoking -----------------------------------------------------------------------------------------


def test_a_successor_lasts_as_long_as_the_former_one_was_made_for_unless_it_is_said(room: Room, clock: FakeClock) -> None:
    board(room, days=10)
    clock.advance(9 * 86_400)
    answer = run(room, "tokens.rotate", no=1, overlap_hours=1)
    assert (answer["made"]["expires_at"], answer["made"]["replaces"]) == ("2026-12-10T12:00:00.000000000Z", 1)
    assert answer["replaced"]["expires_at"] == "2026-11-30T13:00:00.000000000Z"
    assert run(room, "tokens.rotate", no=2, expires="2027-01-01")["made"]["expires_at"] == "2027-01-01T00:00:00.000000000Z"
    board(room)
    assert run(room, "tokens.rotate", no=4)["made"]["expires_at"] is None


def test_revoking_twice_goes_on_record_once(room: Room) -> None:
    board(room)
    first, second = (run(room, "tokens.revoke", no=1) for _ in range(2))
    assert first == second
    assert first["revoked"]["state"] == "revoked"
    assert len(audited(room)) == 2


@pytest.mark.parametrize("verb", ["revoke", "rotate"])
@pytest.mark.parametrize("room_name", ["tokens", "senders"])
def test_tokens_that_reach_others_are_not_found(room: Room, room_name: str, verb: str) -> None:
    for tenants in ("*", "globex", "acme,globex"):
        run(room, f"{room_name}.create", name="one", tenants=tenants, **({"role": "viewer"} if room_name == "tokens" else {}))
    for no in (1, 2, 3, 4):
        with pytest.raises(NotFound, match=f"There is no stored token {no}: {room_name}.list shows them. Those of the settings"):
            run(room, f"{room_name}.{verb}", ACME_ADMIN, no=no)


# --- listing -------------------------------------------------------------------------------------------------------


def rows(page: Json) -> list[Any]:
    return [row["no"] or row["name"] for row in page["tokens"]]


def test_stored_tokens_come_first_and_then_those_of_the_settings(room: Room) -> None:
    for _ in range(3):
        board(room)
    unnamed = f"token {sha256(b'two').hexdigest()[:8]}"
    assert rows(run(room, "tokens.list")) == [3, 2, 1, "ops", unnamed]
    for limit in (1, 2, 3, 4):
        seen: list[Any] = []
        page = run(room, "tokens.list", limit=limit)
        while page["next_cursor"]:
            assert len(page["tokens"]) == limit
            seen += rows(page)
            page = run(room, "tokens.list", limit=limit, cursor=page["next_cursor"])
        assert seen + rows(page) == [3, 2, 1, "ops", unnamed]
    assert rows(run(room, "senders.list")) == [f"sender {sha256(b'three').hexdigest()[:8]}"]


def test_tokens_of_the_settings_show_whose_they_are_and_nothing_of_the_token(room: Room) -> None:
    [ops, _] = run(room, "tokens.list")["tokens"]
    nothing = dict.fromkeys(("no", "prefix", "made_at", "made_by", "replaces", "expires_at", "revoked_at", "revoked_by", "last_used_at"))
    assert ops == {**nothing, "source": "settings", "name": "ops", "role": "viewer", "tenants": ["acme"], "state": "active"}


def test_an_admin_of_tenants_sees_tokens_that_reach_these_alone(room: Room) -> None:
    for tenants in ("acme", "*", "acme,globex", "hooli,acme"):
        board(room, tenants=tenants)
    assert rows(run(room, "tokens.list", ACME_ADMIN)) == [4, 1, "ops"]
    assert rows(run(room, "tokens.list", ACME_ADMIN, limit=1)) == [4]


def test_lists_are_filtered_by_state_and_beginning(room: Room, clock: FakeClock) -> None:
    prefix = board(room)["made"]["prefix"]
    board(room, days=1)
    board(room)
    run(room, "tokens.revoke", no=3)
    clock.advance(86_400)
    assert rows(run(room, "tokens.list", state="active"))[:2] == [1, "ops"]
    assert rows(run(room, "tokens.list", state="expired")) == [2]
    assert rows(run(room, "tokens.list", state="revoked")) == [3]
    assert rows(run(room, "tokens.list", prefix=prefix)) == [1]
    with pytest.raises(ValidationError):
        run(room, "tokens.list", prefix="x" * 13)


def test_a_cursor_of_another_list_is_refused(room: Room) -> None:
    board(room)
    board(room)
    cursor = run(room, "tokens.list", limit=1)["next_cursor"]
    with pytest.raises(BadInput, match="cursor"):
        run(room, "quarantine.list", cursor=cursor)


@pytest.mark.parametrize("role", ["viewer", "analyst", "approver", "manager"])
def test_others_than_admins_see_no_tokens_but_may_ask_who_they_are(room: Room, role: str) -> None:
    principal = Principal("ann #3", ("acme",), ROLES[role])
    for name in ("tokens.list", "senders.list"):
        with pytest.raises(Forbidden, match="needs the permission admin"):
            run(room, name, principal)
    assert run(room, "tokens.whoami", principal) == {"who": "ann #3", "tenants": ["acme"], "permissions": sorted(ROLES[role])}


# --- the first admin -----------------------------------------------------------------------------------------------


def test_the_first_admin_is_made_once_and_goes_on_record(tmp_path: Path, clock: FakeClock) -> None:
    with opened(tmp_path, clock, **LISTED) as room:  # a viewer and a manager are listed, and no admin
        token = first_admin(room.settings, room.context)
        assert token is not None
        [made] = [row for row in run(room, "tokens.list")["tokens"] if row["no"]]
        assert (made["name"], made["role"], made["tenants"], made["prefix"]) == ("first admin", "admin", ["*"], token[:12])
        assert len(audited(room)) == 1
        assert "first start" in str(audited(room))
        assert first_admin(room.settings, room.context) is None
        run(room, "tokens.revoke", no=1)
        assert first_admin(room.settings, room.context) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_FINOPS_AUTH__MODE": "off"},
        {"OTEL_FINOPS_FEATURES__TOKENS": "false"},
        {"OTEL_FINOPS_HTTP__ADDRESS": ""},
        {"OTEL_FINOPS_AUTH__RESOLVER": "host.identity:resolve"},
        {"OTEL_FINOPS_AUTH__TOKENS": json.dumps([{"token_sha256": sha256(b"x").hexdigest(), "tenants": ["*"], "role": "admin"}])},
    ],
)
def test_no_first_admin_is_made_where_none_is_needed(tmp_path: Path, clock: FakeClock, environ: dict[str, str]) -> None:
    with opened(tmp_path, clock, **environ) as room:
        assert first_admin(room.settings, room.context) is None
        assert run(room, "tokens.list")["tokens"] == [] if room.settings.features.tokens and not room.settings.auth.tokens else True


def test_an_admin_of_some_tenants_is_no_admin_of_the_service(tmp_path: Path, clock: FakeClock) -> None:
    listed = json.dumps([{"token_sha256": sha256(b"x").hexdigest(), "tenants": ["acme"], "role": "admin"}])
    with opened(tmp_path, clock, OTEL_FINOPS_AUTH__TOKENS=listed) as room:
        assert first_admin(room.settings, room.context) is not None
