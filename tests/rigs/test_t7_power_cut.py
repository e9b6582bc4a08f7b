"""T7: the power fails at any moment, and what was not synced is lost at random: nothing acknowledged is lost, nothing is damaged."""

from __future__ import annotations

import pickle
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ledger_rig import PRICES, Rig, call
from lost_power import Disk, DiskFile, Piece
from power_cut_workload import NOT_REACHED

from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.standing import fold
from otel_finops.ledger.verify import verify
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

WORKLOAD = Path(__file__).with_name("power_cut_workload.py")
Span = tuple[bytes, bytes]


class Promised(NamedTuple):
    """What was acknowledged up to a moment."""

    tables: bool
    spans: set[Span]
    blocks: dict[tuple[int, int], bytes]


class Result(NamedTuple):
    """What a run of cuts came to.

    Attributes:
        corrupt: cuts after which the database could not be opened, failed SQLite's check, or its chain did not verify.
        losing: cuts after which something acknowledged was missing.
        lost: acknowledged spans and blocks missing, over all cuts.
        promised: acknowledged spans and blocks, over all cuts.
        doubled: spans that stand in the journal or among the entries twice, over all cuts.
    """

    cuts: int
    corrupt: int
    losing: int
    lost: int
    promised: int
    doubled: int


def logged(folder: Path, seed: int, commits: int, *, synchronous: str = "FULL", failures: float = 0.0, trusting: bool = False) -> list[Any]:
    """The log of a ledger at work."""
    folder.mkdir(exist_ok=True)
    words = [str(folder), str(seed), str(commits), synchronous, str(failures), "trusting" if trusting else "careful"]
    done = subprocess.run([sys.executable, str(WORKLOAD), *words], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == NOT_REACHED:
        pytest.skip("SKIPPED LOUDLY: Python's SQLite is linked in such a way that no VFS can be put before it")
    assert done.returncode == 0, done.stderr
    return list(pickle.loads((folder / "log").read_bytes()))


def cut_again_and_again(folder: Path, events: list[Any], seed: int, cuts: int) -> Result:
    """Cut the power after random events and look at what is there then."""
    rng, disk, promised = random.Random(seed), Disk(), Promised(False, set(), {})
    moments = sorted(rng.randrange(1, len(events) + 1) for _ in range(cuts))
    (after := folder / "after").mkdir(exist_ok=True)
    tally: list[tuple[bool, int, int, int]] = []
    done = 0
    for moment in moments:
        for event in events[done:moment]:
            disk.follow(event)
            promised = follow(promised, event)
        done = moment
        disk.cut(rng, after)
        tally.append(looked_at(after, promised))
    return Result(
        cuts, sum(c for c, *_ in tally), sum(1 for _, n, *_ in tally if n), sum(n for _, n, *_ in tally),
        sum(n for *_, n, _ in tally), sum(n for *_, n in tally),
    )  # fmt: skip


def follow(promised: Promised, event: Any) -> Promised:
    kind = event[0]
    if kind == "spans":
        promised.spans.update(event[2])
    elif kind == "blocks":
        promised.blocks.update({(shard, seq): value for shard, seq, value in event[2]})
    return promised._replace(tables=True) if kind == "tables" else promised


def looked_at(folder: Path, promised: Promised) -> tuple[bool, int, int, int]:
    """(corrupt, lost, promised, doubled) after one cut."""
    number = len(promised.spans) + len(promised.blocks)
    path = folder / "ledger.db"
    try:
        with closing(sqlite3.connect(path)) as database:
            if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return True, 0, number, 0
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'blocks'").fetchall():
                return False, number + promised.tables, number, 0
            journal = database.execute("SELECT trace_id, span_id FROM journal JOIN traces USING (trace_no)").fetchall()
            entries = database.execute("SELECT trace_id, span_id FROM entries").fetchall()
            blocks = {(shard, seq): value for shard, seq, value in database.execute("SELECT shard, seq, hash FROM blocks")}
    except sqlite3.DatabaseError:
        return True, 0, number, 0
    store = Store.open(f"sqlite:///{path}", FakeClock())
    with store.read() as transaction:
        sound = verify(transaction).sound
    store.close()
    lost = len(promised.spans - set(journal)) + sum(blocks.get(place) != value for place, value in promised.blocks.items())
    doubled = len(journal) - len(set(journal)) + len(entries) - len(set(entries))
    return not sound, lost, number, doubled


def run(folder: Path, seed: int, commits: int, cuts: int, **how: Any) -> Result:
    began = time.monotonic()
    events = logged(folder, seed, commits, **how)
    result = cut_again_and_again(folder, events, seed, cuts)
    print(f"T7: seed {seed}, {how or 'as shipped'}: {len(events)} events; {result}; {time.monotonic() - began:.1f} s")
    return result


def test_nothing_acknowledged_is_lost_and_nothing_is_damaged(tmp_path: Path) -> None:
    result = run(tmp_path, random.randrange(10**6), 50, 40)
    assert (result.corrupt, result.lost, result.doubled) == (0, 0, 0)
    assert result.promised > 500


def test_nor_when_syncs_fail_now_and_then(tmp_path: Path) -> None:
    result = run(tmp_path, random.randrange(10**6), 50, 40, failures=0.1)
    assert (result.corrupt, result.lost, result.doubled) == (0, 0, 0)
    assert result.promised > 500


def test_the_rig_sees_what_other_settings_lose(tmp_path: Path) -> None:
    """SQLite's synchronous = NORMAL keeps the database whole and loses the last commits."""
    result = run(tmp_path, 7, 50, 25, synchronous="NORMAL")
    assert result.corrupt == 0
    assert result.lost > 0


def test_the_rig_sees_what_trusting_a_failed_sync_loses(tmp_path: Path) -> None:
    """Throwing the connection away is not enough: the log is opened again with what the failed sync left in it. Every second course of
    events shows it."""
    results = (run(tmp_path / str(seed), seed, 50, 25, failures=0.1, trusting=True) for seed in range(13, 21))
    assert any(result.lost + result.corrupt > 0 for result in results)


def test_after_a_cut_senders_send_again_and_everything_is_charged_once(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    rng, disk = random.Random(seed), Disk()
    events = logged(tmp_path, seed, 60)
    sent = {event for one in events if one[0] == "spans" for event in one[2]}
    for event in events[: rng.randrange(len(events) // 4, len(events))]:
        disk.follow(event)
    (after := tmp_path / "after").mkdir()
    disk.cut(rng, after)
    store = Store.open(f"sqlite:///{after / 'ledger.db'}", FakeClock())
    upgrade(store)
    rig = Rig(store)
    rig.clock.advance(3600)
    with store.write() as transaction:
        record(transaction, [row(*key) for key in sorted(sent)], now_ns=rig.clock.now_ns(), settle_after_ns=0, subjects=rig.subjects)
    rig.clock.advance(60)
    rig.settler.settle_all()
    standing = {(bytes.fromhex(e.trace_id), bytes.fromhex(e.span_id)) for e in fold(rig.entries()).values() if e.role == "call"}
    print(f"T7: seed {seed}: {len(sent)} spans sent again after the cut, {len(rig.entries())} entries")
    assert standing == sent
    assert len(fold(rig.entries())) == len(sent)
    store.close()


def row(trace: bytes, span: bytes) -> JournalRow:
    """The span that the workload sent under these ids; its model's name was random, and no price depends on it."""
    number = int.from_bytes(trace)
    sighting = call(int.from_bytes(span), trace=number, at_s=60 * number)
    return JournalRow(sighting, PRICES.quote(PRICES.priceable(sighting)))


@pytest.mark.long
@pytest.mark.parametrize("failures", [0.0, 0.1])
def test_four_hundred_cuts(tmp_path: Path, failures: float) -> None:
    result = run(tmp_path, 400, 400, 400, failures=failures)
    assert (result.corrupt, result.lost, result.doubled) == (0, 0, 0)


# --- the disk itself -----------------------------------------------------------------------------------------------


def test_what_is_synced_stays_and_the_rest_is_kept_by_sectors() -> None:
    file = DiskFile()
    file.write(Piece(0, b"a" * 1024))
    file.sync(True)
    file.write(Piece(500, b"b" * 24))
    seen = {bytes(file.after_the_cut(random.Random(seed), 0.5) or b"")[496:528] for seed in range(40)}
    a, b = b"a", b"b"
    assert seen == {a * 4 + x * 12 + y * 12 + a * 4 for x in (a, b) for y in (a, b)}


def test_what_a_failed_sync_left_is_made_durable_only_with_its_page() -> None:
    file = DiskFile()
    file.write(Piece(0, b"a" * 100))
    file.sync(False)
    file.write(Piece(8192, b"c"))
    file.sync(True)
    assert bytes(file.after_the_cut(random.Random(1), 0.0) or b"")[:100] == bytes(100)
    file.write(Piece(200, b"b"))
    file.sync(True)
    assert bytes(file.after_the_cut(random.Random(1), 0.0) or b"")[:100] == b"a" * 100
