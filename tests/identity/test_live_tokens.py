"""The tokens that hold now, in the memory of each process: what changes them, and what asking them costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otel_finops.base.errors import Unauthenticated, Unavailable
from otel_finops.base.protocols import Credential
from otel_finops.base.times import NS_PER_HOUR, NS_PER_SECOND
from otel_finops.identity.desk import TokenDesk
from otel_finops.identity.live import POLL_S, LiveTokens
from otel_finops.identity.principals import Principals
from otel_finops.identity.senders import Senders
from otel_finops.identity.stored import TokenDraft
from otel_finops.identity.tokens import digest_of
from otel_finops.settings import load
from otel_finops.settings.tree import Auth
from otel_finops.store.engine import Store
from otel_finops.store.follower import Follower
from otel_finops.testing import NOON, FakeClock

VIEWER = TokenDraft("board", ("acme",), "viewer")


def auth(**more: str) -> Auth:
    return load(None, {"OTEL_FINOPS_AUTH__MODE": "token", **more}).auth


class Process:
    """What one running process has: a desk, the tokens that hold there, and what its listeners ask."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.live = LiveTokens(store, clock)
        self.live.fresh()
        self.tokens = TokenDesk(store, clock, "api", (), self.live)
        self.senders = TokenDesk(store, clock, "sender", (), self.live)
        self.principals = Principals(auth(), self.live)
        self.credentials = Senders(auth(), self.live)

    def made(self, draft: TokenDraft) -> str:
        secret = (self.tokens if draft.role else self.senders).create(draft, who="ann", dry_run=False).secret
        assert secret is not None
        return secret

    def lets_in(self, secret: str) -> bool:
        try:
            self.principals(secret)
        except Unauthenticated:
            return False
        return True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def here(store: Store, clock: FakeClock) -> Process:
    return Process(store, clock)


def test_a_stored_token_is_the_principal_of_its_name_number_role_and_tenants(here: Process) -> None:
    viewer = here.principals(here.made(VIEWER))
    assert (viewer.who, viewer.tenants, viewer.permissions) == ("board #1", ("acme",), {"view"})
    boss = here.principals(here.made(TokenDraft("boss", ("*",), "admin")))
    assert (boss.who, boss.tenants, boss.may("admin")) == ("boss #2", None, True)


@pytest.mark.parametrize(
    ("tenants", "credential"),
    [
        (("acme",), Credential("acme", ("acme",))),
        (("acme", "globex"), Credential("default", ("acme", "globex"))),
        (("*",), Credential("default", ("*",))),
    ],
)
def test_a_stored_senders_token_binds_realm_and_tenants(here: Process, tenants: tuple[str, ...], credential: Credential) -> None:
    assert here.credentials(here.made(TokenDraft("shop", tenants))) == credential


def test_no_token_does_for_the_other_door(here: Process) -> None:
    with pytest.raises(Unauthenticated, match="This token is not for the API"):
        here.principals(here.made(TokenDraft("shop", ("acme",))))
    with pytest.raises(Unauthenticated, match="This token is not for sending spans"):
        here.credentials(here.made(VIEWER))


def test_tokens_of_the_settings_hold_beside_stored_ones(store: Store, clock: FakeClock, here: Process) -> None:
    listed = f'[{{"token_sha256": "{digest_of("listed")}", "tenants": ["*"], "role": "manager", "name": "ops"}}]'
    principals = Principals(auth(OTEL_FINOPS_AUTH__TOKENS=listed), here.live)
    assert principals("listed").who == "ops"
    assert principals(here.made(VIEWER)).who == "board #1"


def test_with_stored_tokens_switched_off_only_those_of_the_settings_count(here: Process) -> None:
    with pytest.raises(Unauthenticated, match="This token is not known"):
        Principals(auth())(here.made(VIEWER))


def test_what_one_process_changes_holds_there_at_once_and_elsewhere_after_a_look(store: Store, clock: FakeClock, here: Process) -> None:
    there = Process(store, clock)
    secret = here.made(VIEWER)
    assert (here.lets_in(secret), there.lets_in(secret)) == (True, False)
    there.live.fresh()
    assert there.lets_in(secret)
    there.tokens.revoke(1, None, who="ann")
    assert (here.lets_in(secret), there.lets_in(secret)) == (True, False)
    here.live.fresh()
    assert not here.lets_in(secret)


