"""The answer in words and as JSON: the same content, with the rule's text, its line, and the runner-up."""

from __future__ import annotations

from typing import Any

import pytest
from answers_asking import CLOUD

from enforcer.answers import (
    Position,
    answer,
    answer_document,
    paragraphs,
    reach,
    region_of,
    regions,
    reply,
    reply_document,
    reply_paragraphs,
)
from enforcer.errors import UsageError
from enforcer.model import endpoint, endpoints, parse_traffic, parse_with_lines

TEXT = (
    CLOUD
    + """\
security_groups:
  - name: clients
    rules:
      - {id: out, direction: egress}
  - name: servers
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: 22, remote_group: clients, description: log in}
      - {id: no, direction: ingress, action: deny, priority: 7, protocol: tcp}
      - {id: off, direction: ingress, protocol: tcp, enabled: false}
      - {id: web, direction: ingress, priority: 9, protocol: tcp, multiport: 80}
ecs:
  - {name: client, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [clients], allowed_addresses: [10.0.0.99]}
  - {name: server, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [servers]}
  - {name: both, nics: [{name: n0, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [servers]},
                        {name: n1, subnet: subnet-b, addresses: [10.0.1.13], security_groups: [clients]}]}
external_hosts: [{name: pc, addresses: [203.0.113.10]}]
eips: [{address: 198.51.100.1, ecs: client}]
load_balancers:
  - name: elb
    subnet: subnet-a
    address: 10.0.0.100
    listeners: [{protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: server, port: 80}]}]
"""
)
POLICY, LINES = parse_with_lines(TEXT)
HERE = Position("policy.yaml", LINES)


def line(rule: str) -> int:
    return next(number for number, text in enumerate(TEXT.splitlines(), 1) if f"{{id: {rule}," in text)


def told(src: str, dst: str, proto: str) -> list[str]:
    found = answer(POLICY, *endpoints(POLICY, src, dst), parse_traffic(proto))
    return [text for paragraph in paragraphs(found, HERE) for text in paragraph]


def document(src: str, dst: str, proto: str) -> dict[str, Any]:
    return answer_document(answer(POLICY, *endpoints(POLICY, src, dst), parse_traffic(proto)), HERE)


def test_an_allowed_conversation_reads_like_a_colleagues_answer():
    assert told("client", "server", "ssh")[:5] == [
        "Yes: tcp/22 (ssh) from client (10.0.0.11) to server (10.0.0.12) is allowed.",
        "Route: both ends are in vpc-a.",
        f"Egress of client: allowed by out of clients (policy.yaml:{line('out')}): "
        "allow egress IPv4 all to anywhere (priority 1).",
        f"Ingress of server: allowed by ssh of servers (policy.yaml:{line('ssh')}): "
        "allow ingress IPv4 tcp 22 from group clients (priority 1), “log in”.",
        f"  Runner-up, would deny: no of servers (policy.yaml:{line('no')}): "
        "deny ingress IPv4 tcp from anywhere (priority 7); lower priority: 7 is asked after 1.",
    ]


def test_what_is_not_in_effect_is_passed_over_with_its_reason():
    passed = [text for text in told("client", "server", "ssh") if "Passed over" in text]
    assert len(passed) == 1
    assert passed[0].startswith(f"  Passed over: off of servers (policy.yaml:{line('off')})")
    assert passed[0].endswith("; disabled.")


@pytest.mark.parametrize(
    ("src", "dst", "proto", "said"),
    [
        ("client", "both:n1", "ssh", "Route: there is none, vpc-a and vpc-b are not peered."),
        ("client", "both:n0", "ssh", "Ingress of both:n0: allowed by ssh of servers"),
        ("pc", "client", "ssh", "Egress: pc is no ECS of the policy, nothing is filtered there."),
        ("pc", "198.51.100.1", "ssh", "No: tcp/22 (ssh) from pc (203.0.113.10) to client (198.51.100.1) is denied."),
        ("10.0.0.99", "server", "ssh", "No: tcp/22 (ssh) from client (10.0.0.99) to server (10.0.0.12) is denied."),
        ("10.0.0.77", "server", "tcp/9", "No: tcp/9 from 10.0.0.77 to server (10.0.0.12) is denied."),
        ("client", "2001:db8::1", "dns", "Route: there is none, client has no IPv6 address."),
        ("client", "elb", "http", "Ingress of the backend server, port 80: allowed – elb forwards"),
        ("client", "server", "icmp/0", "Egress of client: denied – icmp 0/0 begins no conversation"),
    ],
)
def test_every_part_of_an_answer_says_what_it_is_about(src: str, dst: str, proto: str, said: str):
    assert any(text.startswith(said) for text in told(src, dst, proto)), told(src, dst, proto)


