"""The settings themselves: names, types, defaults and meanings, each stated once.

Only what has an effect is declared here. A field's description is what `docs/settings.md` prints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import API_BODY_MIB, API_BODY_MIB_MAX, MIB, NAME_CHARS_MAX, RESERVE_BYTES, SERIES_MAX, TAGS_MAX
from otel_finops.base.zones import zone_of
from otel_finops.settings.addresses import Address, parse_address
from otel_finops.settings.anomalies import Anomalies
from otel_finops.settings.approvals import Approvals
from otel_finops.settings.channels import Channels
from otel_finops.settings.enforcement import Enforcement
from otel_finops.settings.features import Features
from otel_finops.settings.footprint import Footprint
from otel_finops.settings.guardrails import Guardrails
from otel_finops.settings.jobs import Jobs
from otel_finops.settings.kill_switch import KillSwitch
from otel_finops.settings.money import Currency, Pricing
from otel_finops.settings.outbound import Outbound
from otel_finops.settings.outcomes import Outcomes
from otel_finops.settings.outside import checked_headers, checked_place
from otel_finops.settings.paths import file_path
from otel_finops.settings.quality import Quality
from otel_finops.settings.reconciliation import Reconciliation
from otel_finops.settings.section import SECRET
from otel_finops.settings.section import Section as _Section
from otel_finops.settings.waste import Waste


def _address(text: str) -> str:
    if text:
        parse_address(text)
    return text


def _database_url(text: str) -> str:
    if not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("not a database URL; write sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    if text.startswith("sqlite:///"):
        file_path(text.removeprefix("sqlite:///").partition("?")[0])
    return text


def _readable_file(text: str) -> str:
    text = file_path(text)
    if not (os.path.isfile(text) and os.access(text, os.R_OK)):
        raise ValueError("no such readable file")
    return text


def _endpoint(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("not an endpoint; write http://HOST:PORT or https://HOST:PORT, or nothing to switch it off")
    return text


def _price_origin(text: str) -> str:
    if text and "://" not in text:
        return file_path(text)
    if text and not text.startswith(("https://", "http://")):
        raise ValueError("not a place of a price list; write https://HOST/PATH, or a file")
    return text


def _next_hop(text: str) -> str:
    scheme, _, rest = text.rpartition("://")
    if scheme in ("", "grpc", "grpcs") and text:
        try:
            parse_address(rest.rstrip("/"))
        except ValueError:
            raise ValueError(
                "not a next hop; write http://HOST:PORT, https://HOST, grpc://HOST:PORT, grpcs://HOST:PORT or HOST:PORT"
            ) from None
    elif text and (scheme not in ("http", "https") or not rest.strip("/")):
        raise ValueError("not a next hop; write http://HOST:PORT, https://HOST, grpc://HOST:PORT, grpcs://HOST:PORT or HOST:PORT")
    return text


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except BadInput:
        raise ValueError("there is no such time zone; write a name like Europe/Rome, or UTC") from None
    return name


def _resolver(text: str, info: ValidationInfo) -> str:
    if text and info.data.get("mode") == "off":
        raise ValueError("nobody is asked for a credential while auth.mode is off; set auth.mode to token")
    return checked_place(text, "resolver", "credentials", "auth.resolver_headers")


def _tenants(names: tuple[str, ...]) -> tuple[str, ...]:
    if any(not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable() for name in names):
        raise ValueError(f"tenants are printable names of 1 to {NAME_CHARS_MAX} characters, or '*' for all")
    return ("*",) if "*" in names else names


def _no_shared_realm(names: tuple[str, ...]) -> tuple[str, ...]:
    if "default" in names:
        raise ValueError("the tenant 'default' is what spans without a tenant get; give the sender's tenant another name, or '*'")
    return names


def _yaml_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as false; people mean the word."""
    return "off" if value is False else value


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise ValueError("must be a SHA-256 as 64 hex digits")
    return text.lower()


