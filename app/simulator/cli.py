"""The command `simulate`: a simulated RingCentral on two ports, until Ctrl-C."""

import inspect
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.simulator.runner import run
from app.simulator.scripting.catalogue import SCRIPTS, describe
from app.simulator.scripting.traffic import check_mix
from app.simulator.settings import DEFAULT_MIX, SimulatorSettings

_OPTION_NAMES = {"duration_seconds": "--duration"}
"""Options that are not named after their setting."""


def simulate(*, scripts: bool, **options: Any) -> None:
    """Run a simulated RingCentral: scripted calls over real HTTP, rate limits, webhooks and faults on demand.

    Seconds and rates are simulated ones; --speed divides them. The control API is under /_sim.
    """
    if scripts:
        for name in SCRIPTS:
            typer.echo(f"{name:<28}{describe(name)}")
        return
    try:
        settings = SimulatorSettings(**options | {"mix": read_mix(options["mix"])})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise typer.BadParameter("; ".join(problems)) from error
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mix") from error
    try:
        run(settings)
    except OSError as error:
        ports = f"{settings.host}, ports {settings.port} and {settings.media_port}"
        typer.echo(f"The simulator cannot listen on {ports}: {error.strerror or error}.", err=True)
        raise typer.Exit(2) from error


def _parameters() -> Iterator[inspect.Parameter]:
    """Return one option for each described field of the settings, and `--scripts`."""
    for name, field in SimulatorSettings.model_fields.items():
        if field.description is None:
            continue
        # Typer has no mapping type: the mix is a list of texts until `read_mix` reads it.
        kind, default = (list[str] | None, None) if name == "mix" else (field.annotation, field.default)
        flags = [_OPTION_NAMES[name]] if name in _OPTION_NAMES else []
        yield _parameter(name, kind, default, typer.Option(*flags, help=field.description))
    yield _parameter(
        "scripts", bool, False, typer.Option("--scripts", help="List the call scripts and exit.")
    )


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# Typer reads a command's options from its signature. This one is built from the settings, so that the type,
# default and help of a setting are in one place.
simulate.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]


def read_mix(texts: list[str] | None) -> dict[str, float]:
    """Read `script=weight` pairs, by default an ordinary day. Raises ValueError with a message for people."""
    if not texts:
        return dict(DEFAULT_MIX)
    mix: dict[str, float] = {}
    for text in texts:
        name, separator, weight = text.partition("=")
        try:
            mix[name.strip()] = float(weight) if separator else 1.0
        except ValueError as error:
            raise ValueError(f"{text!r} is not script=weight") from error
    return dict(check_mix(mix))
