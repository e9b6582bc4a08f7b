"""A ledger at work on a logged disk: `python power_cut_workload.py FOLDER SEED COMMITS SYNCHRONOUS FAILURES TRUSTING`.

Journals spans by the group commit, settles them, restarts once, sends again what was refused, and writes the log with all
acknowledgements to FOLDER/log. Ends with code 77 where SQLite cannot be reached.
"""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "ledger"), str(TESTS / "rigs"), str(TESTS.parent)]

from ledger_rig import PRICES, Rig, call  # noqa: E402 - it needs the folders above
from logging_vfs import LoggingVfs  # noqa: E402

import otel_finops.store.sqlite as sqlite_store  # noqa: E402
from otel_finops.base.errors import Busy, Unavailable  # noqa: E402
from otel_finops.ledger.blocks import last_block, stored_shards  # noqa: E402
from otel_finops.ledger.group_commit import GroupCommitter  # noqa: E402
from otel_finops.ledger.journal import JournalRow  # noqa: E402
from otel_finops.store.engine import Store  # noqa: E402
from otel_finops.store.lease import LEASE_TTL_S  # noqa: E402
from otel_finops.store.upgrade import upgrade  # noqa: E402
from otel_finops.testing import FakeClock  # noqa: E402

NOT_REACHED = 77
CHECKPOINT_PAGES = 48


class Workload:
    """One ledger, its sender and its settler, in one thread, so that a seed says all."""

    def __init__(self, folder: Path, seed: int, failures: float) -> None:
        self.url = f"sqlite:///{folder / 'ledger.db'}"
        self.rng = random.Random(seed)
        self.failures = 0.0
        self.after_start = failures
        self.more_failures = 0
        self.vfs = LoggingVfs(self.sync_fails)
        self.refused: list[list[JournalRow]] = []
        self.traces = 0

    def sync_fails(self, name: str) -> bool:
        """Now and then, up to four times on end, so that the checkpoint of the connection that is thrown away may fail too."""
        if self.failures and self.more_failures:
            self.more_failures -= 1
            return True
        failed = self.rng.random() < self.failures
        self.more_failures = self.rng.randint(0, 3) if failed else 0
        return failed

    def start(self) -> None:
        self.failures = 0.0
        self.store = Store.open(self.url, FakeClock())
        upgrade(self.store)
        self.rig = Rig(self.store)
        self.committer = GroupCommitter(self.store, FakeClock(), settle_after_s=0)
        self.vfs.events.append(("tables", ""))
        self.failures = self.after_start

    def stop(self) -> None:
        self.failures = 0.0
        self.committer.close()
        self.store.close()

    def send(self) -> None:
        """A new trace, or one that was refused."""
        if self.refused and self.rng.random() < 0.5:
            rows = self.refused.pop(0)
        else:
            self.traces += 1
            sightings = [call(number + 1, trace=self.traces, at_s=60 * self.traces) for number in range(self.rng.randint(1, 12))]
            sightings = [one._replace(request_model=f"m{self.rng.random()}" * 9) for one in sightings]  # rows that fill pages
            rows = [JournalRow(one, PRICES.quote(PRICES.priceable(one))) for one in sightings]
        try:
            self.committer.submit(rows)
        except Unavailable:
            self.refused.append(rows)
            self.vfs.events.append(("refused", ""))
        else:
            self.vfs.events.append(("spans", "", [(bytes.fromhex(r.sighting.trace_id), bytes.fromhex(r.sighting.span_id)) for r in rows]))

    def settle(self) -> None:
        self.rig.clock.advance(1)
        try:
            self.rig.settler.settle_all()
        except (Unavailable, Busy):  # a lease that was refused may be stored all the same; it then runs out
            self.rig.clock.advance(2 * LEASE_TTL_S)
            self.store.engine.dispose()
            return
        with self.store.read() as transaction:
            heads = [last_block(transaction, shard) for shard in stored_shards(transaction)]
        self.vfs.events.append(("blocks", "", [(one.shard, one.seq, one.hash) for one in heads if one is not None]))
        self.store.engine.dispose()  # no reader keeps the log open


def main(folder: Path, seed: int, commits: int, synchronous: str, failures: float, trusting: bool) -> int:
    changed: Any = sqlite_store
    changed.DURABLE = synchronous
    changed.PRAGMAS += (f"PRAGMA synchronous = {synchronous}", f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    work = Workload(folder, seed, failures)
    if not work.vfs.install():
        return NOT_REACHED
    changed._write_again = (lambda _: None) if trusting else work.vfs.write_again
    work.start()
    for number in range(commits):
        work.send()
        if work.rng.random() < 0.15:
            work.settle()
        if number == commits // 2:
            work.stop()
            work.start()
    work.failures = 0.0
    while work.refused:
        work.send()
    work.settle()
    (folder / "log").write_bytes(pickle.dumps(work.vfs.events))
    work.stop()  # no connection may outlive the callbacks
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), sys.argv[6] == "trusting"))
