"""Runs migrations on the connection that `store.upgrade` opened, in its transaction: all of them or none."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
