"""The options of the demo. No I/O."""

from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.environment import DATABASE_SETTING

TALK_SECONDS = 25.0
"""Median length of a conversation, in simulated seconds."""


class Options(BaseModel):
    """The options of `aftercall demo`; the description of a field is the help of its option.

    At the default speed a reader can follow, and the first record arrives some six seconds after the start.
    The first twenty calls of the default seed are of fourteen scripts, with transfers and a RingOut among
    them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(
        None, ge=1, description="Start this many calls, then no more; no limit by default."
    )
    speed: float = Field(
        4.0, ge=0.1, le=100.0, description="How many times faster than real time everything runs."
    )
    calls_per_minute: float = Field(
        6.0, ge=0.01, le=1000.0, description="How busy the company is, per simulated minute."
    )
    seed: int = Field(108, description="The same seed plays the same calls.")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The service's port. Default: 8000, or a free one if 8000 is in use.",
    )
    ends: bool = Field(
        False,
        description="Stop when all calls are settled; exit code 0 if all got their record. Needs --calls.",
    )
    keeps_scratch: bool = Field(False, description="Keep the scratch folder with database and log.")
    database_url: str | None = Field(
        None, description="Use this database instead of SQLite in the scratch folder."
    )

    def scaled(self, seconds: float) -> float:
        """Convert simulated seconds to real seconds."""
        return seconds / self.speed


def name_database(refusal: str, options: Options) -> str:
    """Name the database in the service's refusal as the user of the demo gave it.

    The service names its setting, which the demo sets itself.
    """
    name = "--database-url" if options.database_url else "the demo's own database"
    return refusal.replace(DATABASE_SETTING, name)
