"""Aftercall: from hang-up to enriched call record.

docs/architecture.md maps the package. The path of a webhook starts in `app.webhooks.intake.router`.
"""

__version__ = "0.1.0"
