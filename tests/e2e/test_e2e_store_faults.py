"""The store is full, locked, slow or away under a running service: senders are told to come back, readers read, and it heals by itself."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from e2e_faults import grpc_answer
from e2e_service import Service, eventually, http, running
from e2e_spans import body, trace_id
from small_disk import small_disk
from test_e2e_durability import Load, check_all_there


def refused(service: Service, number: int) -> list[float]:
    """Send a new trace by HTTP and by gRPC, which must both be told to come back; the delays, seconds."""
    answer = service.post(body(trace_id(number, 400)))
    assert answer.status_code in (503, 429), (answer.status_code, answer.content)
    with pytest.raises(grpc.RpcError) as caught:
        service.call(body(trace_id(number, 401)))
    over_grpc = grpc_answer("", caught.value)
    # "Busy" where another writer of the service waits in front, e.g. for a job's lease; senders come back after both.
    assert over_grpc.status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"), over_grpc
    assert over_grpc.right_form, over_grpc
    assert over_grpc.delay is not None
    return [float(answer.headers["retry-after"]), over_grpc.delay]


def taken_again(service: Service, number: int, within_s: float = 10) -> float:
    """Seconds until spans are taken and the service is ready."""
    began = time.monotonic()
    eventually(lambda: service.post(body(trace_id(number, 402))).status_code == 200, within_s)
    seconds = time.monotonic() - began
    eventually(service.ready, within_s)
    return seconds


def parts(service: Service) -> dict[str, bool]:
    answer = http("GET", f"{service.web}/api/v1/health")
    return {part["name"]: part["ok"] for part in json.loads(answer.content)["parts"]}


def test_t8_a_full_disk_with_a_reserve(tmp_path: Path) -> None:
    reserve = tmp_path / "ledger.db.reserve"
    with small_disk(tmp_path, "44m") as resize, running(f"sqlite:///{tmp_path / 'ledger.db'}", DATABASE__RESERVE="true") as service:
        kept = service.metric("finops_store_reserve_bytes")
        assert kept == reserve.stat().st_size == 32 * 2**20
        with Load(service) as load:
            eventually(lambda: load.refused["503"] and load.refused["UNAVAILABLE"], 60)
            time.sleep(1.5)
            full = len(load.acknowledged)
            assert (reserve.exists(), service.metric("finops_store_reserve_bytes"), service.ready()) == (False, 0, False)
            assert (parts(service)["store"], parts(service)["disk"]) == (True, False)
            service.get("spend")
            time.sleep(0.5)
            assert len(load.acknowledged) == full, "the reserve is not for writing"
            resize("200m")
            freed = time.monotonic()
            eventually(lambda: len(load.acknowledged) > full + 5, 15)
            seconds = time.monotonic() - freed
        eventually(service.ready)
        print(f"T8 with a reserve: {full} batches until full, refusals {dict(load.refused)}; again after {seconds:.2f} s")
        assert set(load.refused) == {"503", "UNAVAILABLE"}
        assert seconds < 10
        assert service.metric("finops_store_reserve_bytes") == kept
        assert service.log.count("the emergency reserve of 32 MiB was given up") == 1
        check_all_there(service, load.acknowledged, "T8 with a reserve")
        service.stop()
        service.database.verify()


def test_a_database_locked_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with running(f"sqlite:///{path}") as service:
        service.send(body(trace_id(1, 400)))
        service.settled()
        total = service.get("spend")["total_usd"]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            delays = refused(service, 2)
            assert service.get("spend")["total_usd"] == total
            assert not service.ready()
            other.execute("ROLLBACK")
        seconds = taken_again(service, 3)
        print(f"locked: told to come back after {delays} s; takes again after {seconds:.2f} s")
        assert seconds < 10
        service.settled()
        service.stop()
        service.database.verify()


def test_a_slow_database_is_waited_for(tmp_path: Path) -> None:
    """Another process has the write lock most of the time, for less than the five seconds that are waited."""
    path, stop = tmp_path / "ledger.db", threading.Event()
    with running(f"sqlite:///{path}") as service:

        def hold() -> None:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as other:
                while not stop.is_set():
                    other.execute("BEGIN IMMEDIATE")
                    time.sleep(0.6)
                    other.execute("ROLLBACK")
                    time.sleep(0.1)

        holder = threading.Thread(target=hold)
        holder.start()
        with Load(service) as load:
            time.sleep(4)
        stop.set()
        holder.join()
        print(f"slow: {len(load.acknowledged)} batches acknowledged, refusals {dict(load.refused)}")
        assert len(load.acknowledged) > 4
        assert set(load.refused) <= {"503", "UNAVAILABLE"}
        check_all_there(service, load.acknowledged, "slow")
        service.stop()


def test_a_database_that_is_moved_away_and_put_back(tmp_path: Path) -> None:
    path, away = tmp_path / "ledger.db", tmp_path / "away.db"
    with running(f"sqlite:///{path}") as service:
        service.send(body(trace_id(1, 400)))
        service.settled()
        path.rename(away)
        refused(service, 2)
        assert http("GET", f"{service.web}/api/v1/spend").status_code == 503
        assert not service.ready()
        assert not path.exists(), "no empty ledger appears in its place"
        away.rename(path)
        seconds = taken_again(service, 3)
        print(f"moved away: takes again {seconds:.2f} s after it was put back")
        service.settled()
        assert len(service.database.span_keys("entries")) > 1
        service.stop()
        service.database.verify()


class KeptLoad(Load):
    """Keeps what it sent, to be sent again; a hundred batches a second at most, since a backup takes its time."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.bodies: dict[bytes, bytes] = {}

    def _batches(self) -> Iterator[tuple[bytes, bytes]]:
        for trace, content in super()._batches():
            self.bodies[trace] = content
            yield trace, content
            time.sleep(0.04)


def test_a_backup_under_load_is_restored_and_what_came_later_is_sent_again(tmp_path: Path) -> None:
    path, backup = tmp_path / "ledger.db", tmp_path / "backup.db"
    with running(f"sqlite:///{path}") as service:
        with KeptLoad(service) as load:
            eventually(lambda: len(load.acknowledged) > 20)
            before = list(load.acknowledged)
            began, count = time.monotonic(), len(load.acknowledged)
            service.database.command("db", "backup", str(backup))
            seconds, meanwhile = time.monotonic() - began, len(load.acknowledged) - count
            eventually(lambda: len(load.acknowledged) > count + meanwhile + 10)
        service.database.command("db", "restore", str(backup), "--overwrite", code=3)
        service.settled(60)
        service.stop()
        expected = service.database.canonical()
        service.database.command("db", "restore", str(backup), "--overwrite")
        service.start()
        there = {key[0] for key in service.database.span_keys()}
        assert not [trace for trace in before if trace not in there], "what was acknowledged before the backup began is in it"
        assert len(there) < len(load.acknowledged)
        for trace in load.acknowledged:
            service.send(load.bodies[trace])
        check_all_there(service, load.acknowledged, "sent again after a restore")
        print(f"backup in {seconds:.2f} s with {meanwhile} batches acknowledged meanwhile; {len(there)} of {len(load.acknowledged)} in it")
        assert meanwhile > 0
        service.stop()
        assert service.database.canonical() == expected
        service.database.verify()
