"""Channels by their operations: nothing secret is ever seen again, and off means off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from receivers import Receiver, receiving
from standardwebhooks.webhooks import Webhook

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.idempotency import Replayed
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

MANAGER = Principal("max", ("acme",), ROLES["manager"])
VIEWER = Principal("vera", ("acme",), ROLES["viewer"])
GLOBEX = Principal("gil", ("globex",), ROLES["manager"])
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SECRET = {
    "url": "https://hooks.example.com/services/s3cr3t-path", "headers": {"X-Auth": "s3cr3t-header"}, "username": "ann",
    "password": "s3cr3t-password",
}  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def context(store: Store, **environ: str) -> Context:
    clock = FakeClock()
    settings = load(None, {"OTEL_FINOPS_CHANNELS__SECRET_KEYS": f'["{KEY}"]', **environ})
    return make_context(settings, store, Subjects(), CurrentPrices(store, clock, packaged_snapshot), clock)


def do(on: Context, name: str, who: Principal = LOCAL, /, *, key: str | None = None, **given: Any) -> Json:
    one = OPERATIONS.named(name)
    return invoke(one, on, who, one.input.model_validate(given), origin="test", key=key)


def everything(store: Store) -> str:
    """All that stands in the database."""
    with store.read() as transaction:
        if store.engine_name == "sqlite":
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        rows = [row for (table,) in transaction.execute(names) for row in transaction.execute(f"SELECT * FROM {table}")]
    return " ".join(_text(value) for row in rows for value in row)


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)


def test_what_is_secret_of_a_channel_is_seen_by_nobody_again(store: Store) -> None:
    on = context(store)
    made = do(on, "channels.create", key="k1", type="webhook", name="pager", **SECRET)
    key = made["signing_key"]
    assert key.startswith("whsec_")
    assert (made["channel"]["host"], made["channel"]["headers"]) == ("hooks.example.com", ["X-Auth"])
    again = do(on, "channels.create", key="k1", type="webhook", name="pager", **SECRET)  # the request is repeated
    assert isinstance(again, Replayed)
    assert again["signing_key"] == "(secret)"
    do(on, "channels.update", no=1, url="https://hooks.example.com/services/s3cr3t-other", password="s3cr3t-changed")
    answers = [do(on, name, **given) for name, given in (("channels.list", {}), ("channels.show", {"no": 1}), ("audit.list", {}))]
    shown = str(answers) + str(do(on, "channels.delete", no=1)) + everything(store)
    assert "s3cr3t" not in shown
    assert key not in shown
    assert "pager" in shown


def test_who_changed_what_of_a_channel_is_on_record_without_its_secrets(store: Store) -> None:
    on = context(store)
    do(on, "channels.create", type="webhook", name="pager", **SECRET)
    do(on, "channels.update", no=1, password="s3cr3t-changed")
    do(on, "channels.rotate_key", no=1)
    entries = do(on, "audit.list")["entries"]
    assert [(one["what"], one["after"].get("given_anew")) for one in entries if one["what"].startswith("channels.")] == [
        ("channels.rotate_key", ["key"]),
        ("channels.update", ["password"]),
        ("channels.create", None),
    ]


def test_a_test_goes_the_way_of_all_notices_and_says_what_came_of_it(store: Store, receiver: Receiver) -> None:
    inside = {"OTEL_FINOPS_OUTBOUND__NETWORKS": '["127.0.0.0/8"]', "OTEL_FINOPS_OUTBOUND__PORTS": f"[{receiver.port}]"}
    on = context(store, **inside)
    key = do(on, "channels.create", type="webhook", name="pager", url=receiver.url)["signing_key"]
    said = do(on, "channels.test", no=1, severity="critical")["delivery"]
    assert (said["status"], said["said"], said["attempts"]) == ("delivered", "answered 200", 1)
    [heard] = receiver.heard
    assert heard.headers["webhook-id"] == said["notice_id"]
    with pytest.raises(Exception, match="too old"):  # its time is the test's clock, and its signature is right
        Webhook(key).verify(heard.body, heard.headers)
    receiver.answers.append((503, {}, b"not now"))
    said = do(on, "channels.test", no=1)["delivery"]
    assert (said["status"], said["said"]) == ("failed", "answered 503: not now; given up after 1 attempt")
    assert do(on, "deliveries.run") == {"delivered": 0, "again": 0, "failed": 0}  # a test is not tried again
    assert do(on, "deliveries.retry", no=said["no"])["delivery"]["status"] == "waiting"
    assert do(on, "deliveries.run") == {"delivered": 1, "again": 0, "failed": 0}
    attempts = do(on, "deliveries.show", no=said["no"])["attempts"]
    assert [(one["attempt"], one["outcome"], one["code"]) for one in attempts] == [(2, "delivered", 200), (1, "failed", 503)]


def test_a_tenants_people_have_channels_of_their_own(store: Store) -> None:
    on = context(store)
    url = "https://hooks.example.com/x"
    do(on, "channels.create", type="slack", name="everybody's", url=url)
    mine = do(on, "channels.create", MANAGER, type="slack", name="mine", url=url, tenant="acme")["channel"]["no"]
    with pytest.raises(Forbidden, match="name yours"):
        do(on, "channels.create", MANAGER, type="slack", name="all", url=url)
    for name, given in (("channels.create", {"type": "slack", "name": "x", "url": url, "tenant": "globex"}), ("channels.test", {"no": 1})):
        with pytest.raises(NotFound):
            do(on, name, MANAGER, **given)
    with pytest.raises(Forbidden, match="needs the permission manage"):
        do(on, "channels.test", VIEWER, no=mine)
    assert [one["name"] for one in do(on, "channels.list", VIEWER)["channels"]] == ["mine"]
    assert do(on, "channels.list", GLOBEX)["channels"] == []
    with pytest.raises(BadInput, match=r"url: it leads to an address that is not public"):
        do(on, "channels.create", MANAGER, type="slack", name="inner", url="https://169.254.169.254/", tenant="acme")


def test_a_route_shows_which_channels_are_routed(store: Store) -> None:
    on = context(store)
    do(on, "channels.create", type="slack", name="ops", url="https://hooks.example.com/x")
    assert do(on, "channels.list")["channels"][0]["routed"] is False
    made = do(on, "alert_routes.create", name="worst", channels="1", min_severity="critical", labels="model=gpt-*")["route"]
    assert (made["channels"], made["labels"], made["min_severity"]) == ([1], {"model": "gpt-*"}, "critical")
    assert do(on, "channels.list")["channels"][0]["routed"] is True
    do(on, "alert_routes.delete", no=1)
    assert do(on, "alert_routes.show", no=1)["deleted"] is True


def test_off_means_off(store: Store) -> None:
    on = context(store, OTEL_FINOPS_FEATURES__CHANNELS="false")
    for name in ("channels.list", "alert_routes.list", "deliveries.list"):
        with pytest.raises(NotFound, match=r"features\.channels"):
            do(on, name)
    assert "deliver" not in {one["job"] for one in do(on, "jobs.list")["jobs"]}
