"""T34: two replicas, one threshold crossed: one alert delivered by each channel."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2e_service import PROTOBUF, Database, eventually, http, running
from e2e_spans import body, trace_id

pytestmark = [pytest.mark.postgres, pytest.mark.long]

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
Heard = list[tuple[str, str, str]]
"""Path, id and title of each delivery of the rule on thresholds."""


@contextmanager
def listener() -> Iterator[tuple[str, Heard]]:
    """Where channels lead to: the address, and what came."""
    heard: Heard = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is the library's
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if said["data"]["rule"] == "Budget thresholds":
                heard.append((self.path, self.headers["webhook-id"], said["data"]["title"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def checks(database: str) -> int:
    """How often the rules were checked, by whichever replica."""
    return Database(database).number("SELECT COUNT(*) FROM job_runs WHERE job = 'check_alerts'")


def test_two_replicas_tell_once_by_each_channel(postgres_database: str) -> None:
    Database(postgres_database).with_tables()
    with listener() as (address, heard):
        settings = {
            "CHANNELS__SECRET_KEYS": json.dumps([KEY]),
            "OUTBOUND__NETWORKS": '["127.0.0.0/8"]',
            "OUTBOUND__PORTS": f"[{address.rpartition(':')[2]}]",
            "JOBS__INTERVALS": '{"check_alerts": 5}',
        }
        with running(postgres_database, **settings) as one, running(postgres_database, **settings) as other:

            def ask(path: str, **said: object) -> None:
                assert http("POST", f"{one.web}/api/v1/{path}", json=said).status_code == 200

            for name in ("ops", "money"):
                ask("channels", type="webhook", name=name, url=f"{address}/{name}")
            ask("budgets", name="day", amount="0.001", period="daily", thresholds=[50, 100])
            other.send(body(trace_id(1, 34), start_ns=time.time_ns()), PROTOBUF)
            eventually(lambda: len(heard) == 2, 40)
            enough = checks(postgres_database) + 3
            eventually(lambda: checks(postgres_database) >= enough, 60)
    assert Counter(path for path, _, _ in heard) == {"/ops": 1, "/money": 1}
    assert {title for _, _, title in heard} == {"day: 100 % of the budget spent"}
    assert len({notice for _, notice, _ in heard}) == 1
