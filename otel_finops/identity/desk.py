"""Making, showing, rotating and revoking stored tokens of one kind; whose they are is an argument of all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import TOKENS_MAX
from otel_finops.identity import stored
from otel_finops.identity.live import TELL_EXPIRED_NS, LiveTokens
from otel_finops.identity.stored import StoredToken, TokenDraft
from otel_finops.identity.tokens import TokenKind
from otel_finops.settings.tree import ApiToken, SenderToken
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_ROOMS: Final[dict[TokenKind, str]] = {"api": "tokens", "sender": "senders"}
_SETTINGS: Final[dict[TokenKind, str]] = {"api": "auth.tokens", "sender": "auth.senders"}


class Made(NamedTuple):
    """A token that was made: the token itself, to be shown once (None in a dry run), and what is on record of it."""

    secret: str | None
    token: StoredToken


class Rotated(NamedTuple):
    """The successor, and the former token before and after: it holds for a while yet."""

    made: Made
    before: StoredToken
    after: StoredToken


class TokenDesk:
    """See `operations.context.Tokens`.

    Args:
        store: the ledger's database.
        clock: our time.
        kind: which tokens.
        settings: those of the settings.
        live: what this process lets in by; None where no service runs in it.
    """

    def __init__(
        self, store: Store, clock: Clock, kind: TokenKind, settings: Sequence[ApiToken | SenderToken], live: LiveTokens | None = None
    ) -> None:
        self.settings = settings
        self._store = store
        self._clock = clock
        self._kind = kind
        self._live = live

    def page(self, tenants: Collection[str] | None, before_no: int | None, limit: int, prefix: str = "") -> Sequence[StoredToken]:
        """See `Tokens.page`."""
        with self._store.read() as transaction:
            found = stored.newest(transaction, self._kind, before_no)
            return list(islice((one for one in found if _is_of(one, tenants) and one.prefix.startswith(prefix)), limit))

    def find(self, no: int, tenants: Collection[str] | None) -> StoredToken:
        """See `Tokens.find`."""
        with self._store.read() as transaction:
            return self._found(transaction, no, tenants)

    def create(self, draft: TokenDraft, *, who: str, dry_run: bool) -> Made:
        """See `Tokens.create`."""
        with self._open(dry_run) as transaction:
            return self._made(transaction, draft, who, dry_run)

    def rotate(
        self, no: int, tenants: Collection[str] | None, *, expires_ns: int | None, overlap_ns: int, who: str, dry_run: bool
    ) -> Rotated:
        """See `Tokens.rotate`."""
        with self._open(dry_run) as transaction:
            old = self._found(transaction, no, tenants)
            self._check_rotatable(transaction, old)
            made = self._made(transaction, old.said._replace(expires_ns=expires_ns), who, dry_run, replaces=no)
            overlapped_ns = self._clock.now_ns() + overlap_ns
            ends_ns = overlapped_ns if old.said.expires_ns is None else min(old.said.expires_ns, overlapped_ns)
            if not dry_run:
                stored.expire(transaction, self._kind, no, ends_ns)
            return Rotated(made, old, old._replace(said=old.said._replace(expires_ns=ends_ns)))

    def revoke(self, no: int, tenants: Collection[str] | None, *, who: str) -> tuple[StoredToken, StoredToken]:
        """See `Tokens.revoke`."""
        now_ns = self._clock.now_ns()
        before = self.find(no, tenants)
        if before.revoked_ns is not None:
            return before, before
        with self._changing() as transaction:
            stored.revoke(transaction, self._kind, no, who=who, now_ns=now_ns)
        return before, before._replace(revoked_ns=now_ns, revoked_by=who)

    def may_make_the_first(self) -> bool:
        """See `Tokens.may_make_the_first`."""
        with self._store.read() as transaction:
            if stored.had_admin(transaction):
                return False
        with self._changing() as transaction:  # who comes second at the same moment waits here
            return not stored.had_admin(transaction)

    def _open(self, dry_run: bool) -> AbstractContextManager[Transaction]:
        return self._store.read() if dry_run else self._changing()

    @contextmanager
    def _changing(self) -> Iterator[Transaction]:
        with self._store.write() as transaction:
            stored.raise_revision(transaction)
            yield transaction
        if self._live is not None:
            self._live.follow()

    def _found(self, transaction: Transaction, no: int, tenants: Collection[str] | None) -> StoredToken:
        found = stored.by_no(transaction, self._kind, no)
        if found is None or not _is_of(found, tenants):
            raise NotFound(
                f"There is no stored token {no}: {_ROOMS[self._kind]}.list shows them. Those of the settings have no number; take them "
                f"out of {_SETTINGS[self._kind]} and start anew."
            )
        return found

    def _made(self, transaction: Transaction, draft: TokenDraft, who: str, dry_run: bool, replaces: int | None = None) -> Made:
        now_ns = self._clock.now_ns()
        if stored.count_standing(transaction, self._kind, now_ns - TELL_EXPIRED_NS) >= TOKENS_MAX:
            raise BadInput(f"There are {TOKENS_MAX} such tokens already: revoke those that nobody uses ({_ROOMS[self._kind]}.list).")
        if dry_run:
            return Made(None, StoredToken(0, draft, "", "", now_ns, who, replaces))
        return Made(*stored.insert(transaction, self._kind, draft, who=who, now_ns=now_ns, replaces=replaces))

    def _check_rotatable(self, transaction: Transaction, old: StoredToken) -> None:
        if old.is_over(self._clock.now_ns()):
            raise BadInput(
                f"Token {old.no} {'was revoked' if old.revoked_ns else 'expired'}; make another one ({_ROOMS[self._kind]}.create)."
            )
        following = stored.successor(transaction, self._kind, old.no)
        if following is not None:
            raise BadInput(f"Token {old.no} was rotated to {following} already; rotate that one.")


def _is_of(token: StoredToken, tenants: Collection[str] | None) -> bool:
    """Whether it reaches nobody but these tenants; None: all."""
    return tenants is None or set(token.said.tenants) <= set(tenants)
