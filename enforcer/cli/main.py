"""`enforcer`: the group of all commands. The lab's is loaded when asked for: a daemon need not keep its libraries."""

from __future__ import annotations

import click

from enforcer import __version__
from enforcer.cli import daemon, edits, explain, host, matrix, offline, revisions, seeing
from enforcer.cli.commands import Commands
from enforcer.cli.completion import completion
from enforcer.cli.plan import plan_command

SECTIONS = {
    "Ask a policy file": ("check", "explain", "matrix", "compile", "schema"),
    "Try it with real packets": ("lab",),
    "Put it in force": ("plan", "apply", "confirm", "clear"),
    "Change one thing": ("group", "rule", "address-group", "nic"),
    "Look back, and go back": ("history", "show", "diff", "rollback"),
    "See what is going on": ("status", "hits", "trace"),
    "Run by systemd": ("boot", "daemon"),
    "For other programs": ("api-schema", "completion"),
}


@click.group(
    cls=Commands,
    later={"lab": "enforcer.cli.lab:lab"},
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="enforcer")
def main() -> None:
    """Cloud security groups for any Linux host.

    Write a policy, ask it questions (check, explain, matrix), try it with real packets (lab), and enforce it (apply).

    \b
    Exit status: 0 done, or allowed; 1 the answer is no; 2 wrong usage;
    3 the policy is invalid; 4 the kernel or the system refused;
    5 the daemon cannot be reached.
    """


for _command in (
    offline.check,
    offline.compile_command,
    explain.explain_command,
    matrix.matrix_command,
    offline.schema_command,
    plan_command,
    host.apply_command,
    revisions.history_command,
    revisions.show_command,
    revisions.diff_command,
    revisions.rollback_command,
    revisions.confirm_command,
    revisions.api_schema_command,
    seeing.status_command,
    seeing.hits_command,
    seeing.trace_command,
    edits.group,
    edits.rule,
    edits.address_group,
    edits.nic,
    host.clear_command,
    daemon.daemon_command,
    daemon.boot_command,
    completion,
):
    main.add_command(_command)
