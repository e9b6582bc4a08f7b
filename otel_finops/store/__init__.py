"""The database: engine, unit of work, leases, migrations. SQLite and PostgreSQL behave alike from here on up."""
