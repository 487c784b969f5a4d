"""Commands that systemd runs: `daemon` enforces as long as the host is up, `boot` once before the network comes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from enforcer.cli import output
from enforcer.errors import Problem, SystemRefused

PATH = click.Path(readable=False, path_type=Path)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where things are."""
    state = click.option("--state-dir", type=PATH, metavar="DIR", help="Where the store is.")
    config = click.option("--config", type=PATH, metavar="FILE", help="The configuration.")
    return state(config(command))


@click.command("daemon")
@_options
@click.option("--socket", type=PATH, metavar="PATH", help="Where requests are taken.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much is logged.")
@click.option("--metrics-listen", metavar="ADDRESS:PORT", help="Show the metrics there, too; not by default.")
def daemon_command(
    state_dir: Path | None,
    socket: Path | None,
    config: Path | None,
    log_level: str | None,
    metrics_listen: str | None,
) -> None:
    """Keep the policy in force, whatever happens; runs until it is told to stop.

    Takes changes at its socket, attaches interfaces when they appear, and undoes what others do to its tables. When it
    ends, however it ends, the rules stay in the kernel. SIGHUP reads the configuration again.

    \b
    Example:  enforcer daemon --state-dir /var/lib/enforcer
    """
    from enforcer.agent.config import read_config  # noqa: PLC0415  commands that need no daemon load none of it
    from enforcer.agent.daemon import Daemon  # noqa: PLC0415
    from enforcer.agent.serving import Serving  # noqa: PLC0415

    def read() -> Any:
        given = {"state_dir": state_dir, "socket": socket, "log_level": log_level, "metrics_listen": metrics_listen}
        return read_config(config, **given)

    Daemon(read(), read, Serving).run()


@click.command("boot")
@_options
@output.json_option
@click.pass_context
def boot_command(ctx: click.Context, state_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Put the last good state in force and end; for the time before the network comes up.

    Interfaces that are not there yet are closed by name until the daemon attaches them.

    \b
    Example:  enforcer boot --state-dir /var/lib/enforcer
    """
    from enforcer.agent.boot import boot  # noqa: PLC0415
    from enforcer.agent.config import read_config  # noqa: PLC0415
    from enforcer.agent.observer import configure  # noqa: PLC0415

    settings = read_config(config, state_dir=state_dir)
    configure(settings.log_level)
    booted = boot(settings.store)
    for netns in booted.absent:
        output.note(f"network namespace {netns}: does not exist yet; the daemon loads it when it comes")
    wrong = [f"network namespace {netns or '(own)'}: {why}" for netns, why in booted.failed]
    if booted.damaged:
        wrong.insert(0, f"{booted.damaged}; what its copy says is in force")
    if as_json:
        errors = [output.problem_document(Problem("", each)) for each in wrong]
        output.emit({**asdict(booted), "errors": errors})
        ctx.exit(SystemRefused.exit_status if wrong else 0)
    done = ", ".join(netns or "(own)" for netns in booted.in_force) or "no namespace"
    output.note(f"revision {booted.revision} is in force in {done}")
    if wrong:
        raise SystemRefused("\n".join(wrong))
