"""The tables of jobs' runs, of alert rules, and of the alerts that they raised. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata

job_runs: Final = Table(
    "job_runs",
    metadata,
    Column("run_no", SERIAL, primary_key=True, autoincrement=True),
    Column("job", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("took_ns", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False, comment="done or failed"),
    Column("said", Text, nullable=False, comment="what the run said of itself, or its error"),
    Column("who", Text, nullable=False, comment="scheduler, or who asked for it"),
    Column("process", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What the last runs of each job came to (`store.jobs`)."""

Index("ix_job_runs_job", job_runs.c.job, job_runs.c.run_no)

alert_rules: Final = Table(
    "alert_rules",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("rule_no", BigInteger, nullable=False),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; '' for all tenants'"),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="JSON: the other fields"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition of every alert rule (`alerting.rule_store`); the last one of a number stands unless it deletes."""

Index("ix_alert_rules_no", alert_rules.c.rule_no, alert_rules.c.revision)

alert_checks: Final = Table(
    "alert_checks",
    metadata,
    Column("rule_no", BigInteger, primary_key=True, autoincrement=False),
    Column("checked_ns", BigInteger, nullable=False, comment="the last check, whatever came of it"),
    Column("found_ns", BigInteger, nullable=False, comment="the last check that found out"),
    Column("fault", Text, nullable=False, comment="why the last check did not; '': it did"),
    Column("found", BigInteger, nullable=False, comment="how many things it found"),
    Column("left_out", BigInteger, nullable=False, comment="alerts that were too many"),
    sqlite_with_rowid=False,
)
"""What the last check of each rule came to."""

alerts: Final = Table(
    "alerts",
    metadata,
    Column("alert_no", SERIAL, primary_key=True, autoincrement=True),
    Column("rule_no", BigInteger, nullable=False),
    Column("key", Text, nullable=False, comment="what its findings have in common"),
    Column("tenant", Text, nullable=False, comment="whom it is about; '' for all together"),
    Column("phase", Text, nullable=False, comment="pending, firing, ending or over"),
    Column("found", Text, nullable=False, comment="JSON: what was found last"),
    Column("told", Text, comment="JSON: levels by finding that people know of; NULL: nothing"),
    Column("first_ns", BigInteger, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("gone_ns", BigInteger),
    Column("told_ns", BigInteger),
    UniqueConstraint("rule_no", "key", name="uq_alerts_key"),
    sqlite_autoincrement=True,
)
"""The alerts that stand (`alerting.states`)."""

alert_events: Final = Table(
    "alert_events",
    metadata,
    Column("event_no", SERIAL, primary_key=True, autoincrement=True),
    Column("alert_key", Text, nullable=False),
    Column("rule_no", BigInteger, nullable=False),
    Column("rule", Text, nullable=False, comment="its name then"),
    Column("kind", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("deed", Text, nullable=False, comment="firing, more, repeated, told or over"),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("notice_id", Text, nullable=False, comment="'': nobody was told"),
    Column("deliveries", BigInteger, nullable=False, comment="channels that were to carry it"),
    Column("held_back", Text, nullable=False, comment="why nobody was told: quiet hours or muted; '' otherwise"),
    sqlite_autoincrement=True,
)
"""What became of alerts."""

Index("ix_alert_events_tenant", alert_events.c.tenant, alert_events.c.event_no)
Index("ix_alert_events_at", alert_events.c.at_ns)

alert_mutes: Final = Table(
    "alert_mutes",
    metadata,
    Column("mute_no", SERIAL, primary_key=True, autoincrement=True),
    Column("rule_no", BigInteger, nullable=False),
    Column("alert_key", Text, nullable=False, comment="'': all alerts of the rule"),
    Column("tenant", Text, nullable=False, comment="only alerts about this tenant; '': about anybody"),
    Column("until_ns", BigInteger, nullable=False, comment="0: it was taken back"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What people want to hear nothing of for a while; the last row of a rule, alert and tenant holds."""

Index("ix_alert_mutes_of", alert_mutes.c.rule_no, alert_mutes.c.alert_key, alert_mutes.c.tenant, alert_mutes.c.mute_no)