ListenAddress: TypeAlias = Annotated[str, AfterValidator(_address)]
OptionalFile: TypeAlias = Annotated[str, AfterValidator(_readable_file)] | None
Digest: TypeAlias = Annotated[str, AfterValidator(_digest)]
Tenants: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000), AfterValidator(_tenants)]
SenderTenants: TypeAlias = Annotated[Tenants, AfterValidator(_no_shared_realm)]
"""Those that a sender's spans may belong to; never the shared realm's own."""
AttributeKey: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
AttributionName: TypeAlias = Literal[
    "agent", "step", "tool", "workflow", "user", "session", "tenant", "cost_center", "purpose", "service", "environment", "reservation"
]
RoleName: TypeAlias = Literal["viewer", "analyst", "approver", "manager", "admin"]


class SenderToken(_Section):
    """A token with which spans may be sent.

    Attributes:
        token_sha256: SHA-256 of the token's UTF-8 bytes, 64 hex digits; the token itself is stored nowhere.
        tenants: the tenants that its spans may belong to; `("*",)` for any.
    """

    token_sha256: Digest = Field(repr=False)
    tenants: SenderTenants


class ApiToken(_Section):
    """A token with which the API may be used.

    Attributes:
        token_sha256: as for senders.
        tenants: whose data the bearer sees; `("*",)` for all.
        role: what he may do there.
        name: who the audit trail says it was; "" for the first digits of the digest.
    """

    token_sha256: Digest = Field(repr=False)
    tenants: Tenants
    role: RoleName
    name: str = Field(default="", max_length=NAME_CHARS_MAX)


