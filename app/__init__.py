"""Aftercall: from hang-up to enriched call record.

The package's map stands in docs/architecture.md; one webhook's way through it starts in
`app.webhooks.intake.router`.
"""

__version__ = "0.1.0"
