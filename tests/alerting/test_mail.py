"""Notices as mail, handed to a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import ssl
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from certificates import self_signed
from delivery_rig import notice
from receivers import free_port

from otel_finops.alerting.mail import Undelivered, message_of, send
from otel_finops.settings.channels import Channels

TO = ("ann@example.com", "max@example.com")


class Mailbox:
    """A server's handler that keeps what it is given; `refuses`: recipients it does not take, `says`: its answer to a mail."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []
        self.refuses: set[str] = set()
        self.says = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - its name there
        if address in self.refuses:
            return "550 no such user s3cr3t"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - its name there
        if self.says.startswith("250"):
            self.mails.append((list(envelope.rcpt_tos), email.message_from_bytes(envelope.content)))
        return self.says


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def plain(mailbox: Mailbox) -> Iterator[Channels]:
    """The settings of a server without TLS."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), server_hostname="mail.example.com")
    controller.start()
    yield Channels(smtp_host="127.0.0.1", smtp_port=controller.port, smtp_security="none", smtp_from="finops@example.com")
    controller.stop()


@pytest.fixture
def secure(mailbox: Mailbox, tmp_path: Path) -> Iterator[tuple[Channels, ssl.SSLContext]]:
    """The settings of a server that wants STARTTLS and a password, and the certificates to trust."""
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"finops", b"pa55word"))

    controller = Controller(
        mailbox, hostname="127.0.0.1", port=free_port(), tls_context=tls, require_starttls=True, authenticator=check, auth_required=True
    )  # fmt: skip
    controller.start()
    settings = Channels(
        smtp_host="127.0.0.1", smtp_port=controller.port, smtp_user="finops", smtp_password="pa55word", smtp_from="finops@example.com"
    )  # fmt: skip
    yield settings, ssl.create_default_context(cafile=str(certificate))
    controller.stop()


def message(**said: Any) -> Any:
    return message_of(notice(**said), "finops@example.com", TO, "https://finops.example.com")


def test_a_mail_says_what_it_is_about_and_arrives(plain: Channels, mailbox: Mailbox) -> None:
    assert send(message(), plain, 5).refused == ()
    [(to, mail)] = mailbox.mails
    assert to == list(TO)
    assert mail["Subject"] == "Warning: Budget all of it is at 80 %"
    assert (mail["From"], mail["To"]) == ("finops@example.com", "ann@example.com, max@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    text = str(mail.get_payload(decode=True), "utf-8") if isinstance(mail.get_payload(decode=True), bytes) else ""
    assert text.splitlines() == [
        "812.50 of 1000 USD are spent; the month has nine days to go.",
        "",
        "tenant: acme",
        "rule: budgets",
        "spent_usd: 812.5",
        "limit_usd: 1000",
        "budget: all of it",
        "since: 2026-11-21T11:59:00.000000000Z",
        "",
        "https://finops.example.com/budgets/1",
    ]


def test_attempts_have_one_id_and_an_alert_is_one_thread() -> None:
    first, again, over = message(), message(), message(notice_id="n2", state="resolved")
    assert first["Message-ID"] == again["Message-ID"] != over["Message-ID"]
    assert first["References"] == over["References"]


def test_nobody_writes_headers_by_a_title() -> None:
    mail = message(title="a\r\nBcc: eve@example.com\r\n\r\nhello")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Warning: a Bcc: eve@example.com hello"


def test_starttls_and_a_password(secure: tuple[Channels, ssl.SSLContext], mailbox: Mailbox) -> None:
    settings, tls = secure
    send(message(), settings, 5, tls)
    assert len(mailbox.mails) == 1
    with pytest.raises(Undelivered, match="certificate"):  # by the system's authorities
        send(message(), settings, 0.5)
    wrong = settings.model_copy(update={"smtp_password": "wr0ng"})
    with pytest.raises(Undelivered, match=r"user and password \(channels\.smtp_user\)") as refused:
        send(message(), wrong, 1, tls)
    assert not refused.value.final  # somebody may mend the settings
    assert len(mailbox.mails) == 1


def test_a_server_without_starttls_is_given_nothing(plain: Channels, mailbox: Mailbox) -> None:
    with pytest.raises(Undelivered, match="knows no STARTTLS"):
        send(message(), plain.model_copy(update={"smtp_security": "starttls"}), 5)
    assert mailbox.mails == []


def test_some_recipients_that_are_refused_keep_no_others_from_their_mail(plain: Channels, mailbox: Mailbox) -> None:
    mailbox.refuses = {"max@example.com"}
    assert send(message(), plain, 5).refused == ("max@example.com",)
    mailbox.refuses = set(TO)
    with pytest.raises(Undelivered, match=r"refused all recipients$") as refused:
        send(message(), plain, 5)
    assert (refused.value.code, refused.value.final) == (550, True)


@pytest.mark.parametrize(("says", "final"), [("451 try later s3cr3t", False), ("554 no s3cr3t", True)])
def test_what_a_server_answers_is_final_or_not(plain: Channels, mailbox: Mailbox, says: str, final: bool) -> None:
    mailbox.says = says
    with pytest.raises(Undelivered, match=f"^the mail server answered {says[:3]}$") as refused:
        send(message(), plain, 5)
    assert refused.value.final is final


def test_a_server_that_is_away_is_no_end(plain: Channels) -> None:
    with pytest.raises(Undelivered, match="gave no answer") as refused:
        send(message(), plain.model_copy(update={"smtp_port": 1}), 5)
    assert not refused.value.final


def test_a_server_that_takes_its_time_with_every_step_is_cut_off(
    plain: Channels, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes less than its time-out; all of them together would outlast the claim on the delivery."""

    async def slow(server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        await asyncio.sleep(0.2)
        return "250 OK"

    monkeypatch.setattr(mailbox, "handle_RCPT", slow, raising=False)
    many = message_of(notice(), "finops@example.com", [f"p{no}@example.com" for no in range(20)], "")
    began = time.monotonic()
    with pytest.raises(Undelivered, match=r"ended the connection|gave no answer") as late:
        send(many, plain, 5, whole_s=0.5)
    assert time.monotonic() - began < 2
    assert not late.value.final
    assert mailbox.mails == []
