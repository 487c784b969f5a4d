"""`enforcer plan` against a daemon, as an operator uses it: look first, then apply, then see that it was so (S14)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from byhand import Host
from daemons import Daemon, living
from harness import ANY_IN, OUT, groups, reaches
from patience import patient

pytestmark = pytest.mark.traffic

OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{{id: in, direction: ingress, protocol: udp, multiport: 7000-7001}}, {OUT}")
NARROW = OPEN.replace("7000-7001", "7000")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with living(tmp_path) as alive:
        yield alive


def enforcer(daemon: Daemon, *words: str, text: str, status: int) -> str:
    """Run a command about a policy on its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *words, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ENFORCER_SOCKET": str(daemon.socket)},
        timeout=patient(60),
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_a_plan_says_what_apply_then_does(host: Host, daemon: Daemon) -> None:
    first = enforcer(daemon, "plan", text=host.policy(OPEN), status=0)
    assert "nothing is in force yet" in first
    enforcer(daemon, "apply", text=host.policy(OPEN), status=0)
    assert enforcer(daemon, "plan", text=host.policy(OPEN), status=0) == "Nothing changes.\n"

    kept, doomed = host.udp("a"), host.udp("a")
    seven, eight = host.udp("b", 7000), host.udp("b", 7001)
    assert reaches(kept, seven, ("10.0.0.12", 7000))
    assert reaches(doomed, eight, ("10.0.0.12", 7001))

    told = json.loads(enforcer(daemon, "plan", "--json", text=host.policy(NARROW), status=1))
    (cut,) = told["live"]["connections"]
    assert (cut["source_port"], cut["destination_port"]) == (doomed.getsockname()[1], 7001)
    assert (cut["opened_by"], cut["opened_to"], cut["nic"], cut["direction"]) == ("ecs-a", "ecs-b", "ecs-b", "ingress")
    assert told["live"]["goes_on"] == 1
    assert reaches(doomed, eight, ("10.0.0.12", 7001)), "a plan changes nothing"

    summary, in_force = enforcer(daemon, "apply", text=host.policy(NARROW), status=0).splitlines()
    assert summary.endswith("; 1 of 2 live connections cut.")
    assert in_force.endswith("revision 2 is in force")
    assert reaches(kept, seven, ("10.0.0.12", 7000))
    assert not reaches(doomed, eight, ("10.0.0.12", 7001))


def test_an_invalid_policy_has_no_plan(host: Host, daemon: Daemon) -> None:
    assert enforcer(daemon, "plan", text=host.policy(OPEN), status=0)
    assert not enforcer(daemon, "plan", text=host.policy(OPEN).replace("Sg-B,", "Sg-Q,"), status=3)


def test_without_a_daemon_that_is_the_answer(host: Host, daemon: Daemon) -> None:
    assert enforcer(daemon, "plan", text=host.policy(OPEN), status=0)
    daemon.kill()
    enforcer(daemon, "plan", text=host.policy(OPEN), status=5)
