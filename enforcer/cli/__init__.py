"""The command line: thin; every command asks another package and prints its answer.

offline   check, compile, explain, matrix, schema     no privilege
lab       lab up, apply, show, probe, matrix …        namespaces of our own
host      apply, clear                                interfaces of this host
output    tables, JSON, errors and exit statuses
"""

from enforcer.cli.main import main

__all__ = ["main"]
