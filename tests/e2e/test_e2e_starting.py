"""Starts that are refused, other prices after a restart, attacks on the ledger's tables, and the exit codes of `ingest`."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from e2e_faults import TELLTALE
from e2e_service import Database, environment, free_ports, occupied_port, run_command, running
from e2e_spans import SECOND, body, length_delimited, trace_id
from sqlalchemy.exc import SQLAlchemyError

# --- a ledger that others hold -------------------------------------------------------------------------------------

HOLDER = "ingest on build-7 (4711)"
_HELD = "INSERT INTO leases (name, holder, token, expires_ns) VALUES ('shard:{}', '{}', 9, {})"


@pytest.fixture(scope="module", autouse=True)
def ingest_that_waits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """An `ingest` into a ledger whose shards somebody else holds: it gives up after thirty seconds, while other tests run."""
    folder = tmp_path_factory.mktemp("busy")
    database = Database(f"sqlite:///{folder / 'ledger.db'}").with_tables()
    for shard in range(16):
        database.sql(_HELD.format(shard, HOLDER, time.time_ns() + 3600 * SECOND))
    (folder / "spans.binpb").write_bytes(body(trace_id(1, 400)))
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_finops", "--database", database.url, "ingest", str(folder / "spans.binpb")],
        env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


# --- starts that are refused ---------------------------------------------------------------------------------------

Prepare = Callable[[Path], dict[str, str]]


def newer_database(folder: Path) -> dict[str, str]:
    database = Database(f"sqlite:///{folder / 'newer.db'}").with_tables()
    database.sql("UPDATE alembic_version SET version_num = '9999_tomorrow'")
    return {"DATABASE__URL": database.url}


def foreign_database(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "foreign.db")) as other:
        other.execute("CREATE TABLE invoices (number INTEGER)")
        other.commit()
    return {"DATABASE__URL": f"sqlite:///{folder / 'foreign.db'}"}


def no_database(folder: Path) -> dict[str, str]:
    (folder / "notes.db").write_text("these are notes, no database\n" * 100)
    return {"DATABASE__URL": f"sqlite:///{folder / 'notes.db'}"}


def damaged_database(folder: Path) -> dict[str, str]:
    database = Database(f"sqlite:///{folder / 'damaged.db'}").with_tables()
    database.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with (folder / "damaged.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 8192)
    return {"DATABASE__URL": database.url}


def unknown_key_in_file(folder: Path) -> dict[str, str]:
    (folder / "settings.yaml").write_text("ledger:\n  settle_aftr: 3\nlegder:\n  settle_after: 3\nmetrics:\n  series_max: many\n")
    return {"CONFIG": str(folder / "settings.yaml")}


def object_in_file(folder: Path) -> dict[str, str]:
    (folder / "settings.yaml").write_text("ledger: !!python/object/apply:os.system ['true']\n")
    return {"CONFIG": str(folder / "settings.yaml")}


REFUSED: dict[str, tuple[Prepare, list[str]]] = {
    "newer database": (newer_database, ["newer.db is newer than this program", "9999_tomorrow", "install the newer program"]),
    "foreign database": (foreign_database, ["foreign.db holds another program's tables", "database.url"]),
    "no database": (no_database, ["notes.db is not a database", "database.url"]),
    "damaged database": (damaged_database, ["damaged.db", "restore a copy"]),
    "no such folder": (lambda folder: {"DATABASE__URL": f"sqlite:///{folder / 'none' / 'x.db'}"}, ["cannot open", "create its folder"]),
    "server away": (
        lambda folder: {"DATABASE__URL": f"postgresql+psycopg://user:hidden@/ledger?host={folder}"},
        ["PostgreSQL database ledger", "cannot be used now", "database.url"],
    ),
    "unknown variable": (lambda _: {"LEDGER__SETTLE_AFTR": "3"}, ["OTEL_FINOPS_LEDGER__SETTLE_AFTR", "did you mean"]),
    "unknown keys in the file": (unknown_key_in_file, ["3 faults", "ledger.settle_aftr", "legder", "metrics.series_max"]),
    "an object in the file": (object_in_file, ["settings.yaml, line 1", "not plain YAML"]),
    "wrong value": (lambda _: {"LEDGER__SETTLE_AFTER": "soon"}, ["OTEL_FINOPS_LEDGER__SETTLE_AFTER", "'soon'"]),
    "open to others without auth": (lambda _: {"OTLP__GRPC_ADDRESS": "0.0.0.0:0"}, ["otlp.grpc_address", "auth.mode"]),
    "no price file": (lambda folder: {"PRICES__PATH": str(folder / "none.json")}, ["OTEL_FINOPS_PRICES__PATH", "no such readable file"]),
    "prices that are none": (lambda folder: {"PRICES__PATH": __file__}, ["prices.path: price file", "test_e2e_starting.py", "line 1"]),
    "nothing that listens": (
        lambda folder: {"OTLP__GRPC_ADDRESS": "", "OTLP__HTTP_ADDRESS": "", "HTTP__ADDRESS": ""},
        ["nothing would listen", "otlp.grpc_address", "http.address"],
    ),
}


def check_refused(settings: dict[str, str], wanted: list[str]) -> None:
    done = run_command("serve", **settings)
    print(done.stderr.strip())
    assert (done.returncode, done.stdout) == (2, "")
    assert [text for text in wanted if text not in done.stderr] == []
    assert not TELLTALE["stack"].search(done.stderr)
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_a_start_that_cannot_go_well_is_refused(tmp_path: Path, case: str) -> None:
    prepare, wanted = REFUSED[case]
    ports = dict(zip(("OTLP__GRPC_ADDRESS", "OTLP__HTTP_ADDRESS", "HTTP__ADDRESS"), free_ports(3), strict=True))
    settings = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    check_refused({**settings, "DATABASE__URL": f"sqlite:///{tmp_path / 'ledger.db'}", **prepare(tmp_path)}, wanted)


@pytest.mark.parametrize("name", ["OTLP__GRPC_ADDRESS", "OTLP__HTTP_ADDRESS", "HTTP__ADDRESS"])
def test_a_port_in_use_is_named(tmp_path: Path, name: str) -> None:
    free = dict(zip(("OTLP__GRPC_ADDRESS", "OTLP__HTTP_ADDRESS", "HTTP__ADDRESS"), free_ports(3), strict=True))
    settings = {other: f"127.0.0.1:{port}" for other, port in free.items()}
    with occupied_port() as port:
        settings |= {"DATABASE__URL": f"sqlite:///{tmp_path / 'ledger.db'}", name: f"127.0.0.1:{port}"}
        check_refused(settings, [f"cannot listen on 127.0.0.1:{port}", f"OTEL_FINOPS_{name}"])


@pytest.mark.postgres
def test_postgresql_without_tables_asks_for_the_upgrade(postgres_database: str) -> None:
    check_refused({"DATABASE__URL": postgres_database}, ["has no tables yet", "otel-finops db upgrade"])


# --- T26: other prices ---------------------------------------------------------------------------------------------

ROWS = "SELECT * FROM entries ORDER BY shard, block_seq, idx"
DEARER = {
    "gpt-4o-2024-08-06": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 2e-05}
}
"""Twice the packaged price: a call of 1,000 tokens in and 200 out costs 0.009 USD instead of 0.0045."""


def test_t26_prices_that_change_later_leave_the_past_alone(tmp_path: Path) -> None:
    url, start = f"sqlite:///{tmp_path / 'ledger.db'}", time.time_ns() - 600 * SECOND
    batches = [body(trace_id(number, 401), 10, start_ns=start) for number in range(5)]

    def begun_now(span: Any, index: int) -> None:
        """The last one; what began before the other prices came is charged by the old ones."""
        if index == 10:
            span.start_time_unix_nano, span.end_time_unix_nano = time.time_ns(), time.time_ns() + SECOND

    (tmp_path / "prices.json").write_text(json.dumps(DEARER))
    with running(url) as service:
        for batch in batches:
            service.send(batch)
        before = service.settled().sql(ROWS)
        service.stop()
    with running(url, PRICES__PATH=str(tmp_path / "prices.json")) as service:
        for batch in batches:
            service.send(batch)
        service.settled()
        time.sleep(0.5)
        resent = service.database.sql(ROWS)
        # a span more in the first trace, which is settled anew
        service.send(body(trace_id(0, 401), 11, begun_now, start_ns=start))
        after = service.settled().sql(ROWS)
        late_row = service.get("usage", trace_id=trace_id(0, 401).hex(), limit=100)["entries"]
        service.stop()
    costs = sorted(Decimal(row["cost_usd"]) for row in late_row)
    changed = sum(old != new for old, new in zip(before, after, strict=False))
    print(
        f"T26: {len(before)} entries, {changed} changed, {len(resent) - len(before)} more after sending all again;"
        f" the late call costs {costs[-1]}"
    )
    assert (len(before), resent) == (50, before)
    assert (after[:50], len(after)) == (before, 51)
    assert costs == [Decimal("0.0045")] * 10 + [Decimal("0.009")]
    assert len({row["price_version"] for row in late_row}) == 2
    service.database.verify()


# --- T27: the tables refuse ----------------------------------------------------------------------------------------

ATTACKS = [
    "UPDATE entries SET cost_pico = 1",
    "UPDATE entries SET cost_pico = cost_pico - 1 WHERE idx = 0",
    "UPDATE entries SET tenant = 'globex' WHERE tenant = 'default'",
    "UPDATE entries SET user_ref = NULL",
    "DELETE FROM entries",
    "DELETE FROM entries WHERE idx = 1",
    "UPDATE blocks SET sum_pico = '0'",
    "UPDATE blocks SET hash = prev_hash",
    "DELETE FROM blocks",
    "DELETE FROM blocks WHERE seq = 0",
]
ON_SQLITE = [
    "REPLACE INTO entries SELECT * FROM entries",
    "INSERT OR REPLACE INTO blocks SELECT * FROM blocks",
    "UPDATE OR REPLACE entries SET idx = 0",
]
ON_POSTGRESQL = ["TRUNCATE entries", "TRUNCATE blocks", "TRUNCATE entries, blocks CASCADE"]


def test_t27_the_ledger_refuses_to_be_changed(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    database.command("db", "upgrade")
    (tmp_path / "spans.binpb").write_bytes(body(trace_id(2, 402), 20))
    database.command("ingest", str(tmp_path / "spans.binpb"))
    before = database.sql(ROWS), database.sql("SELECT * FROM blocks ORDER BY shard, seq")
    tried = ATTACKS + (ON_SQLITE if database_url.startswith("sqlite") else ON_POSTGRESQL)
    let_through = []
    for attack in tried:
        try:
            database.sql(attack)
        except SQLAlchemyError as refusal:
            print(f"T27: {attack[:60]}: {str(refusal.__cause__).splitlines()[0]}")
        else:
            let_through.append(attack)
    print(f"T27: {len(tried) - len(let_through)} of {len(tried)} refused; let through: {let_through}")
    assert let_through == []
    assert (database.sql(ROWS), database.sql("SELECT * FROM blocks ORDER BY shard, seq")) == before
    database.verify()


# --- ingest --------------------------------------------------------------------------------------------------------


def test_ingest_ends_with_0_when_it_did_its_work(tmp_path: Path) -> None:
    def spoil(span: Any, index: int) -> None:
        if index == 1:
            span.span_id = b""

    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    (tmp_path / "spans.binpb").write_bytes(length_delimited([body(trace_id(1, 403), 3), body(trace_id(2, 403), 3, spoil)]))
    for journalled in (5, 0):
        done = run_command("--database", database.url, "ingest", "--json", str(tmp_path / "spans.binpb"))
        answer = json.loads(done.stdout)
        assert done.returncode == 0
        assert (answer["received"], answer["journalled"], answer["rejected"]) == (6, journalled, 1)
    assert database.number("SELECT COUNT(*) FROM entries") == 5


BROKEN = {
    "spans.binpb": (b"\xff\xff\xff\xff", "spans.binpb"),
    "cut.binpb": (length_delimited([b"\n" * 100])[:-10], "broken off"),
    "spans.json": (b'{"resourceSpans": [', "spans.json"),
    "spans.jsonl": (b'{"resourceSpans": []}\nno json\n', "request 2"),
    "spans.txt": (b"", "unknown kind of file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_ingest_ends_with_2_on_a_file_that_it_cannot_read(tmp_path: Path, name: str) -> None:
    content, wanted = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    done = run_command("--database", f"sqlite:///{tmp_path / 'ledger.db'}", "ingest", str(tmp_path / name))
    print(done.stderr.strip())
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


def test_ingest_ends_with_2_on_a_file_that_is_missing_and_takes_in_nothing(tmp_path: Path) -> None:
    (tmp_path / "spans.binpb").write_bytes(body(trace_id(1, 404)))
    done = run_command("--database", f"sqlite:///{tmp_path / 'x.db'}", "ingest", str(tmp_path / "spans.binpb"), str(tmp_path / "none.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.json: cannot be read" in done.stderr


def test_ingest_beside_a_running_service(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path / 'ledger.db'}", LEDGER__SETTLE_AFTER="0") as service:
        file = tmp_path / "spans.binpb"
        file.write_bytes(length_delimited([body(trace_id(number, 405), 50) for number in range(10)]))
        command = [sys.executable, "-m", "otel_finops", "--database", service.database.url, "ingest", str(file)]
        beside = subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sent = 0
        while beside.poll() is None:
            service.send(body(trace_id(sent, 406), 50))
            sent += 1
        output, errors = beside.communicate()
        assert beside.returncode == 0, errors
        entries = service.settled().number("SELECT COUNT(*) FROM entries")
        print(f"ingest beside a service that took {sent} requests: {output.strip()}; {entries} entries")
        assert entries == 50 * (10 + sent)
        service.stop()
        service.database.verify()


def test_ingest_ends_with_3_and_names_the_holder_of_a_ledger_that_stays_busy(ingest_that_waits: subprocess.Popen[str]) -> None:
    _, errors = ingest_that_waits.communicate(timeout=60)
    print(errors.strip())
    assert ingest_that_waits.returncode == 3
    assert HOLDER in errors


def test_ingest_that_is_interrupted_can_be_repeated(tmp_path: Path) -> None:
    database, file = Database(f"sqlite:///{tmp_path / 'ledger.db'}"), tmp_path / "spans.binpb"
    file.write_bytes(length_delimited([body(trace_id(number, 407), 200) for number in range(40)]))
    command = [sys.executable, "-m", "otel_finops", "--database", database.url, "ingest", str(file)]
    with subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        while first.poll() is None and not (tmp_path / "ledger.db-wal").exists():
            time.sleep(0.02)
        time.sleep(0.15)
        first.send_signal(signal.SIGKILL)
    database.command("ingest", str(file))
    assert database.number("SELECT COUNT(*) FROM entries") == 8_000
    assert len(set(database.span_keys("entries"))) == 8_000
    database.verify()
