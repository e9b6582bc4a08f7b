"""The tables of jobs' runs, of alert rules, and of the alerts that they raised. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text

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
