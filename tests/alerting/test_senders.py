"""One attempt by a real receiver, and what its answer means."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from delivery_rig import INSIDE, notice
from receivers import Receiver, free_port, receiving
from standardwebhooks.webhooks import Webhook

from otel_finops.alerting.channel_secrets import Secrets, SigningKey
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import Channel, ChannelType
from otel_finops.alerting.senders import Attempt, Senders
from otel_finops.alerting.signature import new_key
from otel_finops.base.clock import SystemClock
from otel_finops.base.outbound import Outbound, Rules
from otel_finops.settings.channels import Channels

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def tell(type_: ChannelType, secrets: Secrets, one: Notice | None = None, *, of_all: bool = True, **channel: Any) -> Attempt:
    senders = Senders(Channels(), Outbound(timeout_s=5, answer_bytes_max=4_096), INSIDE, SystemClock(), 5)
    return senders.tell(Channel(1, "ops", type_, of_all=of_all, **channel), secrets, one or notice())


def test_a_webhook_that_arrives_is_verified_by_another_implementation(receiver: Receiver) -> None:
    key = new_key()
    secrets = Secrets(f"{receiver.url}/hook?a=b", keys=(SigningKey(key),))
    assert tell("webhook", secrets) == Attempt("delivered", "answered 200", 200)
    [heard] = receiver.heard
    assert (heard.method, heard.path, heard.headers["content-type"]) == ("POST", "/hook?a=b", "application/json")
    assert Webhook(key).verify(heard.body, heard.headers)["data"]["id"] == "n1"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"), (202, "delivered"), (204, "delivered"),
        (301, "failed"), (307, "failed"),
        (400, "failed"), (410, "failed"), (413, "failed"), (422, "failed"),
        (401, "again"), (403, "again"), (404, "again"), (408, "again"), (429, "again"), (500, "again"), (502, "again"), (503, "again"),
    ],
)  # fmt: skip
def test_what_an_answer_means(receiver: Receiver, status: int, outcome: str) -> None:
    """What says that the very same request will never do is final; what somebody may mend is tried again."""
    receiver.answers.append((status, {"location": "http://127.0.0.1/"} if status < 400 else {}, b""))
    attempt = tell("slack", Secrets(receiver.url))
    assert (attempt.outcome, attempt.code) == (outcome, status)
    assert len(receiver.heard) == 1


def test_who_is_busy_says_for_how_long(receiver: Receiver) -> None:
    for said, wait_s in (("7", 7.0), ("999999", 3_600.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-5", 0.0)):
        receiver.answers.append((429, {"retry-after": said}, b"rate_limited"))
        assert tell("slack", Secrets(receiver.url)) == Attempt("again", "answered 429: rate_limited", 429, wait_s)


def test_an_answer_that_repeats_secrets_is_kept_without_them(receiver: Receiver) -> None:
    receiver.answers.append((400, {}, b"no such token: t0k3n-of-ours\x1b[31m " + b"x" * 1_000))
    attempt = tell("webhook", Secrets(receiver.url, {"Authorization": "t0k3n-of-ours"}, keys=(SigningKey(new_key()),)))
    assert attempt.said.startswith("answered 400: no such token: (secret) [31m xxx")
    assert len(attempt.said) <= 220


def test_a_tenants_people_are_told_the_status_alone(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """T42: nobody reads by the service what he cannot read himself."""
    monkeypatch.setattr(Rules, "without_networks", lambda rules: rules)
    for said in ({"of_all": False}, {"tenant": "acme"}):  # theirs; and one that the operator made for them, whose deliveries they see
        receiver.answers.append((403, {}, b"inner words"))
        assert tell("slack", Secrets(receiver.url), **said) == Attempt("again", "answered 403", 403)


def test_ones_own_networks_are_for_channels_of_who_sees_all_tenants(receiver: Receiver) -> None:
    attempt = tell("slack", Secrets(receiver.url), of_all=False)
    assert attempt.outcome == "failed"
    assert attempt.said.startswith("not sent: it leads to an address that is not public")
    assert receiver.heard == []


def test_nobody_there_is_no_end() -> None:
    attempt = tell("slack", Secrets("http://127.0.0.1:1/s3cr3t"))
    assert attempt == Attempt("again", "nobody answers at 127.0.0.1 port 1 (Connection refused)")


def test_mail_without_a_server_says_which_setting_is_missing() -> None:
    assert tell("mail", Secrets(), to=("ann@example.com",)) == Attempt(
        "failed", "not sent: the settings name no mail server (channels.smtp_host)"
    )


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Receiver]]:
    """A real Alertmanager's address, and what hears of its alerts."""
    if ALERTMANAGER is None:
        pytest.skip("SKIPPED LOUDLY: no Alertmanager here; install the Debian package prometheus-alertmanager")
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    port = free_port()
    with receiving() as hears:
        config = {
            "route": {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
            "receivers": [{"name": "test", "webhook_configs": [{"url": hears.url, "send_resolved": True}]}],
        }
        (folder / "config.yml").write_text(json.dumps(config))
        words = [
            ALERTMANAGER, f"--config.file={folder / 'config.yml'}", f"--storage.path={folder}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]  # fmt: skip
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: is_ready(port), 20)
            yield f"http://127.0.0.1:{port}", hears
        finally:
            process.terminate()
            process.wait(10)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(holds: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def test_a_real_alertmanager_takes_an_alert_its_worsening_and_its_end(alertmanager: tuple[str, Receiver]) -> None:
    url, hears = alertmanager
    now_s = (SystemClock().now_ns() - notice().at_ns) // 10**9  # Alertmanager goes by the real time

    def alert(**said: Any) -> Notice:
        one = notice(at_s=now_s, labels={"budget": "all of it", "run id": "7"}, **said)
        return one._replace(started_ns=one.at_ns - 10**9)

    def heard() -> list[tuple[str, str]]:
        bodies = [json.loads(one.body) for one in list(hears.heard)]
        return [(one["labels"]["severity"], one["status"]) for body in bodies for one in body["alerts"]]

    for said, expected in (
        ({"severity": "warning"}, ("warning", "firing")),
        ({"notice_id": "n2", "severity": "critical"}, ("critical", "firing")),
        ({"notice_id": "n3", "severity": "critical", "state": "resolved"}, ("critical", "resolved")),
    ):
        assert tell("alertmanager", Secrets(url), alert(**said)) == Attempt("delivered", "answered 200", 200)
        until(lambda expected=expected: expected in heard(), 15)
    until(lambda: ("warning", "resolved") in heard(), 15)  # the milder one ended when it got worse
    assert {one for one in heard() if one[0] == "info"} == set()  # what never fired is not told to be over
    first = json.loads(hears.heard[0].body)["alerts"][0]
    assert first["labels"]["alertname"] == "budgets"
    assert (first["labels"]["run_id"], first["annotations"]["spent_usd"]) == ("7", "812.5")
