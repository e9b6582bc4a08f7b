"""Stored tokens as rows: made, read, rotated, revoked. The token itself is in none of them.

Whoever changes one raises the revision first of all (`raise_revision`), in the same transaction: changes wait in line for that row, so
that a process which has seen a revision has seen all that was done up to it (numbers that a sequence draws become visible out of order).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from otel_finops.identity.tokens import TokenKind, digest_of, new_token, shown_prefix
from otel_finops.settings.tree import RoleName
from otel_finops.store.unit_of_work import Transaction

_TABLES: Final[dict[TokenKind, str]] = {"api": "api_tokens", "sender": "sender_tokens"}
_COLUMNS: Final = (
    "token_no, name, prefix, token_sha256, tenants, made_ns, made_by, replaces_no, expires_ns, revoked_ns, revoked_by, last_used_ns"
)
_INSERTED: Final = "name, prefix, token_sha256, tenants, made_ns, made_by, replaces_no, expires_ns"
_STANDING: Final = "revoked_ns IS NULL AND (expires_ns IS NULL OR expires_ns > ?)"


class TokenDraft(NamedTuple):
    """A token that is to be made.

    Attributes:
        name: who the audit trail says it was; not unique, the number is.
        tenants: whose data or spans; `("*",)`: all.
        role: of an API token; None for senders.
        expires_ns: it stands for nothing from then on; None: never.
    """

    name: str
    tenants: tuple[str, ...]
    role: RoleName | None = None
    expires_ns: int | None = None


class StoredToken(NamedTuple):
    """A token as it is on record.

    Attributes:
        no: its number, never given twice among the tokens of its kind.
        said: what it is for.
        prefix: the first characters of the token.
        token_sha256: of its UTF-8 bytes, hex.
        made_ns, made_by: when and by whom.
        replaces_no: the token that it was rotated from.
        revoked_ns, revoked_by: None: it is not revoked.
        last_used_ns: to the minute or so; None: never.
    """

    no: int
    said: TokenDraft
    prefix: str
    token_sha256: str
    made_ns: int
    made_by: str
    replaces_no: int | None = None
    revoked_ns: int | None = None
    revoked_by: str | None = None
    last_used_ns: int | None = None

    @property
    def who(self) -> str:
        """The name with the number: names may be given twice."""
        return f"{self.said.name} #{self.no}"

    def is_over(self, now_ns: int) -> bool:
        """Whether it stands for nothing any more."""
        return self.revoked_ns is not None or (self.said.expires_ns is not None and self.said.expires_ns <= now_ns)


def revision(transaction: Transaction) -> int:
    """How often tokens were changed so far."""
    [(found,)] = transaction.execute("SELECT revision FROM token_revision")
    return int(found)


def raise_revision(transaction: Transaction) -> None:
    """Say that tokens change; who comes second at the same moment waits here until the first one's transaction is over."""
    transaction.execute("UPDATE token_revision SET revision = revision + 1")


def insert(
    transaction: Transaction, kind: TokenKind, draft: TokenDraft, *, who: str, now_ns: int, replaces: int | None = None
) -> tuple[str, StoredToken]:
    """Make a token: the token itself, to be shown once, and its row."""
    token = new_token(kind)
    prefix, digest = shown_prefix(token), digest_of(token)
    tenants = json.dumps(draft.tenants, ensure_ascii=False)
    values = [draft.name, prefix, digest, tenants, now_ns, who, replaces, draft.expires_ns, *([] if draft.role is None else [draft.role])]
    columns = f"{_INSERTED}{'' if draft.role is None else ', role'}"
    sql = f"INSERT INTO {_TABLES[kind]} ({columns}) VALUES ({', '.join('?' * len(values))}) RETURNING token_no"
    [(no,)] = transaction.execute(sql, values)
    return token, StoredToken(no, draft, prefix, digest, now_ns, who, replaces)


def by_no(transaction: Transaction, kind: TokenKind, no: int) -> StoredToken | None:
    """The token of this number."""
    found = _selected(transaction.execute(f"{_select(kind)} WHERE token_no = ?", (no,)))
    return next(found, None)


def newest(transaction: Transaction, kind: TokenKind, before_no: int | None) -> Iterator[StoredToken]:
    """All tokens, newest first, streamed; `before_no`: those with smaller numbers."""
    where, params = ("", ()) if before_no is None else ("WHERE token_no < ?", (before_no,))
    return _selected(transaction.iterate(f"{_select(kind)} {where} ORDER BY token_no DESC", params))


def standing(transaction: Transaction, kind: TokenKind, expired_after_ns: int) -> Sequence[StoredToken]:
    """Tokens that are not revoked, and did not expire before that instant."""
    return list(_selected(transaction.execute(f"{_select(kind)} WHERE {_STANDING}", (expired_after_ns,))))


def count_standing(transaction: Transaction, kind: TokenKind, expired_after_ns: int) -> int:
    """How many those are."""
    [(count,)] = transaction.execute(f"SELECT COUNT(*) FROM {_TABLES[kind]} WHERE {_STANDING}", (expired_after_ns,))
    return int(count)


def successor(transaction: Transaction, kind: TokenKind, no: int) -> int | None:
    """The number of the token to which this one was rotated, unless that was revoked."""
    sql = f"SELECT MAX(token_no) FROM {_TABLES[kind]} WHERE replaces_no = ? AND revoked_ns IS NULL"
    [(found,)] = transaction.execute(sql, (no,))
    return None if found is None else int(found)


def expire(transaction: Transaction, kind: TokenKind, no: int, at_ns: int) -> None:
    """Have a token stand for nothing from an instant on."""
    transaction.execute(f"UPDATE {_TABLES[kind]} SET expires_ns = ? WHERE token_no = ?", (at_ns, no))


def revoke(transaction: Transaction, kind: TokenKind, no: int, *, who: str, now_ns: int) -> None:
    """Have a token stand for nothing any more."""
    sql = f"UPDATE {_TABLES[kind]} SET revoked_ns = ?, revoked_by = ? WHERE token_no = ? AND revoked_ns IS NULL"
    transaction.execute(sql, (now_ns, who, no))


def note_uses(transaction: Transaction, kind: TokenKind, uses: Iterable[tuple[int, int]]) -> None:
    """When tokens were last used, as (number, instant); what another process has seen later stays."""
    sql = f"UPDATE {_TABLES[kind]} SET last_used_ns = ? WHERE token_no = ? AND (last_used_ns IS NULL OR last_used_ns < ?)"
    transaction.executemany(sql, [(at_ns, no, at_ns) for no, at_ns in uses])


def had_admin(transaction: Transaction) -> bool:
    """Whether there ever was a token for an admin of all tenants."""
    sql = "SELECT 1 FROM api_tokens WHERE role = 'admin' AND tenants = ? LIMIT 1"
    return bool(transaction.execute(sql, (json.dumps(["*"]),)))


def _select(kind: TokenKind) -> str:
    return f"SELECT {_COLUMNS}, {'role' if kind == 'api' else 'NULL'} FROM {_TABLES[kind]}"


def _selected(rows: Iterable[Sequence[Any]]) -> Iterator[StoredToken]:
    for no, name, prefix, digest, tenants, made_ns, made_by, replaces, expires_ns, revoked_ns, revoked_by, used_ns, role in rows:
        said = TokenDraft(name, tuple(json.loads(tenants)), cast("RoleName | None", role), expires_ns)
        yield StoredToken(no, said, prefix, digest, made_ns, made_by, replaces, revoked_ns, revoked_by, used_ns)
