"""The service for thousands of accounts and for years: what folding, reading, following and keeping cost."""