class Database(_Section):
    """Where the ledger lives."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        default="sqlite:///otel-finops.db",
        repr=False,
        json_schema_extra=SECRET,
        description="SQLAlchemy URL, `sqlite:///FILE` or `postgresql+psycopg://...`. "
        "`serve` upgrades SQLite after a copy; PostgreSQL waits for `db upgrade`.",
    )
    reserve: bool = Field(
        default=True,
        description=f"`serve` keeps {RESERVE_BYTES // MIB} MiB in a file beside a SQLite database (`FILE.reserve`), given up when "
        "the disk is full (docs/operating.md).",
    )


class Otlp(_Section):
    """Listeners for spans."""

    grpc_address: ListenAddress = Field(default="127.0.0.1:4317", description="Where OTLP/gRPC listens; empty switches it off.")
    http_address: ListenAddress = Field(default="127.0.0.1:4318", description="Where OTLP/HTTP listens; empty switches it off.")


class Forward(_Section):
    """Where spans travel on, enriched with their cost."""

    endpoint: Annotated[str, AfterValidator(_next_hop)] = Field(
        default="",
        description="The next hop: `http://..` or `https://..` for OTLP/HTTP (`/v1/traces` is added where there is no path), "
        "`HOST:PORT` or `grpc://..` for OTLP/gRPC, `grpcs://..` for gRPC over TLS; empty: spans end here.",
    )
    mode: Literal["inline", "spool"] = Field(
        default="inline",
        description="`inline`: within the sender's request, after the commit. `spool`: from a queue on disk, which holds message content.",
    )
    required: bool = Field(
        default=False,
        description="Inline: while the next hop is away senders are told to repeat their requests for ever, not for `patience` alone.",
    )
    headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = Field(
        default={}, repr=False, json_schema_extra=SECRET, description="Headers for the next hop, e.g. a token."
    )
    compression: Literal["gzip", "none"] = Field(default="gzip", description="How bodies are sent: `gzip` or `none`.")
    timeout: float = Field(default=2.0, gt=0, le=60, description="Seconds that one request to the next hop may take.")
    patience: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Inline: seconds of failure for which senders are told to repeat; then OK means the ledger alone, "
        "and what was not passed on is counted.",
    )
    tls_ca_file: OptionalFile = Field(default=None, description="Authorities to trust instead of the system's, PEM.")
    tls_cert_file: OptionalFile = Field(default=None, description="Our own certificate, PEM.")
    tls_key_file: OptionalFile = Field(default=None, description="The key of our own certificate, PEM.")
    cost_details: bool = Field(
        default=False, description="Write `gen_ai.usage.cost.amount`, `.currency` and `.source` beside `gen_ai.usage.cost`."
    )
    spool_path: Annotated[str, AfterValidator(file_path)] = Field(
        default="otel-finops.spool", description="Spool: the queue's file, mode 0600; every process needs its own."
    )
    spool_mib_max: int = Field(
        default=1024,
        ge=1,
        le=1_048_576,
        description="Spool: most MiB of requests that wait; what comes beyond it is counted and not passed on.",
    )


class Http(_Section):
    """The listener for people and scrapers."""

    address: ListenAddress = Field(
        default="127.0.0.1:8080",
        description="Where the console, the API, `/metrics`, `/healthz` and `/readyz` listen; empty switches it off.",
    )
    names: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = Field(
        default=(),
        max_length=100,
        description="Host names besides loopback's that requests may call the service by while auth.mode is off, e.g. "
        '`["host.docker.internal"]`; all others are refused (docs/security.md).',
    )
    open_metrics: bool = Field(
        default=False,
        description="With auth.mode `token`: `/metrics`, sums over all tenants, without a token. Off: with one of all tenants.",
    )
    open_probes: bool = Field(
        default=True, description="With auth.mode `token`: `/healthz` and `/readyz` without a token. Off: with any known API token."
    )
    rate_per_s: float = Field(
        default=100.0,
        ge=0,
        le=1_000_000,
        description="Requests a second that one principal, or one address without a token, may go on making; 429 beyond it. Decisions on "
        "calls do not count. 0: no limit.",
    )
    burst: int = Field(
        default=400, ge=1, le=10_000_000, description="Requests that one of them may make at once after a pause, e.g. for a dashboard."
    )
    body_mib_max: int = Field(
        default=API_BODY_MIB,
        ge=1,
        le=API_BODY_MIB_MAX,
        description=f"Most MiB of a request's body; larger ones are answered 413, at most {API_BODY_MIB_MAX}.",
    )


class Ledger(_Section):
    """How spans become entries."""

    settle_after: float = Field(
        default=5.0, ge=0, le=3600, description="Seconds of quiet before a trace is settled without its root, 0 to 3600."
    )
    close_months: bool = Field(default=True, description="Months are closed by the clock; off: only by `periods close` (docs/ledger.md).")
    close_after_days: float = Field(default=5.0, ge=0, le=366, description="Days after its end at which a month is closed.")
    estimate: bool = Field(
        default=False, description="Once a day, charge calls without usage by what such calls used to take, as `ledger estimate` does."
    )
    estimate_days: int = Field(default=30, ge=0, le=366, description="Days before a call's own day whose calls an estimate is made of.")
    estimate_samples: int = Field(default=20, ge=1, le=256, description="Fewer such calls give no estimate.")


class Auth(_Section):
    """Who may send and who may look."""

    mode: Annotated[Literal["off", "token"], BeforeValidator(_yaml_off)] = Field(
        default="off",
        description="`off`: everyone is admin of all tenants, allowed on loopback only. `token`: senders and readers show a bearer token.",
    )
    senders: tuple[SenderToken, ...] = Field(
        default=(),
        max_length=10_000,
        json_schema_extra=SECRET,
        description='Tokens for sending spans: `[{"token_sha256": "...", "tenants": ["acme"]}]`, or `["*"]` for any tenant.',
    )
    tokens: tuple[ApiToken, ...] = Field(
        default=(),
        max_length=10_000,
        json_schema_extra=SECRET,
        description='Tokens for the API: `[{"token_sha256": "...", "tenants": ["acme"], "role": "viewer"}]`; '
        "roles are viewer, analyst, approver, manager, admin; `name` is optional.",
    )
    resolver: Annotated[str, AfterValidator(_resolver)] = Field(
        default="",
        repr=False,
        json_schema_extra=SECRET,
        description="Who says what the credentials of a host application stand for: an https URL, or `PACKAGE.MODULE:FUNCTION` "
        "(docs/security.md); empty: nobody.",
    )
    resolver_headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = Field(
        default={}, repr=False, json_schema_extra=SECRET, description="Headers for the resolver's URL, e.g. a token of our own."
    )
    resolver_timeout: float = Field(
        default=2.0, gt=0, le=30, description="Seconds that the resolver may take; then the request is answered 503, never let in."
    )
    resolver_cache: float = Field(
        default=30.0, ge=0, le=300, description="Seconds that its answer holds: as long as a credential that was taken back still works."
    )

    @field_validator("senders", "tokens")
    @classmethod
    def _each_token_once(cls, tokens: tuple[SenderToken | ApiToken, ...]) -> tuple[SenderToken | ApiToken, ...]:
        if len({token.token_sha256 for token in tokens}) != len(tokens):
            raise ValueError("the same token_sha256 stands in the list twice; name all its tenants in one place")
        return tokens


class Metering(_Section):
    """The main switch."""

    enabled: bool = Field(default=True, description="Off: spans are answered OK and neither priced nor written to the ledger.")


class Prices(_Section):
    """Where prices come from."""

    path: OptionalFile = Field(
        default=None,
        description="A price list instead of the packaged one: LiteLLM's `model_prices_and_context_window` JSON or any other that "
        "docs/pricing.md names.",
    )
    refresh_from: Annotated[str, AfterValidator(_price_origin)] = Field(
        default="",
        description="An https URL or a file from which the prices are refreshed by the clock; empty: never, and nothing is fetched.",
    )
    refresh_hours: float = Field(default=24.0, ge=0.1, le=8_760, description="Hours between two such refreshes.")
    refresh_source: Annotated[str, Field(max_length=NAME_CHARS_MAX)] | None = Field(
        default=None, description="Which importer reads that list, e.g. `openrouter`; the one that recognises it when not given."
    )
    refresh_sha256: Digest | None = Field(
        default=None, description="The SHA-256 that the list must have: nothing else is taken, and plain http will do."
    )
    refresh_timeout: float = Field(default=60.0, ge=1, le=600, description="Seconds that fetching a list may take.")
    watch_days: int = Field(
        default=30, ge=1, le=366, description="Days back for which price changes of watched models are told and costed."
    )


class Display(_Section):
    """How amounts are shown to people."""

    currency: Currency = Field(
        default="USD",
        description="ISO code of the currency in which spend reports show amounts beside USD, at the rate of each day (`fx import`). "
        "The ledger itself is kept in USD.",
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="IANA time zone in which the days of dashboards begin, e.g. `Europe/Rome`."
    )


def _days(value: object) -> object:
    return 0 if value is None else value


Days: TypeAlias = Annotated[int, BeforeValidator(_days), Field(ge=0, le=36_500)]
"""Days for which something is kept; 0, or nothing, for ever."""


class Retention(_Section):
    """How long data is kept; what goes, and what that takes away, stands in docs/retention.md. 0: for ever."""

    entries_days: Days = Field(
        default=730,
        description="Days after its end at which a closed month's entries are pruned, with the spans of their traces. "
        "All sums and the chain's blocks stay; 0: never.",
    )
    journal_days: Days = Field(
        default=0,
        description="Days after they came and ended at which spans of booked traces are pruned although their entries stay; "
        "0: with the entries.",
    )
    skeletons_hours: float = Field(
        default=1.0, gt=0, le=8_760, description="Hours after which spans of traces without any GenAI span are pruned from the journal."
    )
    quarantine_days: Days = Field(
        default=0, description="Days for which spans are held in quarantine; 0: until they are retried or dropped."
    )
    audit_days: Days = Field(default=0, description="Days for which the trail of changes is kept; 0: for ever.")
    correction_runs_days: Days = Field(
        default=0,
        description="Days for which it is kept who corrected money and why, and as long as an entry of the run is there; 0: for ever.",
    )
    price_refreshes_days: Days = Field(default=0, description="Days for which attempts to refresh the prices are kept; 0: for ever.")
    decisions_days: Days = Field(
        default=90, description="Days for which decisions on calls, and what was held and approved for them, are kept; 0: for ever."
    )
    deliveries_days: Days = Field(default=90, description="Days for which it is kept what became of notices in channels; 0: for ever.")
    outcomes_days: Days = Field(
        default=762,
        description="Days for which it is kept what somebody said of how traces came out, as long as the entries of a whole month and a "
        "month more unless it is set otherwise; 0: for ever.",
    )


class Attribution(_Section):
    """Where tenant, cost centre, step and the like come from."""

    keys: dict[AttributionName, tuple[AttributeKey, ...]] = Field(
        default={},
        description="Attribute keys that are read instead of the built-in ones, best first: "
        '`{"tenant": ["acme.org"], "cost_center": ["team"]}`. '
        "Names: agent, step, tool, workflow, user, session, tenant, cost_center, purpose, service, environment, reservation.",
    )
    defaults: dict[AttributionName, str] = Field(
        default={}, description='Values where neither the span, its ancestors nor its resource say anything: `{"cost_center": "platform"}`.'
    )
    tags: tuple[AttributeKey, ...] = Field(
        default=(), max_length=TAGS_MAX, description="Attribute keys that are kept as tags on ledger rows; none by default."
    )


class Metrics(_Section):
    """What `/metrics` tells."""

    labels: tuple[Literal["tenant", "agent", "cost_center"], ...] = Field(
        default=(), description="Labels beyond provider, model, operation and cost_method: any of tenant, agent, cost_center."
    )
    series_max: int = Field(default=SERIES_MAX, ge=1, le=1_000_000, description="Series of one metric; the rest is summed into `other`.")


class Telemetry(_Section):
    """The service's own traces and metrics."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        default="", description="OTLP endpoint for the service's own telemetry, never one of its own listeners; empty switches it off."
    )
    protocol: Literal["grpc", "http/protobuf"] = Field(default="grpc", description="Protocol of that endpoint: `grpc` or `http/protobuf`.")
    headers: dict[str, str] = Field(
        default={}, repr=False, json_schema_extra=SECRET, description="Headers for that endpoint, e.g. a token."
    )
    interval_s: float = Field(default=60.0, ge=1, le=3600, description="Seconds between two exports of metrics, 1 to 3600.")


