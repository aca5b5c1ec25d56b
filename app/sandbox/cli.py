"""The command `simulate`: a simulated RingCentral, alone or with the real service beside it."""

import asyncio
import sys
from typing import Annotated, Any

import typer

from app.sandbox import companion
from app.sandbox.companion import CompanionOptions
from app.simulator.command_options import add_options, read_mix, read_options
from app.simulator.runner import run, why_not_listening
from app.simulator.scripting.catalogue import SCRIPTS, describe
from app.simulator.settings import SimulatorSettings


def simulate(
    *,
    with_service: Annotated[
        bool, typer.Option("--with-service", help="Run the real service beside it, for a connector.")
    ] = False,
    scripts: Annotated[bool, typer.Option("--scripts", help="List the call scripts and exit.")] = False,
    **options: Any,
) -> None:
    """Run a simulated RingCentral: scripted calls over real HTTP, rate limits, webhooks and faults on demand.

    Seconds and rates are simulated ones; --speed divides them. The control API is under /_sim.
    """
    if scripts:
        for name in SCRIPTS:
            typer.echo(f"{name:<32}{describe(name)}")
        return
    try:
        mix = read_mix(options["mix"])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mix") from error
    calls = options["calls"]
    if calls and not options["calls_per_minute"]:
        why = f"{calls} calls need a rate: add --calls-per-minute, such as --calls-per-minute 6"
        raise typer.BadParameter(why, param_hint="--calls")
    own = {name: options.pop(name) for name in CompanionOptions.model_fields}
    settings = read_options(SimulatorSettings, options | {"mix": mix})
    if with_service:
        raise typer.Exit(asyncio.run(companion.run(settings, read_options(CompanionOptions, own), _say)))
    try:
        run(settings)
    except OSError as error:
        typer.echo(why_not_listening(settings, error), err=True)
        raise typer.Exit(2) from error
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


add_options(simulate, SimulatorSettings)
add_options(simulate, CompanionOptions)
