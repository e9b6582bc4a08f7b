"""Stored tokens on both engines: made, shown, rotated, revoked; whose they are; and that others hear of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR
from otel_finops.identity import desk as desk_module
from otel_finops.identity import stored
from otel_finops.identity.desk import TokenDesk
from otel_finops.identity.stored import StoredToken, TokenDraft
from otel_finops.identity.tokens import TokenKind, digest_of
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock

VIEWER = TokenDraft("board", ("acme",), "viewer")
SHOP = TokenDraft("shop", ("acme",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(store: Store, clock: FakeClock) -> TokenDesk:
    return TokenDesk(store, clock, "api", ())


def revision(store: Store) -> int:
    with store.read() as transaction:
        return stored.revision(transaction)


def numbers(found: Sequence[StoredToken]) -> list[int]:
    return [one.no for one in found]


@pytest.mark.parametrize(("kind", "draft"), [("api", VIEWER), ("sender", SHOP)])
def test_a_token_is_made_and_only_its_digest_and_beginning_are_kept(
    store: Store, clock: FakeClock, kind: TokenKind, draft: TokenDraft
) -> None:
    desk = TokenDesk(store, clock, kind, ())
    secret, made = desk.create(draft, who="ann", dry_run=False)
    assert secret is not None
    assert made == StoredToken(1, draft, secret[:12], digest_of(secret), NOON, "ann")
    assert desk.find(1, None) == made
    assert made.who == f"{draft.name} #1"
    with store.read() as transaction:
        assert secret not in str(transaction.execute("SELECT * FROM api_tokens") + transaction.execute("SELECT * FROM sender_tokens"))


def test_numbers_of_a_kind_are_its_own_and_names_may_repeat(store: Store, clock: FakeClock, tokens: TokenDesk) -> None:
    senders = TokenDesk(store, clock, "sender", ())
    assert [tokens.create(VIEWER, who="ann", dry_run=False).token.who for _ in range(2)] == ["board #1", "board #2"]
    assert senders.create(SHOP, who="ann", dry_run=False).token.no == 1


def test_a_dry_run_stores_nothing(store: Store, tokens: TokenDesk) -> None:
    secret, made = tokens.create(VIEWER, who="ann", dry_run=True)
    assert (secret, made.no, made.prefix) == (None, 0, "")
    tokens.create(VIEWER, who="ann", dry_run=False)
    before = revision(store)
    assert tokens.rotate(1, None, expires_ns=None, overlap_ns=0, who="ann", dry_run=True).made.secret is None
    assert numbers(tokens.page(None, None, 10)) == [1]
    assert revision(store) == before


def test_they_are_listed_newest_first_a_page_at_a_time(tokens: TokenDesk) -> None:
    for _ in range(5):
        tokens.create(VIEWER, who="ann", dry_run=False)
    assert numbers(tokens.page(None, None, 2)) == [5, 4]
    assert numbers(tokens.page(None, 4, 2)) == [3, 2]
    assert numbers(tokens.page(None, 2, 2)) == [1]
    [third] = [one for one in tokens.page(None, None, 10) if one.no == 3]
    assert numbers(tokens.page(None, None, 10, third.prefix)) == [3]
    assert numbers(tokens.page(None, None, 10, "ofk_")) == [5, 4, 3, 2, 1]


def test_who_is_bound_to_tenants_sees_and_changes_only_what_reaches_no_others(tokens: TokenDesk) -> None:
    for tenants in (("acme",), ("acme", "globex"), ("*",), ("globex",)):
        tokens.create(TokenDraft("one", tenants, "viewer"), who="ann", dry_run=False)
    assert numbers(tokens.page(("acme",), None, 10)) == [1]
    assert numbers(tokens.page(("acme", "globex"), None, 10)) == [4, 2, 1]
    assert numbers(tokens.page(("acme", "globex"), None, 1)) == [4]
    for no in (2, 3, 4, 5):
        with pytest.raises(NotFound, match=f"There is no stored token {no}"):
            tokens.find(no, ("acme",))
        with pytest.raises(NotFound):
            tokens.revoke(no, ("acme",), who="mallory")
        with pytest.raises(NotFound):
            tokens.rotate(no, ("acme",), expires_ns=None, overlap_ns=0, who="mallory", dry_run=False)
    assert [one.revoked_ns for one in tokens.page(None, None, 10)] == [None] * 4


def test_a_rotated_token_holds_for_the_overlap_and_has_one_successor(tokens: TokenDesk, clock: FakeClock) -> None:
    tokens.create(VIEWER, who="ann", dry_run=False)
    done = tokens.rotate(1, None, expires_ns=NOON + 30 * NS_PER_DAY, overlap_ns=2 * NS_PER_HOUR, who="bob", dry_run=False)
    assert done.made.token.said == VIEWER._replace(expires_ns=NOON + 30 * NS_PER_DAY)
    assert (done.made.token.replaces_no, done.made.token.made_by) == (1, "bob")
    assert done.before.said.expires_ns is None
    assert tokens.find(1, None) == done.after
    assert done.after.said.expires_ns == NOON + 2 * NS_PER_HOUR
    with pytest.raises(BadInput, match="Token 1 was rotated to 2 already; rotate that one"):
        tokens.rotate(1, None, expires_ns=None, overlap_ns=0, who="bob", dry_run=False)
    clock.advance(2 * 3600)
    with pytest.raises(BadInput, match="Token 1 expired; make another one"):
        tokens.rotate(1, None, expires_ns=None, overlap_ns=0, who="bob", dry_run=False)


def test_rotating_never_lengthens_the_life_of_the_former_token(tokens: TokenDesk) -> None:
    tokens.create(VIEWER._replace(expires_ns=NOON + NS_PER_HOUR), who="ann", dry_run=False)
    done = tokens.rotate(1, None, expires_ns=None, overlap_ns=24 * NS_PER_HOUR, who="ann", dry_run=False)
    assert done.after.said.expires_ns == NOON + NS_PER_HOUR


def test_a_lost_successor_is_revoked_and_the_former_one_rotated_again(tokens: TokenDesk) -> None:
    tokens.create(VIEWER, who="ann", dry_run=False)
    tokens.rotate(1, None, expires_ns=None, overlap_ns=NS_PER_HOUR, who="ann", dry_run=False)
    tokens.revoke(2, None, who="ann")
    assert tokens.rotate(1, None, expires_ns=None, overlap_ns=NS_PER_HOUR, who="ann", dry_run=False).made.token.no == 3


def test_revoking_stands_and_a_second_time_changes_nothing(store: Store, tokens: TokenDesk, clock: FakeClock) -> None:
    tokens.create(VIEWER, who="ann", dry_run=False)
    clock.advance(1)
    before, after = tokens.revoke(1, ("acme",), who="bob")
    assert (before.revoked_ns, after.revoked_ns, after.revoked_by) == (None, NOON + 1_000_000_000, "bob")
    seen = revision(store)
    clock.advance(1)
    assert tokens.revoke(1, None, who="eve") == (after, after)
    assert revision(store) == seen
    with pytest.raises(BadInput, match="Token 1 was revoked; make another one"):
        tokens.rotate(1, None, expires_ns=None, overlap_ns=0, who="ann", dry_run=False)


def test_there_is_an_end_to_tokens_that_hold(tokens: TokenDesk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "TOKENS_MAX", 2)
    tokens.create(VIEWER._replace(expires_ns=NOON + NS_PER_HOUR), who="ann", dry_run=False)
    tokens.create(VIEWER, who="ann", dry_run=False)
    for dry_run in (True, False):
        with pytest.raises(BadInput, match="There are 2 such tokens already: revoke those"):
            tokens.create(VIEWER, who="ann", dry_run=dry_run)
    tokens.revoke(2, None, who="ann")
    assert tokens.create(VIEWER, who="ann", dry_run=False).token.no == 3
    clock.advance(31 * 86_400)  # the first one expired a month ago and more
    assert tokens.create(VIEWER, who="ann", dry_run=False).token.no == 4


def test_the_first_admin_is_made_once_by_however_many_start_at_once(store: Store, clock: FakeClock) -> None:
    made: list[int] = []

    def start() -> None:
        desk = TokenDesk(store, clock, "api", ())
        with store.together():
            if desk.may_make_the_first():
                made.append(desk.create(TokenDraft("first", ("*",), "admin"), who="start", dry_run=False).token.no)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    TokenDesk(store, clock, "api", ()).revoke(1, None, who="ann")
    assert not TokenDesk(store, clock, "api", ()).may_make_the_first()


@pytest.mark.parametrize("draft", [VIEWER, TokenDraft("boss", ("acme",), "admin"), TokenDraft("all", ("*",), "manager")])
def test_others_than_an_admin_of_all_tenants_are_no_first_admin(tokens: TokenDesk, draft: TokenDraft) -> None:
    tokens.create(draft, who="ann", dry_run=False)
    assert tokens.may_make_the_first()
