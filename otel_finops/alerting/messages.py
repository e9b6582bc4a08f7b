"""Notices in the forms in which webhooks, chats, SMS providers and Alertmanager take them: values in, values out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson

from otel_finops.alerting.channel_secrets import Secrets
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import SEVERITIES, Channel
from otel_finops.alerting.signature import signed_headers
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND, format_ns

_JSON: Final = {"content-type": "application/json"}
_FIGURES_SHOWN: Final = 20
_TITLE_CHARS: Final = 150
"""Slack's limit of a header is the smallest."""
_TEXT_CHARS: Final = 2_900
"""Slack's limit of a section is 3,000."""
_FACT_CHARS: Final = 200
_FIELD_CHARS: Final = 950
"""Name and value of a figure: Slack's limit of both together is 2,000."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SMS_CHARS: Final = 300
"""Two parts of an SMS."""
_HOLDS_DAYS: Final = 32
"""Alertmanager takes an alert for over that is not repeated: one holds for a month, the longest that a budget's alert stands unchanged."""
_ALERT_PATH: Final = "/api/v2/alerts"
_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")
_MARKDOWN: Final = re.compile(r"([\\*_\[\]`~#<>])")
_COLOURS: Final = {"info": "#2f6fde", "warning": "#e0a100", "critical": "#c8102e"}
_RESOLVED_COLOUR: Final = "#2e8540"
_CARD_COLOURS: Final = {"info": "Accent", "warning": "Warning", "critical": "Attention"}


class Request(NamedTuple):
    """What is to be asked."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def request_of(channel: Channel, secrets: Secrets, notice: Notice, public_url: str, now_ns: int) -> Request:
    """How a channel (of any type but mail) is told.

    Args:
        public_url: where people reach this service; "" for no links.
        now_ns: of this attempt.
    """
    link = public_url + notice.link if public_url and notice.link else ""
    own = {"authorization": secrets.authorization} if secrets.authorization else {}
    headers = {**own, **{name.lower(): value for name, value in secrets.headers.items()}}
    if channel.type == "webhook":
        body = orjson.dumps(webhook_body(notice, link))
        signed = signed_headers(notice.notice_id, now_ns // NS_PER_SECOND, body, secrets.signing(now_ns))
        return Request(secrets.url, {**headers, **_JSON, **signed}, body)
    if channel.type == "sms":
        kind, body = _sms(channel, secrets, notice)
        return Request(secrets.url, {**headers, "content-type": kind}, body)
    if channel.type == "alertmanager":
        return Request(_alerts_url(secrets.url), {**headers, **_JSON}, orjson.dumps(alerts(notice, link)))
    message = slack_message(notice, link) if channel.type == "slack" else teams_message(notice, link)
    return Request(secrets.url, {**headers, **_JSON}, orjson.dumps(message))


def headline(notice: Notice) -> str:
    """A notice in one line: what it is, and whether it is over."""
    state = "Resolved" if notice.state == "resolved" else notice.severity.capitalize()
    return _cut(f"{state}: {_one_line(notice.title)}", _TITLE_CHARS)


def plain_text(notice: Notice, link: str) -> str:
    """A notice as mail says it."""
    lines = [notice.text, "", *(f"{name}: {value}" for name, value in _facts(notice)), *(["", link] if link else [])]
    return "\n".join(lines) + "\n"


def webhook_body(notice: Notice, link: str) -> Mapping[str, Any]:
    """Type, time and data, as Standard Webhooks proposes."""
    data = {
        "id": notice.notice_id, "alert_key": notice.alert_key, "rule": notice.rule, "kind": notice.kind, "severity": notice.severity,
        "state": notice.state, "tenant": notice.tenant or None, "title": notice.title, "text": notice.text, "labels": dict(notice.labels),
        "figures": dict(notice.figures), "link": link or None, "started_at": format_ns(notice.started_ns),
    }  # fmt: skip
    return {"type": f"alert.{notice.state}", "timestamp": format_ns(notice.at_ns), "data": data}


def slack_message(notice: Notice, link: str) -> Mapping[str, Any]:
    """For an incoming webhook of Slack: a coloured attachment of blocks, and a text for notifications."""
    colour = _RESOLVED_COLOUR if notice.state == "resolved" else _COLOURS[notice.severity]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": headline(notice), "emoji": False}},
        {"type": "section", "text": _mrkdwn(_slack(notice.text or notice.title, _TEXT_CHARS))},
    ]
    facts = [f"*{_slack(name, _FIELD_CHARS)}*\n{_slack(value, _FIELD_CHARS)}" for name, value in _facts(notice)]
    blocks += [{"type": "section", "fields": [_mrkdwn(fact) for fact in facts[start : start + 10]]} for start in range(0, len(facts), 10)]
    if link:
        blocks.append({"type": "section", "text": _mrkdwn(f"<{_slack(link)}|Look at it>")})
    said = {"text": _slack(headline(notice)), "unfurl_links": False, "unfurl_media": False}
    return {**said, "attachments": [{"color": colour, "blocks": blocks}]}


def teams_message(notice: Notice, link: str) -> Mapping[str, Any]:
    """For a workflow of Teams that was started by a webhook: one adaptive card."""
    colour = "Good" if notice.state == "resolved" else _CARD_COLOURS[notice.severity]
    title = {"type": "TextBlock", "text": _card(headline(notice)), "weight": "Bolder", "size": "Medium", "color": colour, "wrap": True}
    body = [title, {"type": "TextBlock", "text": _card(_cut(notice.text, _TEXT_CHARS)), "wrap": True}]
    facts = [{"title": _card(name), "value": _card(value)} for name, value in _facts(notice)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": [*body, {"type": "FactSet", "facts": facts}],
        "actions": [{"type": "Action.OpenUrl", "title": "Look at it", "url": link}] if link else [],
    }  # fmt: skip
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}],
    }


def alerts(notice: Notice, link: str) -> list[Mapping[str, Any]]:
    """For Alertmanager: an alert is known by all of its labels, so that the same one with another severity is told to be over."""
    named = {_label(name): value for name, value in notice.labels.items()}
    labels = {**named, "alertname": notice.rule, "kind": notice.kind, "alert_key": notice.alert_key}
    if notice.tenant:
        labels["tenant"] = notice.tenant
    annotations = {"summary": notice.title, "description": notice.text, **{_label(name): text for name, text in notice.figures.items()}}
    now_ns = max(notice.at_ns, notice.started_ns)  # no alert may end before it began
    starts, now, later = (format_ns(at) for at in (notice.started_ns, now_ns, now_ns + _HOLDS_DAYS * NS_PER_DAY))
    return [
        {
            "labels": {**labels, "severity": severity},
            "annotations": annotations,
            "startsAt": starts,
            "endsAt": later if notice.state == "firing" and severity == notice.severity else now,
            **({"generatorURL": link} if link else {}),
        }
        for severity in SEVERITIES
    ]


def sms_text(notice: Notice) -> str:
    """Title and the beginning of the text."""
    return _cut(f"{headline(notice)}. {_one_line(notice.text)}", _SMS_CHARS)


def _sms(channel: Channel, secrets: Secrets, notice: Notice) -> tuple[str, bytes]:
    """Content type and body of a provider's request."""
    texts = {"{to}": channel.to[0], "{text}": sms_text(notice)}
    fields = {name: re.sub(r"\{to\}|\{text\}", lambda found: texts[found[0]], value) for name, value in secrets.fields.items()}
    if channel.options.get("format") == "form":
        return "application/x-www-form-urlencoded", urlencode(fields).encode()
    return "application/json", orjson.dumps(fields)


