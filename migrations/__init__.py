"""The schema's history, one file a step, each for SQLite and PostgreSQL, up and down."""
