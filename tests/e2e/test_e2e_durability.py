"""What was acknowledged is there, once: after SIGKILL, after SIGTERM, with the disk full, with the store stopped."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from e2e_exporters import PRICE, Key, exporter, keys, stock_calls
from e2e_faults import no_room_on_disk
from e2e_service import PROTOBUF, Service, eventually, export_over, running
from e2e_spans import body, calls, put, trace_id, unchanged
from opentelemetry.sdk.trace.export import SpanExportResult
from small_disk import small_disk

SPANS = 50
SEED = int(os.environ.get("KILL_SEED", "6"))


def _below_a_missing_root(span: Any, index: int) -> None:
    span.parent_span_id = b"\xff" * 8


class Load:
    """Senders that send batch after batch, each of a new trace, and remember what was acknowledged.

    Args:
        service: may die and come back meanwhile.
        senders: half of them over gRPC, half over HTTP.
        rootless: the root of the traces never comes, so that they settle only after a time of quiet.
    """

    def __init__(self, service: Service, senders: int = 4, first: int = 0, *, rootless: bool = False) -> None:
        self._service = service
        self._edit = _below_a_missing_root if rootless else unchanged
        self._stop = threading.Event()
        self._numbers = count(first)
        self.acknowledged: list[bytes] = []
        self.refused: Counter[str] = Counter()
        self._threads = [threading.Thread(target=(self._grpc, self._http)[index % 2]) for index in range(senders)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _batches(self) -> Iterator[tuple[bytes, bytes]]:
        while not self._stop.is_set():
            trace = trace_id(next(self._numbers), 200)
            yield trace, body(trace, SPANS, self._edit)

    def _grpc(self) -> None:
        with self._service.channel() as channel:
            for trace, content in self._batches():
                try:
                    export_over(channel, content, timeout_s=10)
                    self.acknowledged.append(trace)
                except grpc.RpcError as error:
                    self.refused[error.code().name] += 1  # type: ignore[attr-defined]
                    self._stop.wait(0.05)

    def _http(self) -> None:
        with httpx.Client(headers=PROTOBUF, timeout=10, verify=False) as client:
            for trace, content in self._batches():
                try:
                    answer = client.post(self._service.traces_url, content=content)
                except httpx.HTTPError as error:
                    self.refused[type(error).__name__] += 1
                    self._stop.wait(0.05)
                    continue
                if answer.status_code == 200:
                    self.acknowledged.append(trace)
                else:
                    self.refused[str(answer.status_code)] += 1
                    self._stop.wait(0.05)


def check_all_there(service: Service, acknowledged: list[bytes], what: str) -> None:
    """Every acknowledged span once in the journal and once among the entries."""
    database = service.settled(60)
    for table in ("journal", "entries"):
        keys = database.span_keys(table)
        per_trace = Counter(key[0] for key in keys)
        lost = [trace for trace in acknowledged if per_trace[trace] != SPANS]
        doubled = len(keys) - len(set(keys))
        print(f"{what}: {table}: {len(keys)} rows for {SPANS * len(acknowledged)} acknowledged spans, lost {len(lost)}, doubled {doubled}")
        assert (lost, doubled) == ([], 0)


# --- T6 ------------------------------------------------------------------------------------------------------------


def kill_loop(url: str, loops: int) -> None:
    rng = random.Random(6)
    with running(url) as service:
        acknowledged: list[bytes] = []
        for loop in range(loops):
            with Load(service, first=loop * 1_000_000) as load:
                eventually(lambda load=load: load.acknowledged, 20)
                time.sleep(rng.random() * 0.4)
                service.kill()
            acknowledged += load.acknowledged
            service.start()
            present = Counter(key[0] for key in service.database.span_keys())
            assert all(present[trace] == SPANS for trace in load.acknowledged), f"loop {loop}: an acknowledged batch is lost or torn"
        check_all_there(service, acknowledged, f"T6: {loops} kills")
        service.stop()
        service.database.verify()


def test_t6_killed_again_and_again_under_load(tmp_path: Path) -> None:
    kill_loop(f"sqlite:///{tmp_path / 'ledger.db'}", 4)


class StockSenders:
    """Four stock exporters, half gRPC and half HTTP: together a thousand spans a second; what is not delivered is sent again."""

    def __init__(self, service: Service) -> None:
        self._stop = threading.Event()
        self._ports = {"grpc": service.grpc_port, "http": service.http_port}
        self.delivered: list[Key] = []
        self.given_up = 0
        self._threads = [threading.Thread(target=self._send, args=(way,)) for way in ("grpc", "http", "grpc", "http")]

    def __enter__(self) -> StockSenders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, way: str) -> None:
        sender = exporter(way, self._ports[way])
        due = time.monotonic()
        while not self._stop.is_set():
            batch = stock_calls(SPANS)
            while sender.export(batch) is not SpanExportResult.SUCCESS:
                self.given_up += 1
            self.delivered += keys(batch)
            due = max(due + 0.2, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
        sender.shutdown()


def kill_loop_under_stock_exporters(url: str, kills: int, seed: int) -> None:
    """Every span that an exporter reported as delivered is there once, and charged once."""
    rng = random.Random(seed)
    with running(url) as service, StockSenders(service) as senders:
        began, running_s = time.monotonic(), 0.0
        for _ in range(kills):
            up, before = time.monotonic(), len(senders.delivered)
            eventually(lambda before=before: len(senders.delivered) > before, 30)
            time.sleep(rng.random() * 0.8)
            service.kill()
            running_s += time.monotonic() - up
            service.start()
        senders.__exit__()
        seconds, sent = time.monotonic() - began, senders.delivered
        database = service.settled(60)
        for table in ("journal", "entries"):
            rows = Counter(database.span_keys(table))
            lost, doubled = len(set(sent) - set(rows)), sum(rows.values()) - len(rows)
            print(f"T6: {kills} kills, seed {seed}: {table}: {len(sent)} spans by stock exporters, lost {lost}, doubled {doubled}")
            assert rows == Counter(sent)
        print(
            f"T6: {seconds:.0f} s, of these {running_s:.0f} s up; {len(sent) / running_s:.0f} spans/s; {senders.given_up} exports repeated"
        )
        assert sum((Decimal(row["cost_usd"]) for row in database.entries()), Decimal(0)) == len(sent) * PRICE
        service.stop()
        database.verify()


def test_t6_killed_under_stock_exporters(tmp_path: Path) -> None:
    kill_loop_under_stock_exporters(f"sqlite:///{tmp_path / 'ledger.db'}", 2, SEED)


@pytest.mark.long
def test_t6_two_hundred_kills_under_stock_exporters(tmp_path: Path) -> None:
    kill_loop_under_stock_exporters(f"sqlite:///{tmp_path / 'ledger.db'}", 200, SEED)


@pytest.mark.long
def test_t6_two_hundred_kills(tmp_path: Path) -> None:
    kill_loop(f"sqlite:///{tmp_path / 'ledger.db'}", 200)


@pytest.mark.long
@pytest.mark.postgres
def test_t6_killed_on_postgresql(postgres_database: str) -> None:
    Service(postgres_database).database.with_tables()
    kill_loop(postgres_database, 50)


# --- T12 -----------------------------------------------------------------------------------------------------------


def test_t12_sigterm_under_load_drains_and_the_rest_settles_after_the_restart(database_url: str) -> None:
    service = Service(database_url, LEDGER__SETTLE_AFTER="3")
    if not database_url.startswith("sqlite"):
        service.database.with_tables()
    try:
        service.start()
        with Load(service, senders=8, rootless=True) as load:
            eventually(lambda: len(load.acknowledged) > 20)
            seconds = service.stop()
            time.sleep(0.2)
        due, booked = service.database.due(), service.database.number("SELECT COUNT(*) FROM entries")
        print(
            f"T12: drained in {seconds:.2f} s; refused meanwhile {dict(load.refused)}"
            f"; {due} traces not settled at the stop, {booked} entries"
        )
        assert seconds <= 10
        assert due > 0
        # what says no must be something that senders repeat
        assert not {"500", "INTERNAL", "UNKNOWN", "400", "INVALID_ARGUMENT"} & set(load.refused)
        service.start()
        check_all_there(service, load.acknowledged, "T12")
        service.stop()
        service.database.verify()
    finally:
        service.close()


def test_a_second_sigterm_ends_it_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path / 'ledger.db'}") as service:
        with Load(service) as load:
            eventually(lambda: len(load.acknowledged) > 10)
            service.signal(15)
            time.sleep(0.05)
            with suppress(ProcessLookupError):
                service.signal(15)
            eventually(lambda: not service.ready(), 10)
        service.close()
        service.start()
        check_all_there(service, load.acknowledged, "two signals")


# --- T8: a disk that is really full --------------------------------------------------------------------------------


def test_t8_a_disk_that_fills_up_under_load(tmp_path: Path) -> None:
    with small_disk(tmp_path, "3m") as resize, running(f"sqlite:///{tmp_path / 'ledger.db'}") as service:
        with Load(service) as load:
            eventually(lambda: load.refused["503"] and load.refused["UNAVAILABLE"])
            time.sleep(1)
            full = len(load.acknowledged)
            total = service.get("spend")["total_usd"]
            well = service.ready()
            resize("60m")
            freed = time.monotonic()
            eventually(lambda: len(load.acknowledged) > full + 5, 15)
            seconds = time.monotonic() - freed
        eventually(service.ready)
        print(
            f"T8: {full} batches until the disk was full, refusals {dict(load.refused)}"
            f"; spend readable ({total}); again after {seconds:.2f} s"
        )
        assert set(load.refused) == {"503", "UNAVAILABLE"}
        assert not well
        assert seconds < 10
        check_all_there(service, load.acknowledged, "T8")
        service.stop()
        service.database.verify()


# --- the store is stopped ------------------------------------------------------------------------------------------


def test_memory_stays_bounded_while_the_store_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with running(f"sqlite:///{path}") as service:
        service.send(body(trace_id(1, 300)))
        service.settled()

        def long_text(span: Any, index: int) -> None:
            put(span, "gen_ai.input.messages", "x" * 8_000)

        batches = [calls(trace_id(number, 301), 500, long_text).SerializeToString() for number in range(24)]
        memory, answers, stop = [service.memory()], Counter[int](), threading.Event()

        def send(content: bytes) -> None:
            with httpx.Client(headers=PROTOBUF, timeout=60, verify=False) as client:
                while not stop.is_set():
                    answers[client.post(service.traces_url, content=content).status_code] += 1

        with closing(sqlite3.connect(path)) as other, ThreadPoolExecutor(24) as workers:
            other.execute("BEGIN IMMEDIATE")
            senders = [workers.submit(send, content) for content in batches]
            until = time.monotonic() + 6
            while time.monotonic() < until:
                memory.append(service.memory())
                time.sleep(0.1)
            other.rollback()
            before = answers[200]
            eventually(lambda: answers[200] > before + 24, 40)
            stop.set()
            for sender in senders:
                sender.result()
        grown = (max(memory) - memory[0]) / 2**20
        print(
            f"24 senders of 4 MB batches, store locked 6 s: memory grew {grown:.0f} MiB; answers {dict(answers)}; held at the end"
            f" {service.metric('finops_in_flight_bytes'):g} bytes"
        )
        assert answers[503] > 0
        assert set(answers) <= {200, 429, 503}
        assert grown < 600  # 256 MiB of bodies may be in flight, and what is decoded of them
        assert before == 0
        service.settled(60)
        assert service.database.number("SELECT COUNT(*) FROM entries") == 24 * 500 + 1
        assert service.metric("finops_in_flight_bytes") == 0
        service.stop()
        service.database.verify()


def test_refused_bodies_are_not_kept(tmp_path: Path) -> None:
    def long_text(span: Any, index: int) -> None:
        put(span, "gen_ai.input.messages", "x" * 16_000)

    with running(f"sqlite:///{tmp_path / 'ledger.db'}") as service:
        content = body(trace_id(1, 302), 512, long_text)
        with no_room_on_disk(service):
            memory = []
            for number in range(43):
                if number % 2:
                    assert service.post(content).status_code == 503
                else:
                    with pytest.raises(grpc.RpcError) as caught:
                        service.call(content)
                    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                memory.append(service.memory())
        grown = (max(memory) - memory[2]) / 2**20
        print(f"40 refused bodies of {len(content) / 2**20:.0f} MiB, one after the other: memory grew {grown:.0f} MiB")
        assert grown < 80
        service.send(content)
        service.settled()
        service.stop()
