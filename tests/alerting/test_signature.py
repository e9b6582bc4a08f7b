"""Signatures of webhooks, held against another implementation of Standard Webhooks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from otel_finops.alerting.signature import checked_key, new_key, signed_headers

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The key of the specification's own example."""
BODY = b'{"test": 2432232314}'


def test_the_specifications_own_example() -> None:
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY, [KEY])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def test_another_implementation_verifies_what_we_sign() -> None:
    key = new_key()
    assert Webhook(key).verify(BODY, dict(signed_headers("n1", now_s(), BODY, [key]))) == {"test": 2432232314}


@pytest.mark.parametrize("changed", ["body", "id", "time", "key"])
def test_it_refuses_what_was_changed_or_is_old(changed: str) -> None:
    key = new_key()
    headers = dict(signed_headers("n1", now_s() - (3_600 if changed == "time" else 0), BODY, [new_key() if changed == "key" else key]))
    headers |= {"webhook-id": "n2"} if changed == "id" else {}
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(b"{}" if changed == "body" else BODY, headers)


def test_while_a_key_is_replaced_both_verify() -> None:
    former, new = new_key(), new_key()
    headers = dict(signed_headers("n1", now_s(), BODY, [new, former]))
    assert headers["webhook-signature"].count("v1,") == 2
    for key in (former, new):
        Webhook(key).verify(BODY, headers)


@pytest.mark.parametrize(
    "key", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64", "whsec_c2hvcnQ=", "whsec_" + "A" * 200]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and 24 to 64 bytes"):
        checked_key(key)


def test_keys_are_never_the_same() -> None:
    assert len({checked_key(new_key()) for _ in range(100)}) == 100
