"""T51 and around it: one YAML file, the environment, and every fault in one message."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from otel_finops.base.errors import StartRefused
from otel_finops.settings import describe, load
from otel_finops.settings.reference import SettingInfo
from otel_finops.settings.tree import SECTIONS

DIGEST = sha256(b"secret-token").hexdigest()


def refusal(path: Path | None = None, **environ: str) -> str:
    with pytest.raises(StartRefused) as caught:
        load(path, {f"OTEL_FINOPS_{name}": value for name, value in environ.items()})
    return str(caught.value)


def settings_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "finops.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_documented_defaults_hold() -> None:
    settings = load(None, {})
    assert settings.database.url == "sqlite:///otel-finops.db"
    assert (settings.otlp.grpc_address, settings.otlp.http_address) == ("127.0.0.1:4317", "127.0.0.1:4318")
    assert settings.http.address == "127.0.0.1:8080"
    assert settings.ledger.settle_after == 5
    assert settings.auth.mode == "off"
    assert settings.retention.entries_days == 730
    assert settings.metering.enabled
    assert settings.prices.path is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "ledger: {settle_after: 9}\nlog: {level: debug}\n")
    settings = load(path, {"OTEL_FINOPS_LEDGER__SETTLE_AFTER": "0.5"})
    assert settings.ledger.settle_after == 0.5
    assert settings.log.level == "debug"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "log: {level: error}\n")
    assert load(None, {"OTEL_FINOPS_CONFIG": str(path)}).log.level == "error"


def test_lists_and_objects_are_json_in_the_environment() -> None:
    senders = json.dumps([{"token_sha256": DIGEST.upper(), "tenants": ["acme"]}])
    settings = load(
        None,
        {
            "OTEL_FINOPS_AUTH__SENDERS": senders,
            "OTEL_FINOPS_ATTRIBUTION__KEYS": '{"tenant": ["acme.org"]}',
            "OTEL_FINOPS_METERING__ENABLED": "off",
            "OTEL_FINOPS_METRICS__LABELS": '["tenant"]',
            "OTEL_FINOPS_OTLP__GRPC_ADDRESS": "",
        },
    )
    assert settings.auth.senders[0].token_sha256 == DIGEST
    assert settings.auth.senders[0].tenants == ("acme",)
    assert settings.attribution.keys == {"tenant": ("acme.org",)}
    assert settings.metering.enabled is False
    assert settings.metrics.labels == ("tenant",)
    assert "otlp.grpc_address" not in settings.listeners()


def test_bare_off_in_yaml_is_the_word(tmp_path: Path) -> None:
    assert load(settings_file(tmp_path, "auth: {mode: off}\n"), {}).auth.mode == "off"


def test_an_empty_file_and_empty_sections_are_fine(tmp_path: Path) -> None:
    assert load(settings_file(tmp_path, ""), {}) == load(None, {})
    assert load(settings_file(tmp_path, "ledger:\n"), {}) == load(None, {})


def test_all_faults_of_file_and_environment_stand_in_one_message(tmp_path: Path) -> None:
    path = settings_file(
        tmp_path,
        "ledger: {settle_afer: 1}\nlegder: {}\nhttp: {address: '0.0.0.0:8080'}\nmetering: {enabled: maybe}\n"
        "retention: {entries_days: 1.5}\n",
    )
    text = refusal(path, LEDGER__SETTLE_AFTER="soon", METRICS__LABELS='["trace_id"]', FOO__BAR="1")
    assert "8 faults" in text
    for part in (
        "ledger.settle_afer: no such setting; did you mean settle_after?",
        "legder: no such section; did you mean ledger?",
        "http.address: 0.0.0.0:8080 can be reached from other machines",
        "metering.enabled: must be a valid boolean; it is 'maybe'",
        "retention.entries_days: must be a valid integer",
        "OTEL_FINOPS_LEDGER__SETTLE_AFTER: must be a valid number; it is 'soon'",
        "OTEL_FINOPS_METRICS__LABELS[0]: must be 'tenant', 'agent' or 'cost_center'",
        "OTEL_FINOPS_FOO__BAR: no such setting",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x: !!python/object/apply:os.system ['true']\n", "line 1: not plain YAML"),
        ("ledger: {settle_after: !!python/object:builtins.float {}}\n", "not plain YAML"),
        ("ledger: [1\n", "not plain YAML"),
        ("[" * 5000, "not plain YAML"),
        ("log: {level: info}\nlog: {level: debug}\n", "the key 'log' stands here twice"),
        ("ledger: &a\n  settle_after: *a\n", "refers to itself"),
        ("- 1\n", "must hold sections"),
        ("ledger: 5\n", "must hold settings: settle_after"),
        ("ledger: {settle_after: .nan}\n", "finite"),
        ("{[1]: 2}\n", "not plain YAML"),
        ("ledger: {settle_after: 2026-01-01}\n", "must be a valid number"),
        ("5: {a: 1}\n", "no such section"),
    ],
)
def test_files_that_are_no_plain_settings_are_refused(tmp_path: Path, text: str, part: str) -> None:
    assert part in refusal(settings_file(tmp_path, text))


def test_objects_in_yaml_are_never_made(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    refusal(settings_file(tmp_path, f"x: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{touched}']]\n"))
    assert not touched.exists()


def test_settings_that_do_not_go_together_are_named_by_their_section() -> None:
    assert "  - channels: smtp_from: say whose address mails come from\n" in refusal(CHANNELS__SMTP_HOST="mail.example.com")
    both = json.dumps(["done"])
    assert "  - outcomes: a word stands in `success` and in `failure`" in refusal(OUTCOMES__SUCCESS=both, OUTCOMES__FAILURE=both)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.yaml")
    assert "no such file" in refusal(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"log: {level: \xff}\n")
    assert "UTF-8" in refusal(latin)


@pytest.mark.parametrize("address", ["0.0.0.0:4318", ":4318", "[::]:4318", "10.1.2.3:4318", "finops.example:4318"])
def test_listening_beyond_loopback_needs_authentication(address: str) -> None:
    assert "auth.mode is off" in refusal(OTLP__HTTP_ADDRESS=address)
    assert load(None, {"OTEL_FINOPS_OTLP__HTTP_ADDRESS": address, "OTEL_FINOPS_AUTH__MODE": "token"}).otlp.http_address == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:4318", "localhost:4318", "127.9.9.9:1"])
def test_loopback_needs_none(address: str) -> None:
    assert load(None, {"OTEL_FINOPS_OTLP__HTTP_ADDRESS": address}).otlp.http_address == address


@pytest.mark.parametrize("address", ["4318", "127.0.0.1", "127.0.0.1:70000", "[::zz]:1", "http://127.0.0.1:1", "127.0.0.1:4318/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert "OTEL_FINOPS_OTLP__HTTP_ADDRESS: " in refusal(OTLP__HTTP_ADDRESS=address)


def test_two_listeners_at_one_port_are_refused() -> None:
    assert "give each listener its own port" in refusal(HTTP__ADDRESS="127.0.0.1:4317")


def test_own_telemetry_never_goes_to_its_own_listener() -> None:
    assert "service's own otlp.grpc_address" in refusal(TELEMETRY__ENDPOINT="http://localhost:4317")
    assert load(None, {"OTEL_FINOPS_TELEMETRY__ENDPOINT": "http://localhost:14317"}).telemetry.endpoint


@pytest.mark.parametrize(
    "endpoint", ["http://collector:4318", "https://otlp.example.org/v1/traces", "collector:4317", "grpcs://[::1]:14317"]
)
def test_spans_may_travel_on(endpoint: str) -> None:
    assert load(None, {"OTEL_FINOPS_FORWARD__ENDPOINT": endpoint}).forward.endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["collector", "ftp://collector:21", "http://", "grpc://collector"])
def test_what_is_no_next_hop_is_refused(endpoint: str) -> None:
    assert "not a next hop; write http://HOST:PORT" in refusal(FORWARD__ENDPOINT=endpoint)


@pytest.mark.parametrize("headers", [{"x y": "hunter2"}, {"": "hunter2"}, {"a": "hunter2\n"}, {"a": "hünter2"}])
def test_headers_that_cannot_be_sent_are_refused_and_not_repeated(headers: dict[str, str]) -> None:
    said = refusal(FORWARD__ENDPOINT="http://collector:4318", FORWARD__HEADERS=json.dumps(headers))
    assert "a header's" in said
    assert "nter2" not in said


@pytest.mark.parametrize("endpoint", ["http://localhost:4318", "127.0.0.1:4317"])
def test_spans_never_travel_in_a_ring_of_one(endpoint: str) -> None:
    assert "spans would come back to it for ever" in refusal(FORWARD__ENDPOINT=endpoint)


def test_variables_of_orchestrators_are_left_alone_and_misspelt_settings_are_not() -> None:
    load(
        None, {"OTEL_FINOPS_SERVICE_HOST": "10.0.0.1", "OTEL_FINOPS_PORT": "tcp://10.0.0.1:1", "OTEL_FINOPS_PORT_8080_TCP_ADDR": "10.0.0.1"}
    )
    assert "did you mean OTEL_FINOPS_DATABASE__URL?" in refusal(DATABASE_URL="sqlite:///x.db")


def test_secrets_are_not_repeated_in_faults_or_representations() -> None:
    text = refusal(DATABASE__URL="mysql://root:hunter2@db/x", AUTH__SENDERS='[{"token_sha256": "hunter2", "tenants": []}]')
    assert "hunter2" not in text
    assert "64 hex digits" in text
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": "postgresql+psycopg://finops:hunter2@db/x"})
    assert "hunter2" not in repr(settings)


def test_a_token_stands_in_a_list_once() -> None:
    one = {"token_sha256": DIGEST, "tenants": ["acme"]}
    assert "stands in the list twice" in refusal(AUTH__SENDERS=json.dumps([one, one]))


@pytest.mark.parametrize("path", ["../prices.json", "/etc/../etc/hostname", "/nowhere/prices.json", "/", "a\0b"])
def test_price_files_that_climb_or_are_absent_are_refused(path: str) -> None:
    assert "OTEL_FINOPS_PRICES__PATH" in refusal(PRICES__PATH=path)


def test_settings_cannot_be_changed() -> None:
    settings = load(None, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.ledger.settle_after = 1  # type: ignore[misc]


NO_PATHS = {
    "auth.resolver": "a URL or the name of a function",
    "channels.smtp_password": "a password",
    "channels.smtp_user": "a name at the mail server",
    "kill_switch.why": "a sentence",
    "prices.refresh_source": "the name of an importer",
    "quality.source": "the name of a source",
}
"""Texts that name no file, and what they are."""
TEXTS = [one for one in describe() if one.type == "text"]


@pytest.mark.parametrize("climbing", ["../../etc/passwd", "x/../../../etc/passwd", "/var/lib/../../etc/shadow", "a\0b"])
@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one.name)
def test_no_setting_takes_a_path_that_climbs(one: SettingInfo, climbing: str) -> None:
    value = f"sqlite:///{climbing}" if one.name == "database.url" else climbing
    if one.name in NO_PATHS:
        return
    assert one.env in refusal(**{one.env.removeprefix("OTEL_FINOPS_"): value})


def test_a_path_that_climbs_is_refused_with_how_to_mend_it() -> None:
    for name in ("DATABASE__URL", "FORWARD__SPOOL_PATH", "PRICES__PATH", "PRICES__REFRESH_FROM", "FORWARD__TLS_CA_FILE"):
        prefix = "sqlite:///" if name == "DATABASE__URL" else ""
        assert "a path must not climb with '..'; write it absolute or below the working folder" in refusal(**{name: f"{prefix}../x"})
    assert load(None, {"OTEL_FINOPS_DATABASE__URL": "sqlite:////var/lib/finops/ledger.db"}).database.url.endswith("/ledger.db")
    assert load(None, {"OTEL_FINOPS_DATABASE__URL": "postgresql+psycopg://u:..@h/d"}).database.url.endswith("/d")  # a password


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_refuses_objects_of_yaml_and_names_that_do_not_exist(tmp_path: Path, section: str) -> None:
    name = next(iter(SECTIONS[section].model_fields))
    for tag in ("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!custom {a: 1}"):
        text = refusal(settings_file(tmp_path, f"{section}:\n  {name}: {tag}\n"))
        assert "line 2: not plain YAML" in text
        assert "settings are texts, numbers, switches, lists and objects without tags" in text
    text = refusal(settings_file(tmp_path, f"{section}: {{{name}_: 1}}\n"))
    assert f"{section}.{name}_: no such setting" in text
    assert f"did you mean {name}?" in text or "there are" in text
    assert "docs/settings.md" in text
