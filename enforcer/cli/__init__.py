"""The command line: thin; every command asks another package and prints its answer.

offline   check, compile, schema                      no privilege
explain   explain: one question, or who reaches a host
matrix    matrix: everybody to everybody, as a table or a page
lab       lab up, apply, show, probe, matrix …        namespaces of our own
client    requests to the daemon, and its refusals as errors
revisions history, show, diff, rollback, confirm      the daemon's policy, as of any revision
edits     group, rule, address-group, nic             one change each
names     what a shell completes
host      apply, clear                                interfaces of this host
output    tables, JSON, errors and exit statuses
"""

from enforcer.cli.main import main

__all__ = ["main"]
