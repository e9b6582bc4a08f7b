"""Several processes on one PostgreSQL: what they see of one call at once is charged once, whichever of them dies."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_service import PROTOBUF, Database, Service, eventually, running
from e2e_spans import SECOND, calls, length_delimited, put, trace_id
from postgres_server import start_server, stop_server

pytestmark = pytest.mark.postgres

CALLS = 80
START_NS = (time.time_ns() // (3600 * SECOND) - 2) * 3600 * SECOND
Pair = tuple[bytes, bytes]


def sightings(number: int, start_ns: int = START_NS) -> Pair:
    """Two requests that show one call: as the framework and as the client see it.

    In turn: one above the other in a trace; beside each other in a trace; in two traces with the same answer id;
    in two traces of one service instance, known by their numbers alone.
    """
    kind = number % 4
    at = start_ns + number * SECOND

    def see(span: Any, own_id: int, parent: int | None, answer_id: bool) -> None:
        span.span_id = (number * 10 + own_id).to_bytes(8, "big")
        if parent is not None:
            span.parent_span_id = (number * 10 + parent).to_bytes(8, "big")
        put(span, "gen_ai.usage.input_tokens", 1000 + number)
        if answer_id:
            put(span, "gen_ai.response.id", f"chatcmpl-{number}")

    framework_trace = trace_id(number, 50)
    client_trace = framework_trace if kind < 2 else trace_id(number, 51)
    parent = {0: 1, 1: 9}.get(kind)
    framework = calls(framework_trace, 1, lambda span, _: see(span, 1, 9 if kind == 1 else None, kind != 3), start_ns=at, scope="framework")
    client = calls(client_trace, 1, lambda span, _: see(span, 2, parent, kind != 3), start_ns=at + 1000, scope="client")
    for request in (framework, client):
        request.resource_spans[0].resource.attributes.add(key="service.instance.id").value.string_value = "one"
    return framework.SerializeToString(), client.SerializeToString()


# 80 calls of 1,000 to 1,079 tokens in and 200 out: 80 x 0.0045, and 3,160 tokens more at 0.0000025
TOTAL_USD = Decimal("0.36") + 3_160 * Decimal("0.0000025")


@contextmanager
def pair_of_services(url: str, **settings: str) -> Iterator[tuple[Service, Service]]:
    Database(url).with_tables()
    with running(url, **settings) as first, running(url, **settings) as second:
        yield first, second


def at_once(first: Callable[[], Any], second: Callable[[], Any], workers: ThreadPoolExecutor) -> None:
    """Run both, released by one gate."""
    gate = threading.Barrier(2)

    def released(act: Callable[[], Any]) -> None:
        gate.wait()
        act()

    for running_one in [workers.submit(released, act) for act in (first, second)]:
        running_one.result()


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The canonical ledger of one process on SQLite that got all of it in order."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "spans.binpb").write_bytes(length_delimited([content for number in range(CALLS) for content in sightings(number)]))
    database = Database(f"sqlite:///{folder / 'ledger.db'}")
    database.command("ingest", str(folder / "spans.binpb"))
    database.verify()
    return database.canonical()


def check_charged_once(database: Database, wanted: str, what: str) -> None:
    standing = [row for row in database.net() if row["role"] == "call"]
    total = sum(Decimal(row["cost_usd"]) for row in standing)
    entries = database.number("SELECT COUNT(*) FROM entries")
    same = database.canonical() == wanted
    verdict = database.verify()
    print(
        f"{what}: {len(standing)} of {CALLS} calls stand, {total} USD of {TOTAL_USD}; {entries} entries in {verdict.blocks} blocks"
        f" of {verdict.shards} shards; canonical dump equal to one process's: {same}"
    )
    assert (len(standing), total) == (CALLS, TOTAL_USD)
    assert same


@pytest.mark.parametrize("settle_after", ["0", pytest.param("1", marks=pytest.mark.long)])
def test_two_sightings_of_a_call_sent_at_once_to_two_processes(postgres_database: str, by_one_process: str, settle_after: str) -> None:
    with pair_of_services(postgres_database, LEDGER__SETTLE_AFTER=settle_after) as services, ThreadPoolExecutor(8) as workers:
        clients = [httpx.Client(headers=PROTOBUF, timeout=30, verify=False) for _ in services]

        def send(to: int, content: bytes) -> None:
            assert clients[to].post(services[to].traces_url, content=content).status_code == 200

        for number in range(CALLS):
            framework, client = sightings(number)
            swap = number // 4 % 2
            at_once(lambda f=framework, s=swap: send(s, f), lambda c=client, s=swap: send(1 - s, c), workers)
        for one in clients:
            one.close()
        database = services[0].settled()
        for service in services:
            service.stop()
        check_charged_once(database, by_one_process, f"two processes, settled after {settle_after} s")


def test_one_of_two_processes_is_killed_again_and_again(postgres_database: str, by_one_process: str) -> None:
    rng = random.Random(7)
    with pair_of_services(postgres_database, LEDGER__SETTLE_AFTER="0") as services, ThreadPoolExecutor(8) as workers:
        unheard = 0
        one_by_one = threading.Lock()

        def send(to: int, content: bytes) -> None:
            """As a sender behind a load balancer does: the other one when this one does not answer."""
            nonlocal unheard
            for attempt in range(100):
                try:
                    if services[(to + attempt) % 2].post(content).status_code == 200:
                        return
                except httpx.HTTPError:
                    unheard += 1
                time.sleep(0.05)
            raise AssertionError("nobody took it")

        def kill_and_start() -> None:
            with one_by_one:  # a start may take longer than the way to the next kill
                time.sleep(rng.random() * 0.2)
                services[1].kill()
                services[1].start()

        kills = []
        for number in range(CALLS):
            framework, client = sightings(number)
            if number in (8, 32, 56):
                kills.append(workers.submit(kill_and_start))
            at_once(lambda f=framework: send(0, f), lambda c=client: send(1, c), workers)
            time.sleep(0.01)
        for kill in kills:
            kill.result()
        began = time.monotonic()
        # what the killed process held is settled by the other once its lease has run out
        database = services[0].settled(60)
        print(f"3 kills, {unheard} requests unheard and sent to the other; settled {time.monotonic() - began:.1f} s after the last one")
        services[0].stop()
        services[1].stop()
        check_charged_once(database, by_one_process, "one of two killed three times")


@pytest.mark.long
def test_five_senders_of_the_same_batch_to_two_processes(postgres_database: str) -> None:
    request = calls(trace_id(1, 52), 100, lambda span, index: put(span, "gen_ai.usage.input_tokens", 5000 + 37 * index), start_ns=START_NS)
    batch = request.SerializeToString()
    with pair_of_services(postgres_database) as services, ThreadPoolExecutor(5) as workers:
        answers = list(workers.map(lambda number: services[number % 2].post(batch).status_code, range(50)))
        database = services[0].settled()
        keys, entries = database.span_keys(), database.span_keys("entries")
        print(f"T3 on two processes: {len(keys)} rows, {len(entries)} entries for 100 keys; answers {sorted(set(answers))}")
        assert len(set(keys)) == len(keys) == len(set(entries)) == len(entries) == 100
        assert set(answers) == {200}
        for service in services:
            service.stop()
        database.verify()


# --- a server that goes away ---------------------------------------------------------------------------------------


def without_server(url: str, away_s: float) -> None:
    """Load while the server is stopped for a while; nothing that was acknowledged is lost, all is taken in the end."""
    Database(url).command("db", "upgrade")
    with running(url) as service:
        stop = threading.Event()
        acknowledged: list[bytes] = []
        refusals: list[httpx.Response] = []
        memory = [service.memory()]

        def send(worker: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                trace = trace_id(number, 100 + worker)
                content = calls(trace, 20, start_ns=START_NS).SerializeToString()
                while (answer := service.post(content, timeout_s=60)).status_code != 200:
                    refusals.append(answer)
                    time.sleep(0.05)
                acknowledged.append(trace)

        with ThreadPoolExecutor(4) as workers:
            senders = [workers.submit(send, worker) for worker in range(4)]
            time.sleep(1)
            before = len(acknowledged)
            stop_server(url)
            gone = time.monotonic()
            while time.monotonic() - gone < away_s:
                memory.append(service.memory())
                time.sleep(0.2)
            ready_while_away = service.ready()
            during = len(acknowledged)
            start_server(url)
            back = time.monotonic()
            eventually(lambda: len(acknowledged) > during + 8, 30)
            seconds = time.monotonic() - back
            stop.set()
            for sender in senders:
                sender.result()
        eventually(service.ready, 30)
        database = service.settled(60)
        keys = database.span_keys("entries")
        lost = [trace for trace in acknowledged if sum(key[0] == trace for key in keys) != 20]
        grown = (max(memory) - memory[0]) / 2**20
        print(
            f"T9: away {away_s:g} s; {before} batches acknowledged before, {len(acknowledged)} in all; {len(refusals)} refusals"
            f" {sorted({answer.status_code for answer in refusals})}; takes again after {seconds:.2f} s; lost {len(lost)},"
            f" doubled {len(keys) - len(set(keys))}; memory grew {grown:.0f} MiB"
        )
        assert refusals
        assert {(answer.status_code, "retry-after" in answer.headers) for answer in refusals} == {(503, True)}
        assert not ready_while_away
        assert (lost, len(keys)) == ([], len(set(keys)))
        assert grown < 100
        service.stop()
        database.verify()


def test_t9_a_server_away_for_a_few_seconds(postgres_own_server: str) -> None:
    without_server(postgres_own_server, 4)


@pytest.mark.long
def test_t9_a_server_away_for_a_minute(postgres_own_server: str) -> None:
    without_server(postgres_own_server, 60)


def test_a_killed_process_leaves_its_lease_to_the_next(postgres_database: str, tmp_path: Path) -> None:
    Database(postgres_database).with_tables()
    with running(postgres_database, LEDGER__SETTLE_AFTER="0") as service:
        for number in range(30):
            service.send(sightings(number)[0])
        service.kill()
        began = time.monotonic()
        service.start()
        database = service.settled(40)
        print(f"settled {time.monotonic() - began:.1f} s after the restart; {database.number('SELECT COUNT(*) FROM entries')} entries")
        assert database.number("SELECT COUNT(DISTINCT span_id) FROM entries") == 30
        service.stop()
        database.verify()