def test_json_has_the_same_content():
    found = document("client", "server", "http")
    assert (found["verdict"], found["route"], found["service"]) == ("deny", True, "http")
    ingress = found["ingress"]
    assert (ingress["group"], ingress["rule"], ingress["line"]) == ("servers", "no", line("no"))
    assert ingress["text"] == "deny ingress IPv4 tcp from anywhere (priority 7)"
    assert (ingress["runner_up"]["rule"], ingress["runner_up"]["line"]) == ("web", line("web"))
    assert ingress["runner_up"]["verdict"] == "allow"
    assert [over["rule"] for over in ingress["passed_over"]] == ["off", "web"]
    change = found["to_change"][0]
    assert change["works"]
    assert change["steps"][0]["change"]["add"] == {
        "direction": "ingress",
        "action": "allow",
        "priority": 6,
        "ethertype": "IPv4",
        "protocol": 6,
        "multiport": "80",
        "remote_ip_prefix": "10.0.0.11/32",
    }
    assert found["words"] == paragraphs(
        answer(POLICY, *endpoints(POLICY, "client", "server"), parse_traffic("http")), HERE
    )
    kinds = {
        step["change"]["kind"] for way in document("client", "server", "ssh")["to_change"] for step in way["steps"]
    }
    assert kinds == {"add-rule", "remove-rule"}
    assert document("client", "both:n1", "ssh")["to_change"][0]["steps"][0]["change"]["kind"] == "peer"
    assert document("pc", "both:n1", "ssh")["to_change"][0]["steps"][0]["change"]["kind"] == "bind-eip"


def test_a_rule_without_a_place_in_a_file_has_no_line():
    found = answer(POLICY, *endpoints(POLICY, "client", "server"), parse_traffic("ssh"))
    assert answer_document(found, Position())["ingress"]["line"] is None
    assert Position("", LINES).words("clients", POLICY.group("clients").rules[0]) == f"line {line('out')}"


def test_the_answering_direction_is_asked_of_no_rule():
    back = reply(answer(POLICY, *endpoints(POLICY, "client", "server"), parse_traffic("ssh")))
    found = reply_document(back, HERE)
    assert (found["verdict"], found["direction"]) == ("allow", "reply")
    assert (found["source"], found["destination"]) == ("10.0.0.12", "10.0.0.11")
    assert found["egress"]["rule"] is found["ingress"]["rule"] is None
    assert "(S13)" in found["egress"]["reason"]
    assert found["conversation"]["ingress"]["rule"] == "ssh"
    first, after, _ = reply_paragraphs(back)
    assert first[0] == "Yes: the answer from server back to client passes."
    assert "ingress rules of server are asked again at once" in after[1]
    assert "egress rules of client are not asked again" in after[2]


def test_after_a_change_revoke_both_asks_the_openers_side_too():
    both = POLICY.model_copy(update={"revoke": "both"})
    back = reply(answer(both, *endpoints(both, "client", "server"), parse_traffic("ssh")))
    assert "egress rules of client are asked again at once too" in back.after_change[1]
    balanced = reply(answer(both, *endpoints(both, "client", "elb"), parse_traffic("http")))
    assert "backends of elb" in balanced.after_change[-1]


def test_a_denied_conversation_has_no_answer():
    back = reply(answer(POLICY, *endpoints(POLICY, "client", "server"), parse_traffic("http")))
    assert reply_document(back, HERE)["verdict"] == "deny"
    assert reply_paragraphs(back)[0][0].startswith("No: there is no answer from server back to client")
    assert back.after_change == ()


def test_what_reaches_a_host_lists_nics_and_external_hosts_and_the_rules_in_order():
    found = reach(POLICY, endpoint(POLICY, "server"), regions(POLICY))
    assert [(way.src, way.region.word) for way in found.ways] == [("client", "tcp/22")]
    assert [one.rule.id for one in found.rules] == ["ssh", "off", "no", "web"]
    assert [one.lapse for one in found.rules] == ["", "disabled", "", ""]
    outside = reach(POLICY, endpoint(POLICY, "pc"), [region_of(parse_traffic("https"))])
    assert [way.src for way in outside.ways] == ["client"]
    assert outside.rules == ()
    with pytest.raises(UsageError, match="belongs to nobody"):
        reach(POLICY, endpoint(POLICY, "192.0.2.1"), regions(POLICY))
