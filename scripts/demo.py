"""The demonstration: the documentation's figures on real traffic, then one connection cut while it talks.

Every step runs the command that it prints, so that all of it can be repeated by hand. Exit status 0: everything was
observed as the policies say. The lab is called `demo` and is removed at the end, also after Ctrl-C.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from enforcer.dataplane.namespaces import entered

LAB = "demo"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
console = Console(highlight=False)

BEFORE = """\
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
security_groups:
  - {name: clients, rules: [{id: out, direction: egress}]}
  - {name: guests, rules: [{id: out, direction: egress}]}
  - name: servers
    rules:
      - {id: from-clients, direction: ingress, protocol: tcp, multiport: 7000, remote_group: clients}
      - {id: out, direction: egress}
ecs:
  - {name: server, subnet: subnet-a, addresses: [192.168.0.10], security_groups: [servers]}
  - {name: mallory, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [clients]}
  - {name: alice, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [clients]}
"""
AFTER = BEFORE.replace("192.168.0.11], security_groups: [clients]", "192.168.0.11], security_groups: [guests]")


@dataclass(frozen=True)
class Scene:
    """One figure: what to look at, and which traffic to send between all its hosts."""

    title: str
    policy: str
    protos: tuple[str, ...]
    question: tuple[str, ...]
    lesson: str


SCENES = (
    Scene(
        "Figure 1: ping is allowed, SSH is not, and out goes everything through the EIP",
        "figure-1.yaml",
        ("icmp", "tcp/22", "udp/53"),
        ("my-pc", "ecs-a", "tcp/22"),
        "No inbound rule allows SSH: it is denied, without an answer. ecs-a02 has no EIP: no way, whatever its rules.",
    ),
    Scene(
        "Figure 2: two subnets, two groups, SSH from 172.16.0.0/24 and from group to group",
        "figure-2.yaml",
        ("tcp/22", "tcp/80", "icmp"),
        (),
        "Groups name groups: a rule for Sg-A counts for whoever is in Sg-A now.",
    ),
    Scene(
        "Figure 3: what carries the virtual IP is not matched by a rule for the group",
        "figure-3.yaml",
        ("icmp", "tcp/22"),
        ("192.168.0.21", "ecs-b01", "tcp/22"),
        "A remote group means private addresses; the virtual IP needs a rule of its own (B01).",
    ),
    Scene(
        "Figure 4: two peered VPCs whose groups refer to each other",
        "figure-4.yaml",
        ("icmp", "tcp/22", "udp/53"),
        ("ecs-a01", "ecs-b01", "tcp/22"),
        "The peering connects, the groups filter.",
    ),
    Scene(
        "Figure 4 without the peering: groups connect nothing",
        "figure-4-without-peering.yaml",
        ("icmp", "tcp/22"),
        ("ecs-a01", "ecs-b01", "tcp/22"),
        "The same rules allow the traffic on both sides; there is no way for it to go.",
    ),
    Scene(
        "GRE between two gateways: a ping through a real tunnel",
        "gre-gateways.yaml",
        ("gre", "tcp/22", "icmp"),
        ("gateway-west", "gateway-east", "gre"),
        "GRE is an IP protocol of its own, 47; rules for TCP or UDP ports do not speak of it.",
    ),
    Scene(
        "IPv6 only",
        "ipv6-only.yaml",
        ("icmpv6", "tcp/443", "tcp/22", "tcp/8080"),
        ("visitor", "web", "tcp/8080"),
        "A rule without `ethertype` is an IPv4 rule: the forgotten one opens nothing here.",
    ),
)


def main() -> int:
    """Play all scenes and tell how many cells were not as expected."""
    console.rule("[bold]enforcer: security groups, compiled, enforced and looked at with real packets")
    run("lab", "down", "--name", LAB, quiet=True)  # what an interrupted run may have left
    wrong = 0
    try:
        for scene in SCENES:
            wrong += play(scene)
        wrong += revocation()
    finally:
        run("lab", "down", "--name", LAB, quiet=True)
    console.rule("[bold]" + ("everything was observed as the policies say" if not wrong else f"{wrong} WRONG"))
    return 1 if wrong else 0


def play(scene: Scene) -> int:
    """Bring a figure up, probe all pairs, print the grid and one explanation; returns how many cells were wrong."""
    console.print(f"\n[bold]{scene.title}[/]")
    policy = EXAMPLES / scene.policy
    with lab(policy):
        protos = [word for proto in scene.protos for word in ("--proto", proto)]
        document = json.loads(run("lab", "matrix", "--name", LAB, *protos, "--json"))
        console.print(grid(document["cells"], scene.protos))
        if scene.question:
            src, dst, proto = scene.question
            answer = json.loads(run("explain", str(policy.relative_to(Path.cwd())), src, dst, proto, "--json"))
            seen = json.loads(run("lab", "probe", "--name", LAB, src, dst, proto, "--json"))
            agree = (answer["verdict"] == "allow") == seen["reached"]
            console.print(f"  {src} → {dst} {proto}: [bold]{answer['verdict']}[/]: {answer['reason']}")
            console.print(f"  observed: {seen['detail']}" + ("" if agree else " [bold red]WRONG[/]"))
            document["wrong"] += not agree
    console.print(f"  [italic]{scene.lesson}[/]")
    return int(document["wrong"])


def grid(cells: list[dict[str, str]], protos: tuple[str, ...]) -> Table:
    """Draw expectation beside observation: one row per pair of hosts, one column per protocol."""
    table = Table(
        box=None, padding=(0, 1, 0, 0), header_style="bold", caption="expected / observed", caption_justify="left"
    )
    table.add_column("from → to", no_wrap=True)
    for proto in protos:
        table.add_column(proto, no_wrap=True)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in cells:
        words = f"{cell['expected']} / {cell['observed']}"
        style = (
            "bold red" if cell["expected"] != cell["observed"] else "green" if cell["observed"] == "allow" else "dim"
        )
        rows.setdefault((cell["src"], cell["dst"]), {})[cell["proto"]] = f"[{style}]{words}[/]"
    for (src, dst), by_proto in rows.items():
        table.add_row(f"{src} → {dst}", *(by_proto[proto] for proto in protos))
    return table


@dataclass
class Talker:
    """A client that keeps one TCP connection busy: a message every few milliseconds, and when its answers came."""

    host: str
    sent: int = 0
    answered: list[float] = field(default_factory=list)

    def talk(self, until: threading.Event) -> None:
        """Send and receive until told to stop; every answer must be the next one, none lost."""
        with entered(f"{LAB}-ecs-{self.host}"):
            connection = socket.create_connection(("192.168.0.10", 7000), timeout=5)
        with connection:
            connection.settimeout(0.05)
            while not until.is_set():
                with suppress(OSError):
                    connection.sendall(b"x")
                    self.sent += 1
                    if connection.recv(64):
                        self.answered.append(time.monotonic())
                until.wait(0.002)


def revocation() -> int:
    """Move one of two talking clients to another group: its open connection ends with the commit, the other goes on."""
    console.print("\n[bold]Revocation: mallory leaves the group while her connection is open; alice stays[/]")
    with TemporaryDirectory() as directory:
        before, after = Path(directory) / "before.yaml", Path(directory) / "after.yaml"
        before.write_text(BEFORE, encoding="utf-8")
        after.write_text(AFTER, encoding="utf-8")
        with lab(before, shown="before.yaml"):
            return _watch(after)


def _watch(after: Path) -> int:
    stop = threading.Event()
    talkers = [Talker("mallory"), Talker("alice")]
    with entered(f"{LAB}-ecs-server"):
        listener = socket.create_server(("192.168.0.10", 7000))
    threads = [threading.Thread(target=_echo, args=(listener, stop), daemon=True)]
    threads += [threading.Thread(target=talker.talk, args=(stop,), daemon=True) for talker in talkers]
    for thread in threads:
        thread.start()
    _until(lambda: all(len(talker.answered) > 200 for talker in talkers))
    run("lab", "apply", "--name", LAB, str(after), shown="after.yaml")
    committed = time.monotonic()
    alice = talkers[1]
    enough = len(alice.answered) + 400
    _until(lambda: len(alice.answered) > enough)
    stop.set()
    for thread in threads:
        thread.join(timeout=2)
    listener.close()
    table = Table(box=None, pad_edge=True, header_style="bold")
    for column in ("client", "answers before the commit", "answers after it"):
        table.add_column(column)
    counts = {
        t.host: (sum(a <= committed for a in t.answered), sum(a > committed for a in t.answered)) for t in talkers
    }
    for host, (earlier, later) in counts.items():
        table.add_row(host, str(earlier), f"[{'dim' if not later else 'green'}]{later}[/]")
    console.print(table)
    good = counts["mallory"][1] == 0 and counts["alice"][1] > 0
    console.print("  mallory's connection was cut at the commit, alice's went on" if good else "  [bold red]WRONG[/]")
    return 0 if good else 1


def _echo(listener: socket.socket, stop: threading.Event) -> None:
    listener.settimeout(0.1)
    threads = []
    while not stop.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            threads.append(threading.Thread(target=_answer, args=(connection, stop), daemon=True))
            threads[-1].start()


def _answer(connection: socket.socket, stop: threading.Event) -> None:
    connection.settimeout(0.1)
    with connection:
        while not stop.is_set():
            with suppress(OSError):
                connection.sendall(connection.recv(64) or b"")


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("demo: waited too long")
        time.sleep(0.01)


@contextmanager
def lab(policy: Path, shown: str = "") -> Iterator[None]:
    """Keep a lab up for the length of the block."""
    run("lab", "up", str(policy if shown else policy.relative_to(Path.cwd())), "--name", LAB, shown=shown)
    try:
        yield
    finally:
        run("lab", "down", "--name", LAB, quiet=True)


def run(*arguments: str, quiet: bool = False, shown: str = "") -> str:
    """Run an enforcer command and return what it printed; prints the command unless `quiet`."""
    if not quiet:
        words = [shown if shown and word.endswith(shown) else word for word in arguments if word != "--json"]
        console.print(f"[cyan]$ enforcer {' '.join(words)}[/]")
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *arguments], check=False, capture_output=True, text=True, timeout=120
    )
    if done.returncode > 1 and not quiet:
        raise SystemExit(f"demo: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