def _alerts_url(url: str) -> str:
    return url if url.endswith(_ALERT_PATH) else url.rstrip("/") + _ALERT_PATH


def _facts(notice: Notice) -> list[tuple[str, str]]:
    """What is worth a line of its own."""
    return [(_cut(_one_line(name), _FACT_CHARS), _cut(_one_line(value), _FACT_CHARS)) for name, value in _all_facts(notice)][
        :_FIGURES_SHOWN
    ]


def _all_facts(notice: Notice) -> Iterator[tuple[str, str]]:
    if notice.tenant:
        yield "tenant", notice.tenant
    yield "rule", notice.rule
    yield from notice.figures.items()
    yield from ((name, value) for name, value in notice.labels.items() if name != "tenant")
    yield "since", format_ns(notice.started_ns)


def _mrkdwn(text: str) -> dict[str, Any]:
    """A text of Slack's Markdown in which names and addresses that are written plainly stay texts."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _slack(text: str, chars: int = _TEXT_CHARS) -> str:
    """A text in which Slack sees neither links nor mentions, cut to so many characters as Slack counts them."""
    written = [_ENTITIES.get(char, char) for char in text[: chars + 1]]
    sizes = list(accumulate(map(len, written)))
    if not sizes or (sizes[-1] <= chars and len(text) <= chars):
        return "".join(written)
    return "".join(written[: bisect_right(sizes, chars - 3)]) + "..."


def _card(text: str) -> str:
    """A text in which an adaptive card sees no Markdown."""
    return _MARKDOWN.sub(r"\\\1", text)


def _label(name: str) -> str:
    """A name as Prometheus takes it."""
    text = _LABEL.sub("_", name)
    return f"_{text}" if text[:1].isdigit() or not text else text


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 3] + "..."
