"""T53: no path that somebody sends or sets leads outside: nothing there is read or written, through `..` or through links."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e_service import Finished, Service, run_command, running
from e2e_spans import body, calls, put, trace_id

PRECIOUS = b"precious-content-of-somebody-else\n"
CLIMBS = (
    "/../../../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/./etc/passwd",
    "/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/docs/../../etc/passwd", "/..\\..\\etc\\passwd",
    "/api/v1/traces/..%2f..%2f..%2fetc%2fpasswd", "/api/v1/../../../etc/passwd", "/metrics/../../etc/passwd", "/v1/traces/../../etc/passwd",
    "/file:///etc/passwd", "/%00/etc/passwd", "/etc/passwd%00.html", "http://127.0.0.1/../../etc/passwd",
    "/api/v1/usage?cursor=../../etc/passwd",
)  # fmt: skip
FILE_SETTINGS = ("PRICES__PATH", "FORWARD__SPOOL_PATH", "FORWARD__TLS_CA_FILE", "FORWARD__TLS_CERT_FILE", "FORWARD__TLS_KEY_FILE")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file of somebody else, outside of the service's folder."""
    file = tmp_path / "precious"
    file.write_bytes(PRECIOUS)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "service"
    made.mkdir()
    return made


def asked(port: int, path: str, method: str = "GET") -> bytes:
    """A request as it is written here: clients would tidy the path up."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_t53_paths_that_climb_show_no_file(service: Service) -> None:
    passwd, answers = Path("/etc/passwd").read_bytes().splitlines()[0], 0
    for port in (service.web_port, service.http_port):
        for method in ("GET", "POST", "PUT"):
            for path in CLIMBS:
                answer = asked(port, path, method)
                assert passwd not in answer, (port, method, path)
                assert not answer or 200 <= int(answer.split()[1]) < 500, (path, answer[:200])
                answers += 1
    print(f"T53: {answers} requests with paths that climb, 0 escapes")


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/../etc/hostname"])
def test_t53_settings_that_climb_refuse_the_start(path: str, tmp_path: Path) -> None:
    """All of them in one message. A NUL cannot stand in the environment; test_settings_load gives one to the loader."""
    climbing: Any = dict.fromkeys(FILE_SETTINGS, path)
    done = run_command("--database", f"sqlite:///{tmp_path / 'ledger.db'}", "serve", **climbing)
    assert done.returncode == 2
    assert all(f"OTEL_FINOPS_{setting}" in done.stderr for setting in FILE_SETTINGS)
    assert os.listdir(tmp_path) == []
    assert not Path("../outside").exists()


def links(folder: Path, precious: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Links to somebody else's file where the service has its own, and the settings with which it would use them."""
    (folder / "spool").symlink_to(precious)
    yield "spool", {"FORWARD__ENDPOINT": "127.0.0.1:9", "FORWARD__MODE": "spool", "FORWARD__SPOOL_PATH": str(folder / "spool")}
    (folder / "dangling").symlink_to(precious.with_name("made-by-us"))
    yield "dangling", {"FORWARD__ENDPOINT": "127.0.0.1:9", "FORWARD__MODE": "spool", "FORWARD__SPOOL_PATH": str(folder / "dangling")}


def test_t53_a_queue_that_is_a_link_refuses_the_start(folder: Path, precious: Path) -> None:
    for name, settings in links(folder, precious):
        with pytest.raises(Finished, match="spool_path"):
            Service(f"sqlite:///{folder / 'ledger.db'}", **settings).start()
        assert (folder / name).is_symlink()
    assert precious.read_bytes() == PRECIOUS
    assert not precious.with_name("made-by-us").exists()


def test_t53_a_reserve_that_is_a_link_leaves_the_file_behind_it_alone(folder: Path, precious: Path) -> None:
    (folder / "ledger.db.reserve").symlink_to(precious)
    with running(f"sqlite:///{folder / 'ledger.db'}", DATABASE__RESERVE="true") as service:
        service.send(body(trace_id(1, 530)))
        service.stop()
    assert precious.read_bytes() == PRECIOUS


def test_t53_a_backup_through_a_link_replaces_the_link(folder: Path, precious: Path) -> None:
    service = Service(f"sqlite:///{folder / 'ledger.db'}")
    service.database.with_tables()
    for name in ("backup.db", "backup.db.partial"):
        (folder / name).symlink_to(precious)
    done = run_command("--database", service.database.url, "db", "backup", str(folder / "backup.db"))
    assert done.returncode in (0, 2), done.stderr
    assert precious.read_bytes() == PRECIOUS


def named(trace: bytes, name: str) -> bytes:
    """A call in which everything bears this name."""

    def edit(span: Any, _: int) -> None:
        for key in ("finops.tenant", "gen_ai.request.model", "user.id", "session.id", "gen_ai.agent.name", "service.name"):
            put(span, key, name)

    return calls(trace, 1, edit).SerializeToString()


def test_t53_names_in_spans_make_no_files(folder: Path, new_trace: Callable[[], bytes]) -> None:
    """Tenants, services, models and users are texts in rows, never names of files."""
    before = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.reserve"}
    with running(f"sqlite:///{folder / 'ledger.db'}") as service:
        for evil in ("../../outside", "/etc/cron.d/evil", "..\\outside", "file:///outside"):
            service.send(named(new_trace(), evil))
        service.settled()
        service.database.command("ledger", "export")
        service.stop()
    assert set(os.listdir(folder)) <= before
    assert set(os.listdir(folder.parent)) == {"service"}
