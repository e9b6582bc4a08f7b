"""What insight and alerting remember: findings, scenarios, rules, channels, deliveries, cost centres, bills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _forecasts()
    _outcomes()
    _channels()
    _jobs()
    _alerts()
    _cost_centers()
    _bills()
    _scenarios_routing_and_quality()


def _forecasts() -> None:
    op.create_table(
        "budget_forecasts",
        sa.Column("budget_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="of the budget that was forecast"),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("window_start_ns", sa.BigInteger(), nullable=False),
        sa.Column("window_end_ns", sa.BigInteger(), nullable=False),
        sa.Column("limit_amount", sa.Text(), nullable=False, comment="in the budget's unit, a decimal integer"),
        sa.Column("spent_amount", sa.Text(), nullable=False),
        sa.Column("projected_amount", sa.Text(), nullable=True, comment="NULL: there was nothing to go by"),
        sa.Column("low_amount", sa.Text(), nullable=True, comment="NULL: there was too little past to tell"),
        sa.Column("high_amount", sa.Text(), nullable=True),
        sa.Column("chance", sa.Float(), nullable=True, comment="that the limit is passed, 0 to 1"),
        sa.Column("exceeds_ns", sa.BigInteger(), nullable=True, comment="when it is; NULL: it is not"),
        sa.Column("earliest_ns", sa.BigInteger(), nullable=True),
        sa.Column("latest_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("budget_no"),
        sqlite_with_rowid=False,
    )
    _anomalies()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _outcomes() -> None:
    op.create_table(
        "outcomes_said",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False, comment="the span that says it"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose that span is"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False, comment="end of that span"),
        sa.Column("name", sa.Text(), nullable=False, comment="kind of outcome"),
        sa.Column("success", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("agent", "workflow", "service", "environment")),
        sa.Column("provider", sa.Text(), nullable=True, comment="of the only model that its calls went to; NULL: several, or none"),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False, comment="of the trace's calls its share, see insight.outcomes"),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("failed_calls", "unpriced_calls")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("tokens", "cost_usd", "cost_pico")),
        sa.PrimaryKeyConstraint("trace_no", "span_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_outcomes_said_at", "outcomes_said", ["tenant", "at_ns"])
    op.create_table(
        "outcomes_given",
        sa.Column("outcome_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False, comment="of a trace that may still come"),
        sa.Column("name", sa.Text(), nullable=False, comment="kind of outcome"),
        sa.Column("success", sa.Boolean(), nullable=True, comment="NULL: what was said before is taken back"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False, comment="when it came out so"),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("outcome_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outcomes_given_trace", "outcomes_given", ["trace_id", "tenant", "name", "outcome_no"])
    op.create_index("ix_outcomes_given_at", "outcomes_given", ["tenant", "at_ns"])


def _channels() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "channel_definitions",
        sa.Column("revision", serial, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="channel or route"),
        sa.Column("no", sa.BigInteger(), nullable=False, comment="of the channel, or of the route"),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for all tenants'"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields; nothing secret"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_channel_definitions_no", "channel_definitions", ["kind", "no", "revision"])
    op.create_table(
        "channel_secrets",
        sa.Column("channel_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "sealed", sa.Text(), nullable=False,
            comment="encrypted (`alerting.sealing`): the address, tokens, the key of signatures",
        ),
        sa.PrimaryKeyConstraint("channel_no"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    _deliveries(serial)


def _deliveries(serial: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_no", serial, autoincrement=True, nullable=False),
        sa.Column("notice_id", sa.Text(), nullable=False, comment="the same in every attempt and in every channel"),
        sa.Column("channel_no", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whom the notice is about; '' for all tenants"),
        sa.Column("alert_key", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="of the alert: firing or resolved"),
        sa.Column("notice", sa.Text(), nullable=False, comment="JSON: the notice as a whole"),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="waiting, delivered or failed"),
        sa.Column(
            "attempts", sa.BigInteger(), nullable=False, comment="those that were begun; who records a result names the one that he made"
        ),
        sa.Column("next_ns", sa.BigInteger(), nullable=False, comment="waiting: no attempt before; 0: at once"),
        sa.Column("claimed_ns", sa.BigInteger(), nullable=False, comment="waiting: until when somebody attempts it; 0: nobody does"),
        sa.Column("done_ns", sa.BigInteger(), nullable=True, comment="when it was delivered or given up"),
        sa.Column("said", sa.Text(), nullable=False, comment="what came of the last attempt; '' before"),
        sa.PrimaryKeyConstraint("delivery_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_deliveries", "deliveries", ["notice_id", "channel_no"], unique=True)
    waiting = sa.text("status = 'waiting'")
    op.create_index(
        "ix_deliveries_waiting", "deliveries", ["channel_no", "next_ns"], sqlite_where=waiting, postgresql_where=waiting
    )  # fmt: skip
    op.create_index("ix_deliveries_made", "deliveries", ["made_ns"])
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False, comment="1 is the first"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False, comment="delivered, again (it will be tried again) or failed"),
        sa.Column("code", sa.BigInteger(), nullable=True, comment="status of HTTP or SMTP; NULL: there was no answer"),
        sa.Column("said", sa.Text(), nullable=False, comment="in words; never a secret"),
        sa.PrimaryKeyConstraint("delivery_no", "attempt"),
        sqlite_with_rowid=False,
    )


def _jobs() -> None:
    op.create_table(
        "job_runs",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("took_ns", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False, comment="done or failed"),
        sa.Column("said", sa.Text(), nullable=False, comment="what the run said of itself, or its error"),
        sa.Column("who", sa.Text(), nullable=False, comment="scheduler, or who asked for it"),
        sa.Column("process", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_runs_job", "job_runs", ["job", "run_no"])


def _cost_centers() -> None:
    op.create_table(
        "cost_center_definitions",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="center or rule"),
        sa.Column("no", sa.BigInteger(), nullable=False, comment="of the cost centre, or of the rule"),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for all tenants'"),
        sa.Column("name", sa.Text(), nullable=False, comment="a cost centre's code, a rule's name"),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cost_center_definitions_no", "cost_center_definitions", ["kind", "no", "revision"])


def _bills() -> None:
    op.create_table(
        "bills",
        sa.Column("bill_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("ends_no", sa.BigInteger(), nullable=True, comment="this row takes away that bill; it has nothing of its own then"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose calls it is for; '' for all tenants'"),
        sa.Column("name", sa.Text(), nullable=False, comment="imports of one name and aspect replace each other, day by day"),
        sa.Column("aspect", sa.Text(), nullable=False, comment="cost: with amounts; usage.KIND: counts alone"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("provider", "format", "currency")),
        sa.Column("scope", sa.Text(), nullable=False, comment="JSON: the calls that it is for, by dimension"),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=False, comment="exclusive; it tells everything of this time"),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column(
            "amount", sa.Text(), nullable=False,
            comment="sum, millionths of a millionth of the currency, a decimal integer; it may pass 2^63",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="of what it says, whatever the file looked like"),
        sa.Column("origin", sa.Text(), nullable=False, comment="file name, or the URL without its query"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="gzipped JSON: lines, names of models, places"),
        sa.PrimaryKeyConstraint("bill_no"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "capture_rates",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("tenant", "name", "provider")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("from_ns", "to_ns")),
        sa.Column("billed_pico", sa.Text(), nullable=False, comment="a decimal integer; it may pass 2^63"),
        sa.Column("booked_pico", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True, comment="booked of billed; NULL: nothing was billed"),
        sa.Column("causes", sa.Text(), nullable=False, comment="JSON: pico-USD as text by cause; they add up to billed minus booked"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
        sqlite_with_rowid=False,
    )


def _anomalies() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "anomalies",
        sa.Column("anomaly_no", serial, autoincrement=True, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="global, tenant, model, agent or cost_center"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="*: all"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the model, agent or cost centre; '' otherwise"),
        sa.Column("step", sa.Text(), nullable=False, comment="day or hour"),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("is_running", sa.Boolean(), nullable=False, comment="it was not over when it was last looked at"),
        sa.Column("found_ns", sa.BigInteger(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False, comment="when the figures were last worked out"),
        sa.Column("value", sa.Text(), nullable=False, comment="pico-USD, a decimal integer; it may pass 2^63"),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("spread", sa.Text(), nullable=False, comment="one robust standard deviation"),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False, comment="how many others it was compared with"),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("drivers", sa.Text(), nullable=True, comment="JSON, see insight.anomaly_words; NULL: not worked out yet"),
        sa.Column(
            "cleared_ns", sa.BigInteger(), nullable=True,
            comment="since when it does not stand out any more: calls came late, or were corrected",
        ),
        sa.PrimaryKeyConstraint("anomaly_no"),
        sa.UniqueConstraint("scope", "tenant", "name", "step", "start_ns", name="uq_anomalies_piece"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("ix_anomalies_start", "anomalies", ["start_ns", "anomaly_no"])
    op.create_table(
        "anomaly_notes",
        sa.Column("note_no", serial, autoincrement=True, nullable=False),
        sa.Column("anomaly_no", sa.BigInteger(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False, comment="ack or reopen; the last one holds"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("why", "who")),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("note_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_anomaly_notes_anomaly", "anomaly_notes", ["anomaly_no", "note_no"])
    op.create_table(
        "anomaly_mutes",
        sa.Column("mute_no", serial, autoincrement=True, nullable=False),
        sa.Column("ends_no", sa.BigInteger(), nullable=True, comment="this row ends that mute"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="of the anomalies; *: of all and of each"),
        *(sa.Column(name, sa.Text(), nullable=False, comment="'': any") for name in ("scope", "name", "step")),
        sa.Column("until_ns", sa.BigInteger(), nullable=True, comment="NULL: for good"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("why", "who")),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mute_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "anomaly_scores",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("step", "scope", "tenant", "name")),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("step", "scope", "tenant", "name"),
        sqlite_with_rowid=False,
    )


def _scenarios_routing_and_quality() -> None:
    op.create_table(
        "insight_definitions",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="scenario or routing; each has numbers of its own"),
        sa.Column("definition_no", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; *: of all"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False, comment="JSON: all else that it says"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_insight_definitions_no", "insight_definitions", ["kind", "definition_no", "revision"])
    op.create_table(
        "quality_imports",
        sa.Column("import_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose calls the scores are about; *: all"),
        sa.Column("source", sa.Text(), nullable=False, comment="its name; the newest import of a tenant's source stands"),
        sa.Column("origin", sa.Text(), nullable=False, comment="file name, or the URL without credentials"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("scores", sa.BigInteger(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("import_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quality_imports_source", "quality_imports", ["tenant", "source", "import_no"])
    op.create_table(
        "quality_scores",
        sa.Column("import_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider", sa.Text(), nullable=True, comment="family; NULL: any"),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=True, comment="NULL: any"),
        sa.Column("score", sa.Text(), nullable=False, comment="0 to 1, a plain decimal"),
        sa.Column("samples", sa.BigInteger(), nullable=True, comment="of how many answers; NULL: not known"),
        sa.PrimaryKeyConstraint("import_no", "position"),
        sqlite_with_rowid=False,
    )


def _alerts() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "alert_rules",
        sa.Column("revision", serial, autoincrement=True, nullable=False),
        sa.Column("rule_no", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for all tenants'"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_rules_no", "alert_rules", ["rule_no", "revision"])
    op.create_table(
        "alert_checks",
        sa.Column("rule_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("checked_ns", sa.BigInteger(), nullable=False, comment="the last check, whatever came of it"),
        sa.Column("found_ns", sa.BigInteger(), nullable=False, comment="the last check that found out"),
        sa.Column("fault", sa.Text(), nullable=False, comment="why the last check did not; '': it did"),
        sa.Column("found", sa.BigInteger(), nullable=False, comment="how many things it found"),
        sa.Column("left_out", sa.BigInteger(), nullable=False, comment="alerts that were too many"),
        sa.PrimaryKeyConstraint("rule_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alerts",
        sa.Column("alert_no", serial, autoincrement=True, nullable=False),
        sa.Column("rule_no", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="what its findings have in common"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whom it is about; '' for all together"),
        sa.Column("phase", sa.Text(), nullable=False, comment="pending, firing, ending or over"),
        sa.Column("found", sa.Text(), nullable=False, comment="JSON: what was found last"),
        sa.Column("told", sa.Text(), nullable=True, comment="JSON: levels by finding that people know of; NULL: nothing"),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("gone_ns", sa.BigInteger(), nullable=True),
        sa.Column("told_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("alert_no"),
        sa.UniqueConstraint("rule_no", "key", name="uq_alerts_key"),
        sqlite_autoincrement=True,
    )
    _alert_events(serial)


def _alert_events(serial: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "alert_events",
        sa.Column("event_no", serial, autoincrement=True, nullable=False),
        sa.Column("alert_key", sa.Text(), nullable=False),
        sa.Column("rule_no", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False, comment="its name then"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("deed", sa.Text(), nullable=False, comment="firing, more, repeated, told or over"),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("notice_id", sa.Text(), nullable=False, comment="'': nobody was told"),
        sa.Column("deliveries", sa.BigInteger(), nullable=False, comment="channels that were to carry it"),
        sa.Column("held_back", sa.Text(), nullable=False, comment="why nobody was told: quiet hours or muted; '' otherwise"),
        sa.PrimaryKeyConstraint("event_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_events_tenant", "alert_events", ["tenant", "event_no"])
    op.create_index("ix_alert_events_at", "alert_events", ["at_ns"])
    op.create_table(
        "alert_mutes",
        sa.Column("mute_no", serial, autoincrement=True, nullable=False),
        sa.Column("rule_no", sa.BigInteger(), nullable=False),
        sa.Column("alert_key", sa.Text(), nullable=False, comment="'': all alerts of the rule"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="only alerts about this tenant; '': about anybody"),
        sa.Column("until_ns", sa.BigInteger(), nullable=False, comment="0: it was taken back"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mute_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_mutes_of", "alert_mutes", ["rule_no", "alert_key", "tenant", "mute_no"])