def test_a_change_that_was_rolled_back_holds_nowhere(store: Store, here: Process) -> None:
    secret = here.made(VIEWER)

    def half_done() -> None:
        with store.together():
            here.tokens.revoke(1, None, who="ann")
            raise Unavailable("no record")

    with pytest.raises(Unavailable, match="no record"):
        half_done()
    here.live.fresh()
    assert here.lets_in(secret)


def test_a_token_ends_when_it_expires_whether_anybody_looks_or_not(here: Process, clock: FakeClock) -> None:
    secret = here.made(VIEWER._replace(expires_ns=NOON + NS_PER_HOUR))
    clock.advance(3599)
    assert here.lets_in(secret)
    clock.advance(1)
    with pytest.raises(Unauthenticated, match="This token expired at 2026-11-21T13:00:00"):
        here.principals(secret)
    clock.advance(31 * 86_400)
    here.made(VIEWER)  # any change: what expired long ago is forgotten with it
    with pytest.raises(Unauthenticated, match="This token is not known"):
        here.principals(secret)


def test_both_tokens_hold_while_a_rotation_overlaps(here: Process, clock: FakeClock) -> None:
    old = here.made(VIEWER)
    new = here.tokens.rotate(1, None, expires_ns=None, overlap_ns=NS_PER_HOUR, who="ann", dry_run=False).made.secret or ""
    assert (here.lets_in(old), here.lets_in(new)) == (True, True)
    clock.advance(3600)
    assert (here.lets_in(old), here.lets_in(new)) == (False, True)


def test_asking_reads_and_writes_nothing(here: Process, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, sender = here.made(VIEWER), here.made(TokenDraft("shop", ("acme",)))

    @contextmanager
    def nothing(*_: Any) -> Iterator[None]:
        raise AssertionError("the database was asked")
        yield

    monkeypatch.setattr(store, "read", nothing)
    monkeypatch.setattr(store, "write", nothing)
    for _ in range(100):
        assert here.lets_in(secret)
        assert here.credentials(sender).realm == "acme"
        assert not here.lets_in("ofk_" + "a" * 52)


def test_uses_are_written_together_and_the_latest_of_all_processes_stands(store: Store, clock: FakeClock, here: Process) -> None:
    there = Process(store, clock)
    secret, sender = here.made(VIEWER), here.made(TokenDraft("shop", ("acme",)))
    there.live.fresh()
    writes = count_writes(store)
    for _ in range(100):
        here.lets_in(secret)
        here.credentials(sender)
    assert len(writes) == 0
    clock.advance(60)
    there.lets_in(secret)  # at 12:01:00
    there.live.note_uses()
    here.live.note_uses()  # what it knows of is a minute older
    assert len(writes) == 2
    assert here.tokens.find(1, None).last_used_ns == NOON + 60 * NS_PER_SECOND
    assert here.senders.find(1, None).last_used_ns == NOON
    here.live.note_uses()
    there.live.note_uses()
    assert len(writes) == 2  # nobody used one since


def count_writes(store: Store) -> list[int]:
    """Counts writing transactions from now on."""
    writes: list[int] = []
    write = store.write

    @contextmanager
    def counted() -> Iterator[Any]:
        writes.append(1)
        with write() as transaction:
            yield transaction

    store.write = counted  # type: ignore[method-assign]
    return writes


def test_uses_that_cannot_be_written_are_written_the_next_time(
    store: Store, here: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here.lets_in(here.made(VIEWER))

    @contextmanager
    def away() -> Iterator[None]:
        raise Unavailable("away")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", away)
        for _ in range(3):
            here.live.keep_uses()
    assert [record.getMessage() for record in caplog.records] == ["when tokens were last used cannot be written now: away"]
    here.live.keep_uses()
    assert here.tokens.find(1, None).last_used_ns == NOON


def test_a_follower_knows_of_a_revocation_within_a_second(store: Store, clock: FakeClock, here: Process) -> None:
    there = Process(store, clock)
    secret = here.made(VIEWER)
    follower = Follower("the stored tokens", there.live.fresh, POLL_S)
    follower.start()
    try:
        assert seconds_until(lambda: there.lets_in(secret)) < 1
        here.tokens.revoke(1, None, who="ann")
        assert seconds_until(lambda: not there.lets_in(secret)) < 1
    finally:
        follower.stop(10)


def seconds_until(done: Any) -> float:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < 10
        time.sleep(0.005)
    return time.monotonic() - began
