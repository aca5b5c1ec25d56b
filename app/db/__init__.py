"""The database: column types, tables, migrations, and the engine that provides transactions."""
