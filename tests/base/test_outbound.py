"""Requests to addresses that somebody gave: what is refused, what is connected to, and what an answer may cost."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from certificates import self_signed
from hypothesis import example, given
from hypothesis import strategies as st
from receivers import Receiver, receiving

from otel_finops.base.errors import AddressRefused, NoAnswer
from otel_finops.base.outbound import IpAddress, Outbound, Rules, check_address, is_public, place_of

ANYWHERE_PUBLIC = Rules(ports=frozenset(range(1, 65_536)))
INSIDE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
    "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "168.63.129.16",
]  # fmt: skip
"""Private, loopback, link-local, shared, multicast, reserved; and where clouds tell machines their secrets."""
INSIDE_6 = [
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "fec0::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::10.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::a83f:8110", "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:1:2:3:4:5:6", "2001:470::5efe:10.0.0.1", "2001:470::200:5efe:127.0.0.1",
    "::ffff:0:127.0.0.1",
]  # fmt: skip
"""The same of IPv6; IPv4 mapped, compatible, translated, by NAT64, 6to4, Teredo and ISATAP."""
ODD = [
    "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0x7f.1/",
    "https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.01/", "https://127.0.0.1./", "https://0/", "https://1.2.3.4.5/",
    "https://256.0.0.1/", "https://0x/", "https://169.254.43518/", "https://[::ffff:7f00:1]/", "https://[0:0:0:0:0:0:0:1]/",
    "https://[::1%25lo]/", "https://[fe80::1%lo]/", "https://[::1", "https://::1/", "https://[127.0.0.1]/", "https://[::ffff:127.0.0.1]:443/",
    "https://\u2460\u2461\u2466.0.0.1/", "https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020.0.1/", "https://%31%32%37.0.0.1/",
    "https://user@127.0.0.1/", "https://user:pass@hooks.example.com/", "https://hooks.example.com@127.0.0.1/",
    "https://127.0.0.1#@hooks.example.com/", "https://hooks.example.com\\@127.0.0.1/", "https:\\\\127.0.0.1/",
    "https://hooks.example.com:443@127.0.0.1/", "https://hooks.example.com /", " https://127.0.0.1/", "https://127.0.0.1/\r\nHost: a",
    "https://hooks.example.com/\t", "https:///127.0.0.1/", "https:/127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL", "ftp://127.0.0.1/", "dict://127.0.0.1:11211/", "jar:https://127.0.0.1!/", "https://hooks..example/",
    "https://-hooks.example.com/", "https://hooks.example.com:0/", "https://hooks.example.com:70000/", "https://hooks.example.com:/",
    "https://hooks.example.com:4 43/", "https://hooks.example.com:+443/", "https://h\u00f6oks.example.com/",
    "https://a" + "a" * 63 + ".com/",
    "https://hooks.example.com/#" , "", "https://", "https://hooks.example.com/" + "a" * 2048,
]  # fmt: skip
"""Spellings by which one reader sees one host and another one another; none of them is ever needed."""


@pytest.fixture
def hits() -> Iterator[Receiver]:
    """Stands for everything that only the service can reach: it must hear nothing."""
    with receiving() as receiver:
        yield receiver


def outbound(*addresses: str, asked: list[str] | None = None, **others: object) -> Outbound:
    """One for which every name has these addresses."""

    def resolve(host: str, port: int) -> Sequence[IpAddress]:
        if asked is not None:
            asked.append(host)
        return [ip_address(one) for one in addresses]

    return Outbound(timeout_s=5, answer_bytes_max=100, resolve=resolve, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", [*INSIDE, *INSIDE_6])
def test_nothing_that_is_not_public_is_reached_by_its_address(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for scheme in ("https", "http"):
        with pytest.raises(AddressRefused, match="not public"):
            place_of(f"{scheme}://{host}/", ANYWHERE_PUBLIC)


@pytest.mark.parametrize("url", ODD)
def test_odd_spellings_are_no_addresses(url: str) -> None:
    with pytest.raises(AddressRefused):
        place_of(url, ANYWHERE_PUBLIC)


def test_no_name_leads_inside(hits: Receiver) -> None:
    """T42: a name that has such an address, alone or among public ones, is not connected to: hits 0 of all."""
    tried = 0
    for inside in [*INSIDE, *INSIDE_6]:
        for found in ([inside], ["93.184.215.14", inside], [inside, "93.184.215.14"]):
            with pytest.raises(AddressRefused):
                outbound(*found).send("POST", f"https://hooks.example.com:{hits.port}/", ANYWHERE_PUBLIC, {}, b"{}")
            tried += 1
    assert tried == 3 * (len(INSIDE) + len(INSIDE_6))
    assert hits.heard == []


def test_the_answer_of_the_resolver_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """T43: a name that is public when it is checked and loopback a moment later is asked for once, and connected to where it was public."""
    answers, connected = [["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]], list[tuple[str, int]]()

    def connect(place: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", connect)
    changing = Outbound(timeout_s=5, answer_bytes_max=100, resolve=lambda host, port: [ip_address(one) for one in answers.pop(0)])
    with pytest.raises(NoAnswer, match="Connection refused"):
        changing.send("POST", "https://hooks.example.com/", Rules(), {}, b"{}")
    assert connected == [("93.184.215.14", 443)]
    assert len(answers) == 2  # it was asked for once


def test_a_redirect_is_an_answer_and_is_not_followed(hits: Receiver) -> None:
    with receiving() as public:
        public.answers.append((307, {"location": f"{hits.url}/latest/meta-data"}, b""))
        rules = Rules.of(["127.0.0.1/32"], (), [public.port])
        answer = outbound().send("POST", f"{public.url}/", rules, {}, b"{}")
    assert (answer.status, answer.headers["location"]) == (307, f"{hits.url}/latest/meta-data")
    assert hits.heard == []


def test_networks_of_the_settings_are_reached_by_those_who_may(hits: Receiver) -> None:
    rules = Rules.of(["127.0.0.0/8"], (), [hits.port])
    answer = outbound("127.0.0.1").send("POST", f"http://inside.example:{hits.port}/a?b=c", rules, {"x-name": "value"}, b"{}")
    assert (answer.status, answer.body) == (200, b"ok")
    [heard] = hits.heard
    assert (heard.path, heard.headers["host"], heard.headers["x-name"]) == ("/a?b=c", f"inside.example:{hits.port}", "value")
    with pytest.raises(AddressRefused, match=r"outbound\.networks"):
        outbound("127.0.0.1").send("POST", f"http://inside.example:{hits.port}/", rules.without_networks(), {}, b"{}")


def test_public_networks_can_be_refused_and_ports_are_a_list() -> None:
    rules = Rules.of((), ["93.184.215.0/24"], [443])
    with pytest.raises(AddressRefused, match="not public"):
        check_address(ip_address("93.184.215.14"), "https", rules)
    with pytest.raises(AddressRefused, match="not public"):  # the same one behind NAT64
        check_address(ip_address("64:ff9b::93.184.215.14"), "https", rules)
    check_address(ip_address("64:ff9b::93.184.216.14"), "https", rules)
    check_address(ip_address("93.184.216.14"), "https", rules)
    with pytest.raises(AddressRefused, match=r"port 22 .*outbound\.ports"):
        place_of("https://hooks.example.com:22/", rules)


def test_public_addresses_are_asked_by_https_alone() -> None:
    assert place_of("HTTPS://Hooks.Example.com.:8443?a=b", ANYWHERE_PUBLIC) == ("https", "hooks.example.com", 8443, "/?a=b")
    assert place_of("https://[2606:4700::1111]/", Rules()) == ("https", "2606:4700::1111", 443, "/")
    with pytest.raises(AddressRefused, match="write https"):
        outbound("93.184.215.14").send("POST", "http://hooks.example.com/", ANYWHERE_PUBLIC, {}, b"{}")


def test_a_host_without_ipv4_reaches_public_addresses_by_nat64() -> None:
    assert is_public(ip_address("64:ff9b::808:808"))  # 8.8.8.8
    assert not is_public(ip_address("64:ff9b::a00:1"))  # 10.0.0.1


@given(st.ip_addresses(v=4))
@example(IPv4Address("168.63.129.16"))
def test_no_ipv4_address_is_public_in_a_form_that_hides_it_unless_it_is_so_itself(address: IPv4Address) -> None:
    assert is_public(ip_address(f"64:ff9b::{address}")) == is_public(address)
    for hidden in (f"::ffff:{address}", f"::{address}", f"::ffff:0:{address}", f"64:ff9b:1::{address}"):
        assert not is_public(ip_address(hidden))
    if is_public(address):
        assert address.is_global


def test_tls_is_spoken_by_the_name_of_the_url(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "hooks.example.com")
    trusted = ssl.create_default_context(cafile=str(certificate))
    with receiving((certificate, key)) as receiver:
        rules = Rules.of(["127.0.0.0/8"], (), [receiver.port])
        pinned = outbound("127.0.0.1", tls=trusted)
        assert pinned.send("POST", f"https://hooks.example.com:{receiver.port}/", rules, {}, b"{}").status == 200
        for other in (f"https://127.0.0.1:{receiver.port}/", f"https://elsewhere.example.com:{receiver.port}/"):
            with pytest.raises(NoAnswer, match="certificate is not trusted"):
                pinned.send("POST", other, rules, {}, b"{}")
        with pytest.raises(NoAnswer, match="certificate is not trusted"):  # by the system's authorities
            outbound("127.0.0.1").send("POST", f"https://hooks.example.com:{receiver.port}/", rules, {}, b"{}")
    assert len(receiver.heard) == 1


def test_an_answer_costs_no_more_than_its_limit(hits: Receiver) -> None:
    hits.answers.append((200, {}, b"x" * 1_000_000))
    answer = outbound("127.0.0.1").send("GET", hits.url, Rules.of(["127.0.0.1"], (), [hits.port]), {})
    assert (answer.body, answer.cut) == (b"x" * 100, True)


def test_who_drips_his_answer_is_cut_off() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nx: " if not stop.is_set() else b"")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    port = listener.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="too long"):
        Outbound(timeout_s=0.5, answer_bytes_max=100).send(
            "POST", f"http://127.0.0.1:{port}/", Rules.of(["127.0.0.1"], (), [port]), {}, b"{}"
        )
    assert time.monotonic() - began < 3
    stop.set()
    thread.join()
    listener.close()


def test_a_resolver_that_never_answers_holds_nobody_up() -> None:
    wake = threading.Event()

    def never(host: str, port: int) -> Sequence[IpAddress]:
        wake.wait()
        return []

    with pytest.raises(NoAnswer, match="cannot be resolved in time"):
        Outbound(timeout_s=0.2, answer_bytes_max=100, resolve=never).send("POST", "https://hooks.example.com/", Rules(), {}, b"{}")
    wake.set()


def test_a_name_without_addresses_is_no_answer() -> None:
    def unknown(host: str, port: int) -> Sequence[IpAddress]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(NoAnswer, match=r"hooks\.example\.com cannot be resolved$"):
        Outbound(timeout_s=5, answer_bytes_max=100, resolve=unknown).send("POST", "https://hooks.example.com/", Rules(), {}, b"{}")


def test_the_systems_resolver_is_asked_for_a_name() -> None:
    """`localhost` is a name like any other, and leads inside."""
    with pytest.raises(AddressRefused, match="not public"):
        Outbound(timeout_s=5, answer_bytes_max=100).send("POST", "https://localhost/", Rules(), {}, b"{}")
