"""`logcaster-guard demo`: a bad release is found and undone, on an embedded cluster, in about a minute."""

from __future__ import annotations

import asyncio
import shutil
from typing import Annotated

import typer
from rich.console import Console

from logcaster_guard.cli.scenarios import SCENARIOS, Name, rules_text
from logcaster_guard.cli.stage import NEW, SHORTENED, staged
from logcaster_guard.domain.rules import Action
from logcaster_guard.sandbox.objects import image
from logcaster_guard.sandbox.prometheus import PROGRAM, PrometheusNotStarted
from logcaster_guard.sandbox.release import Releases

UNREACHABLE = 3
HELP = (
    "errors, slow, unhealthy, crash-loop, memory-leak: the new release has that fault. stalled: its image cannot be "
    "pulled. bad-configuration: its ConfigMap is changed, and the release stays. innocent: a dependency fails for old "
    "and new alike."
)


def demo(
    scenario: Annotated[Name, typer.Option(help=HELP)] = Name.ERRORS,
    guard: Annotated[bool, typer.Option(help="Whether the guard watches.")] = True,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Measure through the `prometheus` program that is on the PATH.")
    ] = False,
) -> None:
    """Show a bad release being found and undone, on an embedded cluster; exits 1 if it is not."""
    binary = shutil.which(PROGRAM) if prometheus else None
    if prometheus and binary is None:
        typer.echo(
            f"error: there is no `{PROGRAM}` on the PATH: install it, or leave out --prometheus and the guard reads "
            "the pods' own metrics",
            err=True,
        )
        raise typer.Exit(UNREACHABLE)
    try:
        well = asyncio.run(_play(scenario, guarded=guard, prometheus=binary))
    except PrometheusNotStarted as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(UNREACHABLE) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if well else 1)


async def _play(name: Name, *, guarded: bool, prometheus: str | None) -> bool:
    console = Console(highlight=False)
    console.print(f"[bold]LogCaster Guard demo[/bold]: {name}. {SHORTENED}\n")
    scenario = SCENARIOS[name]
    releases = Releases({image(NEW): scenario.new})
    switching = scenario.action is Action.BLUE_GREEN
    async with staged(
        console, releases, rules_text(scenario), guarded=guarded, prometheus=prometheus, switching=switching
    ) as stage:
        await stage.install(scenario.configuration)
        return await scenario.play(stage)
