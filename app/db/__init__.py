"""The database: column types, all tables on one page, and the engine that hands out transactions."""
