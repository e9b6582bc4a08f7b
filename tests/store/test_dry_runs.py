"""What is only tried leaves nothing behind: no row, and no memo of one."""

# ruff: noqa: PT012 - it is a whole block that fails here
from __future__ import annotations

import pytest

from otel_finops.store.engine import Store

INSERT = "INSERT INTO subjects (ref, realm, kind, clear) VALUES ('r1', 'acme', 'user', 'alice')"


def stored(store: Store) -> int:
    with store.read() as transaction:
        return int(transaction.execute("SELECT COUNT(*) FROM subjects")[0][0])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_is_rolled_back(store: Store, dry_run: bool) -> None:
    remembered: list[str] = []
    with store.write_or_try(dry_run=dry_run) as transaction:
        transaction.execute(INSERT)
        transaction.after_commit(lambda: remembered.append("alice"))
    assert (stored(store), remembered) == ((0, []) if dry_run else (1, ["alice"]))


def test_what_fails_while_it_is_tried_is_told(store: Store) -> None:
    with pytest.raises(LookupError), store.write_or_try(dry_run=True) as transaction:
        transaction.execute(INSERT)
        raise LookupError
    assert stored(store) == 0
