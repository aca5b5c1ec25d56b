"""The command `simulate`: a simulated RingCentral on two ports, until Ctrl-C."""

from typing import Annotated

import typer
from pydantic import ValidationError

from app.simulator.runner import run
from app.simulator.scripting.catalogue import SCRIPTS, describe
from app.simulator.scripting.traffic import check_mix
from app.simulator.settings import DEFAULT_MIX, SimulatorSettings


def simulate(
    host: Annotated[
        str, typer.Option(help="Address to listen on; it asks for no key, so keep it on loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the platform host; 0 takes a free one.")
    ] = 8090,
    media_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the media host; 0 takes a free one.")
    ] = 8091,
    public_url: Annotated[
        str | None, typer.Option(help="The platform host's address in answers, if it is another.")
    ] = None,
    media_url: Annotated[
        str | None, typer.Option(help="The media host's address in answers, if it is another.")
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times as fast as life everything goes.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed plays the same day.")] = 1,
    calls_per_minute: Annotated[
        float, typer.Option(min=0.0, help="How busy the company is; 0 waits for /_sim/calls.")
    ] = 0.0,
    calls: Annotated[int | None, typer.Option(min=0, help="Stop playing after so many calls.")] = None,
    talk_seconds: Annotated[float, typer.Option(help="Median length of a conversation.")] = 60.0,
    mix: Annotated[
        list[str] | None, typer.Option(help="script=weight; repeat. Without: an ordinary day.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="End by itself after so many real seconds.")] = None,
    webhook_url: Annotated[
        str | None, typer.Option(help="Send all events there, without a subscription.")
    ] = None,
    webhook_token: Annotated[str | None, typer.Option(help="The Verification-Token of those events.")] = None,
    account_id: Annotated[str, typer.Option(help="The account's id, in digits.")] = "908070001",
    client_id: Annotated[str, typer.Option(help="The app's client id.")] = "sim-client",
    client_secret: Annotated[str, typer.Option(help="The app's client secret.")] = "sim-secret",  # noqa: S107 - of a make-believe company
    jwt: Annotated[
        str, typer.Option(help="The administrator's JWT; <jwt>-second and <jwt>-limited are other users.")
    ] = "sim-jwt",
    scripts: Annotated[bool, typer.Option("--scripts", help="List the scripts of calls and stop.")] = False,
) -> None:
    """Run a RingCentral of your own: scripted calls over real HTTP, limits, webhooks, faults on demand.

    Seconds and rates are those of life; --speed divides them. The control API is under /_sim.
    """
    if scripts:
        for name in SCRIPTS:
            typer.echo(f"{name:<28}{describe(name)}")
        return
    try:
        settings = SimulatorSettings(
            host=host,
            port=port,
            media_port=media_port,
            public_url=public_url,
            media_url=media_url,
            speed=speed,
            seed=seed,
            calls_per_minute=calls_per_minute,
            calls=calls,
            talk_seconds=talk_seconds,
            mix=read_mix(mix),
            duration_seconds=duration,
            webhook_url=webhook_url,
            webhook_token=webhook_token,
            account_id=account_id,
            client_id=client_id,
            client_secret=client_secret,
            jwt=jwt,
        )
    except ValidationError as error:
        raise typer.BadParameter(
            "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        ) from error
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mix") from error
    try:
        run(settings)
    except OSError as error:
        typer.echo(
            f"The simulator cannot listen on {host}, ports {port} and {media_port}: {error.strerror or error}.",
            err=True,
        )
        raise typer.Exit(2) from error


def read_mix(texts: list[str] | None) -> dict[str, float]:
    """Read `script=weight` pairs; none are the ordinary day. Raises ValueError, saying what is wrong."""
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