class Log(_Section):
    """The service's log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is written: debug, info, warning, error."
    )
    format: Literal["text", "json"] = Field(default="text", description="`text` for people, `json` for one object a line.")


Origin: TypeAlias = Literal["default", "file", "environment"]


class Settings(BaseModel):
    """Everything that can be set; make it with `settings.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: Database = Database()
    otlp: Otlp = Otlp()
    forward: Forward = Forward()
    http: Http = Http()
    ledger: Ledger = Ledger()
    auth: Auth = Auth()
    metering: Metering = Metering()
    features: Features = Features()
    prices: Prices = Prices()
    pricing: Pricing = Pricing()
    kill_switch: KillSwitch = KillSwitch()
    enforcement: Enforcement = Enforcement()
    approvals: Approvals = Approvals()
    footprint: Footprint = Footprint()
    guardrails: Guardrails = Guardrails()
    channels: Channels = Channels()
    outbound: Outbound = Outbound()
    reconciliation: Reconciliation = Reconciliation()
    anomalies: Anomalies = Anomalies()
    display: Display = Display()
    retention: Retention = Retention()
    jobs: Jobs = Jobs()
    attribution: Attribution = Attribution()
    outcomes: Outcomes = Outcomes()
    waste: Waste = Waste()
    quality: Quality = Quality()
    metrics: Metrics = Metrics()
    telemetry: Telemetry = Telemetry()
    log: Log = Log()

    _origins: Mapping[tuple[str, str], Origin] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever it comes from."""
        return isinstance(other, Settings) and self.__dict__ == other.__dict__

    def came_from(self, origins: Mapping[tuple[str, str], Origin]) -> Settings:
        """The same settings, with where they come from by section and name."""
        self._origins = dict(origins)
        return self

    def origin_of(self, section: str, name: str) -> Origin:
        """Where a setting comes from."""
        return self._origins.get((section, name), "default")

    def listeners(self) -> dict[str, Address]:
        """The addresses that are switched on, by the setting that names them."""
        named = {
            "otlp.grpc_address": self.otlp.grpc_address,
            "otlp.http_address": self.otlp.http_address,
            "http.address": self.http.address,
        }
        return {name: parse_address(text) for name, text in named.items() if text}


SECTIONS: Final[dict[str, type[_Section]]] = {
    name: field.annotation for name, field in Settings.model_fields.items() if isinstance(field.annotation, type)
}
"""The model of every section, by name."""
