"""`enforcer explain`: one question answered as a colleague would, or everything that may reach one host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from enforcer.answers import (
    Position,
    Reach,
    answer,
    answer_document,
    paragraphs,
    reach,
    regions,
    reply,
    reply_document,
    reply_paragraphs,
    rule_document,
    rule_words,
    side_document,
)
from enforcer.answers.regions import Region, region_of
from enforcer.cli import output
from enforcer.cli.names import hosts
from enforcer.cli.offline import POLICY
from enforcer.cli.policies import load_with_positions
from enforcer.errors import UsageError
from enforcer.model import Policy, endpoint, endpoints, parse_traffic


@click.command("explain")
@POLICY
@click.argument("src", shell_complete=hosts)
@click.argument("dst", required=False, shell_complete=hosts)
@click.argument("proto", metavar="PROTO[/PORT]", required=False)
@click.option("--all", "everything", is_flag=True, help="List what may reach the host SRC; give no DST.")
@click.option("--reply", "answering", is_flag=True, help="Explain the packets that DST sends back.")
@output.json_option
@click.pass_context
def explain_command(
    context: click.Context,
    policy: str,
    src: str,
    dst: str | None,
    proto: str | None,
    everything: bool,
    answering: bool,
    as_json: bool,
) -> None:
    """Would a new connection from SRC to DST pass, and which rule decides on each side?

    The answer names the deciding rule with its text and its line, the rule that would decide without it, and what
    would have to change for the opposite verdict. SRC and DST are an ECS, ecs:nic, an external host, a load balancer
    or an IP address. PROTO is tcp/22, udp/53, icmp, icmp/8/0, icmpv6, gre, a protocol number or a service such as ssh,
    https or dns. Exit status: 0 allowed, 1 denied.

    \b
    Example:  enforcer explain examples/figure-1.yaml my-pc ecs-a ssh
              enforcer explain examples/figure-1.yaml ecs-a website https --reply
              enforcer explain examples/figure-2.yaml --all ecs-b01
    """
    if everything:
        _tell_reach(policy, src, _only_proto(dst, proto, answering), as_json=as_json)
        return
    if dst is None or proto is None:
        raise UsageError("explain needs SRC, DST and PROTO[/PORT]; or --all and one host")
    loaded, position = load_with_positions(policy)
    traffic = parse_traffic(proto)
    found = answer(loaded, *endpoints(loaded, src, dst), traffic)
    asked = {"src": src, "dst": dst, "proto": proto}
    if answering:
        back = reply(found)
        _tell({**asked, **reply_document(back, position)}, reply_paragraphs(back), as_json=as_json)
    else:
        _tell({**asked, **answer_document(found, position)}, paragraphs(found, position), as_json=as_json)
    context.exit(output.DONE if found.allowed else output.NO)


def _only_proto(dst: str | None, proto: str | None, answering: bool) -> str | None:
    """Return PROTO of `--all HOST [PROTO]`, which stands where DST does otherwise."""
    if proto is not None or answering:
        raise UsageError("--all takes one host, and at most a PROTO[/PORT] behind it")
    return dst


def _tell(document: dict[str, Any], told: Iterable[list[str]], *, as_json: bool) -> None:
    if as_json:
        output.emit(document)
        return
    output.paragraphs(told)


def _tell_reach(policy: str, host: str, proto: str | None, *, as_json: bool) -> None:
    loaded, position = load_with_positions(policy)
    asked = _asked(loaded, proto)
    found = reach(loaded, endpoint(loaded, host), asked)
    if as_json:
        output.emit({"host": host, **_reach_document(found, position)})
        return
    if not found.ways:
        output.paragraphs([[f"No host of the policy reaches {host}."]])
    else:
        rows = [(way.src, way.region.text, way.explanation.reason) for way in found.ways]
        output.table(f"What reaches {host}, of the policy's hosts", ("from", "what", "why"), rows)
    if found.rules:
        lines = [f"The inbound rules of {host} in the order in which they are asked:"]
        for number, one in enumerate(found.rules, start=1):
            lapse = f" – {one.lapse}" if one.lapse else ""
            lines.append(f"  {number}. {rule_words(one.group, one.rule, position)}{lapse}")
        click.echo()
        output.paragraphs([[*lines, "What none of them allows is denied (S7)."]])


def _asked(policy: Policy, proto: str | None) -> tuple[Region, ...]:
    return regions(policy) if proto is None else (region_of(parse_traffic(proto), proto),)


def _reach_document(found: Reach, position: Position) -> dict[str, Any]:
    return {
        "reached_by": [
            {
                "src": way.src,
                "proto": way.region.word,
                "region": way.region.text,
                "verdict": str(way.explanation.verdict),
                "reason": way.explanation.reason,
                "egress": side_document(way.explanation.egress, position),
                "ingress": side_document(way.explanation.ingress, position),
            }
            for way in found.ways
        ],
        "rules": [{**rule_document(one.group, one.rule, position), "not_in_effect": one.lapse} for one in found.rules],
    }
