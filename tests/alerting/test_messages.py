"""Notices in the forms in which each kind of channel takes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from delivery_rig import HOOK, notice
from standardwebhooks.webhooks import Webhook

from otel_finops.alerting.channel_secrets import Secrets, SigningKey
from otel_finops.alerting.messages import Request, headline, plain_text, request_of, sms_text
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import Channel, ChannelType
from otel_finops.alerting.signature import new_key
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.testing import NOON

PUBLIC = "https://finops.example.com"


def request(type_: ChannelType, one: Notice, secrets: Secrets | None = None, now_ns: int = NOON, **channel: Any) -> Request:
    return request_of(Channel(1, "ops", type_, **channel), secrets or Secrets(HOOK), one, PUBLIC, now_ns)


def body(type_: ChannelType, one: Notice, secrets: Secrets | None = None) -> Any:
    return json.loads(request(type_, one, secrets).body)


def test_a_webhook_has_type_time_data_and_a_signature() -> None:
    key, now_s = new_key(), int(datetime.now(UTC).timestamp())
    asked = request("webhook", notice(), Secrets(HOOK, {"X-Team": "ops"}, keys=(SigningKey(key),)), now_s * NS_PER_SECOND)
    assert asked.url == HOOK
    assert asked.headers["x-team"] == "ops"
    assert asked.headers["webhook-id"] == "n1"
    assert Webhook(key).verify(asked.body, dict(asked.headers)) == {
        "type": "alert.firing",
        "timestamp": "2026-11-21T12:00:00.000000000Z",
        "data": {
            "id": "n1", "alert_key": "budget:1:80", "rule": "budgets", "kind": "budget", "severity": "warning", "state": "firing",
            "tenant": "acme", "title": "Budget all of it is at 80 %",
            "text": "812.50 of 1000 USD are spent; the month has nine days to go.", "labels": {"budget": "all of it"},
            "figures": {"spent_usd": "812.5", "limit_usd": "1000"}, "link": "https://finops.example.com/budgets/1",
            "started_at": "2026-11-21T11:59:00.000000000Z",
        },
    }  # fmt: skip


def test_a_former_key_signs_until_its_time_is_over() -> None:
    keys = (SigningKey(new_key()), SigningKey(new_key(), NOON + 1))
    for now_ns, signatures in ((NOON, 2), (NOON + 1, 1)):
        headers = request("webhook", notice(), Secrets(HOOK, keys=keys), now_ns).headers
        assert headers["webhook-signature"].count("v1,") == signatures


def test_slack_shows_title_text_figures_and_a_link() -> None:
    said = body("slack", notice())
    assert said["text"] == "Warning: Budget all of it is at 80 %"
    [attachment] = said["attachments"]
    header, text, facts, link = attachment["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "Warning: Budget all of it is at 80 %", "emoji": False}
    assert text["text"]["text"] == "812.50 of 1000 USD are spent; the month has nine days to go."
    assert "*spent_usd*\n812.5" in [fact["text"] for fact in facts["fields"]]
    assert link["text"]["text"] == "<https://finops.example.com/budgets/1|Look at it>"
    assert body("slack", notice(state="resolved"))["text"] == "Resolved: Budget all of it is at 80 %"


def test_names_that_senders_choose_mention_and_link_nobody() -> None:
    """Tenants and agents are named by whoever sends spans."""
    hostile = "<!channel> <https://evil.example|click> [x](https://evil.example) & *b*"
    one = notice(title=hostile, tenant=hostile, labels={"agent": hostile})
    text = json.dumps([*body("slack", one)["attachments"][0]["blocks"][1:], body("slack", one)["text"]])
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    card = body("teams", one)["attachments"][0]["content"]
    assert r"\[x\](https://evil.example)" in card["body"][0]["text"]
    assert all("[x](" not in fact["value"] for fact in card["body"][2]["facts"])


def test_slacks_limits_are_kept() -> None:
    """A header has 150 characters, a section 3,000, and ten fields."""
    one = notice(title="t" * 500, labels={f"label{no}": "v" * 5_000 for no in range(100)})._replace(text="x" * 10_000)
    blocks = body("slack", one)["attachments"][0]["blocks"]
    assert len(blocks[0]["text"]["text"]) <= 150
    assert len(blocks[1]["text"]["text"]) <= 3_000
    fields = [field for block in blocks for field in block.get("fields", ())]
    assert len(fields) == 20
    assert all(len(block.get("fields", ())) <= 10 for block in blocks)
    assert all(len(field["text"]) <= 2_000 for field in fields)


def test_a_text_of_names_that_are_written_longer_for_slack_keeps_the_limits_too() -> None:
    """Slack refuses a message as a whole whose section is too long, and counts `&amp;` as five: 2,900 are 579 of them and three dots."""
    one = notice(title="&" * 500, labels={"agent": "<" * 500, "&" * 500: ">" * 500})._replace(text="&" * 10_000)
    blocks = body("slack", one)["attachments"][0]["blocks"]
    assert blocks[1]["text"]["text"] == "&amp;" * 579 + "..."
    fields = [field["text"] for block in blocks for field in block.get("fields", ())]
    assert max(map(len, fields)) <= 2_000
    assert "*agent*\n" + "&lt;" * 197 + "..." in fields


def test_slack_makes_no_mention_or_preview_of_a_plain_word() -> None:
    said = body("slack", notice(title="@channel https://evil.example"))
    assert (said["unfurl_links"], said["unfurl_media"]) == (False, False)
    blocks = said["attachments"][0]["blocks"]
    texts = [block["text"] for block in blocks[1:] if "text" in block] + [field for block in blocks for field in block.get("fields", ())]
    assert {(text["type"], text["verbatim"]) for text in texts} == {("mrkdwn", True)}


def test_a_name_with_line_breaks_makes_no_further_figure_of_a_mail() -> None:
    said = plain_text(notice(labels={"agent": "a\nlimit_usd: 5"}), "")
    assert "agent: a limit_usd: 5\n" in said
    assert "\nlimit_usd: 5\n" not in said


def test_teams_gets_one_adaptive_card() -> None:
    said = body("teams", notice(severity="critical"))
    assert said["type"] == "message"
    [attachment] = said["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0] == {
        "type": "TextBlock", "text": "Critical: Budget all of it is at 80 %", "weight": "Bolder", "size": "Medium", "color": "Attention",
        "wrap": True,
    }  # fmt: skip
    assert {"title": r"spent\_usd", "value": "812.5"} in card["body"][2]["facts"]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Look at it", "url": "https://finops.example.com/budgets/1"}]


def test_alertmanager_is_told_of_every_severity_and_only_the_notices_own_holds() -> None:
    asked = request("alertmanager", notice(labels={"budget": "all of it", "tag:team-a": "x", "7": "y"}), Secrets("https://am.example.com/"))
    assert asked.url == "https://am.example.com/api/v2/alerts"
    said = json.loads(asked.body)
    assert [(one["labels"]["severity"], one["endsAt"]) for one in said] == [
        ("info", "2026-11-21T12:00:00.000000000Z"),
        ("warning", "2026-12-23T12:00:00.000000000Z"),
        ("critical", "2026-11-21T12:00:00.000000000Z"),
    ]
    assert said[1]["labels"] == {
        "alertname": "budgets", "kind": "budget", "alert_key": "budget:1:80", "tenant": "acme", "severity": "warning",
        "budget": "all of it", "tag_team_a": "x", "_7": "y",
    }  # fmt: skip
    over = json.loads(request("alertmanager", notice(state="resolved", at_s=60)).body)
    assert {one["endsAt"] for one in over} == {"2026-11-21T12:01:00.000000000Z"}


@pytest.mark.parametrize(("format_", "read"), [("json", json.loads), ("form", lambda text: {n: v[0] for n, v in parse_qs(text).items()})])
def test_an_sms_has_the_fields_of_its_provider(format_: str, read: Any) -> None:
    """As Twilio takes them: the account's user and password, From, To, Body."""
    secrets = Secrets(
        "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json", username="AC1", password="pass word",
        fields={"From": "+15005550006", "To": "{to}", "Body": "{text}"},
    )  # fmt: skip
    asked = request("sms", notice(), secrets, to=("+390612345678",), options={"format": format_})
    assert asked.headers["authorization"] == "Basic QUMxOnBhc3Mgd29yZA=="
    assert read(asked.body.decode()) == {
        "From": "+15005550006",
        "To": "+390612345678",
        "Body": "Warning: Budget all of it is at 80 %. 812.50 of 1000 USD are spent; the month has nine days to go.",
    }


def test_a_text_that_holds_the_words_of_a_template_is_a_text() -> None:
    secrets = Secrets(HOOK, fields={"to": "{to}", "text": "{text}"})
    asked = request("sms", notice(title="{to} {text} {x}"), secrets, to=("+39",), options={})
    assert json.loads(asked.body)["text"].startswith("Warning: {to} {text} {x}. ")


def test_an_sms_is_short_and_of_one_line() -> None:
    one = notice(title="a\nb\x1b[31m\r\nc")._replace(text="x" * 1_000)
    assert len(sms_text(one)) == 300
    assert headline(one) == "Warning: a b [31m c"


def test_without_a_public_address_there_are_no_links() -> None:
    asked = request_of(Channel(1, "ops", "slack"), Secrets(HOOK), notice(), "", NOON)
    assert b"Look at it" not in asked.body
