"""S14 with packets: what a change forbids ends at its commit, in both directions; what is still allowed loses nothing.

Both ends of every conversation keep sending all the time. Deleting connection-tracking entries would not do: the next
packet of the protected side would open the conversation anew, in reverse.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import ANY_IN, HOSTS, OUT, Stand, groups, policy, reaches, standing
from streams import Stream, gre, pumping, tcp, udp

pytestmark = pytest.mark.traffic


def from_host(last: int) -> str:
    prefixes = f"remote_ip_prefix: 10.0.0.{last}", f'ethertype: IPv6, remote_ip_prefix: "2001:db8::{last}"'
    return ", ".join(f"{{direction: ingress, {prefix}}}" for prefix in prefixes)


FROM_A, FROM_B, FROM_C = from_host(11), from_host(12), from_host(13)
DENY_A = (
    "{direction: ingress, action: deny, remote_ip_prefix: 10.0.0.8/30}, "
    '{direction: ingress, action: deny, ethertype: IPv6, remote_ip_prefix: "2001:db8::10/127"}'
)
ADDRESSES = """
address_groups:
  - {{name: v4, entries: [10.0.0.13{0}]}}
  - {{name: v6, ip_version: 6, entries: ["2001:db8::13"{1}]}}
"""
FROM_ADDRESSES = (
    "{direction: ingress, remote_address_group: v4}, {direction: ingress, ethertype: IPv6, remote_address_group: v6}"
)
FROM_GROUP = "{direction: ingress, remote_group: Sg-P}, {direction: ingress, ethertype: IPv6, remote_group: Sg-P}"
DISABLED = FROM_A.replace("{", "{enabled: false, ")


def only(rules: str, **more: str) -> str:
    return policy(groups(A=OUT, C=OUT, B=f"{rules}, {OUT}", **more))


def peers(hosts: str) -> str:
    return policy(groups(A=OUT, C=OUT, B=f"{FROM_GROUP}, {OUT}", P="{direction: egress, priority: 2}"), hosts=hosts)


def member(ecs: str, hosts: str = HOSTS) -> str:
    return hosts.replace(f"[Sg-{ecs[-1].upper()}]", f"[Sg-{ecs[-1].upper()}, Sg-P]")


def two_groups(first: str, second: str) -> str:
    hosts = HOSTS.replace("[Sg-B]", f"[{first}, {second}]")
    return policy(groups(A=OUT, C=OUT, B=f"{FROM_C}, {OUT}", X=f"{FROM_A}", Y=DENY_A), hosts=hosts)


def flavored(flavor: str) -> str:
    hosts = HOSTS.replace("{name: ecs-b,", f"{{name: ecs-b, type: {flavor},")
    return policy(
        ADDRESSES.format(", 10.0.0.11", ', "2001:db8::11"'),
        groups(A=OUT, C=OUT, B=f"{FROM_ADDRESSES}, {FROM_C}, {OUT}"),
        hosts=hosts,
    )


CHANGES = {
    "its rule is removed": (only(f"{FROM_A}, {FROM_C}"), only(FROM_C)),
    "its rule is disabled": (only(f"{FROM_A}, {FROM_C}"), only(f"{DISABLED}, {FROM_C}")),
    "a deny with a higher priority comes": (
        only(f"{FROM_A.replace('{', '{priority: 5, ')}, {FROM_C}"),
        only(f"{FROM_A.replace('{', '{priority: 5, ')}, {DENY_A}, {FROM_C}"),
    ),
    "the peer leaves the remote group": (peers(member("ecs-a", member("ecs-c"))), peers(member("ecs-c"))),
    "the address group shrinks": (
        policy(
            ADDRESSES.format(", 10.0.0.8-10.0.0.11", ', "2001:db8::10/127"'),
            groups(A=OUT, C=OUT, B=f"{FROM_ADDRESSES}, {OUT}"),
        ),
        policy(ADDRESSES.format("", ""), groups(A=OUT, C=OUT, B=f"{FROM_ADDRESSES}, {OUT}")),
    ),
    "the groups change places": (
        two_groups("Sg-X, Sg-Y", "Sg-B"),
        two_groups("Sg-Y, Sg-X", "Sg-B"),
    ),
    "the ECS type changes": (flavored("s6.large.2"), flavored("S1.large.2")),
    "the quota shrinks": (
        peers(member("ecs-a")).replace(f"{OUT}]}}\n  - {{name: Sg-P", f"{FROM_C}, {OUT}]}}\n  - {{name: Sg-P"),
        "limits: {costly_rules: 0}\n"
        + peers(member("ecs-a")).replace(f"{OUT}]}}\n  - {{name: Sg-P", f"{FROM_C}, {OUT}]}}\n  - {{name: Sg-P"),
    ),
}


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(only(f"{FROM_A}, {FROM_C}")) as lab:
        yield lab


@pytest.fixture(autouse=True)
def fresh(stand: Stand) -> None:
    stand.forget()


def conversations(stand: Stand, client: str, server: str, port: int, *, tunnel: bool = True) -> tuple[Stream, ...]:
    streams = [open_(stand, client, server, port, family) for open_ in (udp, tcp) for family in (4, 6)]
    return (*streams, *([gre(stand, client, server)] if tunnel else []))


@pytest.mark.parametrize("change", CHANGES)
def test_conversation_ends_when(stand: Stand, change: str) -> None:
    """S14: cut at the commit in both directions, the neighbours untouched; allowed again, it works again."""
    before, after = CHANGES[change]
    stand.enforce(before)
    port = 6000 + 2 * list(CHANGES).index(change)
    doomed, kept = conversations(stand, "ecs-a", "ecs-b", port), conversations(stand, "ecs-c", "ecs-b", port + 1)
    with pumping(*doomed, *kept) as pump:
        pump.flowing(*doomed, *kept)
        committed = stand.enforce(after)
        pump.cut(committed, *doomed)
        pump.flowing(*kept)
        stand.enforce(before)
        pump.flowing(*doomed, *kept)
        pump.finish(*kept, *(stream for stream in doomed if stream.name.startswith("tcp")))


def outward(rules: str, *, revoke: str = "inbound") -> str:
    return f"revoke: {revoke}\n" + policy(groups(A=f"{FROM_C}, {OUT}", B=f"{FROM_C}, {rules}", C=f"{FROM_B}, {OUT}"))


def new_flow(stand: Stand, client: str, server: str, port: int) -> bool:
    sender, receiver = stand.udp(client), stand.udp(server, port)
    return reaches(sender, receiver, (stand.address(server), port))


def test_own_conversations_outlive_an_outbound_change(stand: Stand) -> None:
    """S14: a change of outbound rules applies to new connections; those opened before go on under the old rule."""
    stand.enforce(outward(OUT))
    own, foreign = (
        conversations(stand, "ecs-b", "ecs-c", 6100),
        conversations(stand, "ecs-c", "ecs-b", 6101, tunnel=False),
    )
    with pumping(*own, *foreign) as pump:
        pump.flowing(*own, *foreign)
        assert new_flow(stand, "ecs-b", "ecs-c", 6102)
        stand.enforce(outward(""))
        pump.flowing(*own, *foreign)
        assert not new_flow(stand, "ecs-b", "ecs-c", 6103)
        stand.enforce(outward("{direction: egress, action: deny}"))
        pump.flowing(*own, *foreign)
        assert not new_flow(stand, "ecs-b", "ecs-c", 6104)
        pump.finish(*own, *foreign)


def test_revoke_both_cuts_own_conversations(stand: Stand) -> None:
    """S14: under `revoke: both` an outbound change cuts existing connections, and those of others go on."""
    stand.enforce(outward(OUT, revoke="both"))
    own, foreign = (
        conversations(stand, "ecs-b", "ecs-c", 6140),
        conversations(stand, "ecs-c", "ecs-b", 6141, tunnel=False),
    )
    with pumping(*own, *foreign) as pump:
        pump.flowing(*own, *foreign)
        committed = stand.enforce(outward("", revoke="both"))
        pump.cut(committed, *own)
        pump.flowing(*foreign)
        stand.enforce(outward(OUT, revoke="both"))
        pump.flowing(*own, *foreign)
        pump.finish(*foreign)


def test_a_peer_that_answers_late_is_cut_too(stand: Stand) -> None:
    """S14: only one side talks at the commit: the other direction stays closed when it begins to talk again."""
    stand.enforce(only(f"{FROM_A}, {FROM_C}"))
    for talking in ((True, False), (False, True)):
        port = 6120 + talking[0]
        doomed, kept = udp(stand, "ecs-a", "ecs-b", port), udp(stand, "ecs-c", "ecs-b", port + 10)
        with pumping(doomed, kept) as pump:
            pump.flowing(doomed, kept)
            doomed.talking = talking
            committed = stand.enforce(only(FROM_C))
            pump.flowing(kept)
            doomed.talking = (not talking[0], not talking[1])
            pump.flowing(kept)
            doomed.talking = (True, True)
            pump.cut(committed, doomed)
            stand.enforce(only(f"{FROM_A}, {FROM_C}"))
            pump.flowing(doomed)
            pump.finish(kept)


def test_an_unchanged_policy_disturbs_nothing(stand: Stand) -> None:
    """S14: connections that are still allowed lose nothing, however often the same rules are put in force."""
    stand.enforce(only(f"{FROM_A}, {FROM_C}"))
    kept = (*conversations(stand, "ecs-a", "ecs-b", 6150), *conversations(stand, "ecs-c", "ecs-b", 6151))
    with pumping(*kept) as pump:
        for _ in range(10):
            stand.enforce(only(f"{FROM_A}, {FROM_C}"))
            pump.flowing(*kept)
        pump.finish(*kept)


def moved(b: str, c: str, group: str = "Sg-B") -> str:
    """The addresses of ecs-b and of ecs-c: `10.0.0.12, …` is a list in YAML."""
    hosts = HOSTS.replace('[10.0.0.12, "2001:db8::12"], security_groups: [Sg-B]', f"[{b}], security_groups: [{group}]")
    hosts = hosts.replace('10.0.0.13, "2001:db8::13"', c)
    return policy(groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}", C=f"{ANY_IN}, {OUT}", N=""), hosts=hosts)


def test_conversations_of_an_old_address_end() -> None:
    """S14: when a NIC's addresses change, conversations of the old ones end: for the next owner they are strangers'."""
    v4, v6 = "10.0.0.{}", '"2001:db8::{}"'
    both = f"{v4}, {v6}"
    with standing(moved(both.format(12, 12), both.format(13, 13))) as stand:
        # udp: the second owner answers on the same port; ecs-b opened one of them itself.
        doomed = (udp(stand, "ecs-a", "ecs-b", 6200), udp(stand, "ecs-b", "ecs-a", 6201))
        kept = udp(stand, "ecs-a", "ecs-c", 6202)
        with pumping(*doomed, kept) as pump:
            pump.flowing(*doomed, kept)
            committed = stand.apply(moved(both.format(22, 22), both.format(13, 13)))
            pump.cut(committed, *doomed)
            pump.flowing(kept)
            pump.finish(kept)


def test_the_next_owner_of_an_address_inherits_nothing() -> None:
    """S14: a conversation that ecs-b opened does not go on for the address's next NIC, which may not talk."""
    v6 = '"2001:db8::{}"'
    begin = moved(f"10.0.0.12, {v6.format(12)}", f"10.0.0.13, {v6.format(13)}")
    between = moved(f"10.0.0.22, {v6.format(22)}", f"10.0.0.13, {v6.format(13)}")
    for name, steps in {"at once": (0,), "after a time": (1, 0)}.items():
        with standing(begin) as stand:
            own = udp(stand, "ecs-b", "ecs-a", 6210)
            with pumping(own) as pump:
                pump.flowing(own)
            port = own.ends[0].carrier.socket.getsockname()[1]
            server = own.ends[1].carrier.socket
            # ecs-b gets another address, and a new instance with no rules gets its old one.
            heir = _with_heir(between)
            for step in steps:
                stand.apply(between if step else heir)
            sender = stand.udp("ecs-d", port, address="10.0.0.12")
            assert not reaches(sender, server, ("10.0.0.11", 6210)), f"{name}: the heir talks on"
            assert not reaches(server, sender, ("10.0.0.12", port)), f"{name}: the heir is talked to"


def _with_heir(text: str) -> str:
    heir = "  - {name: ecs-d, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [Sg-N]}\n"
    return text.replace("ecs:\n", f"ecs:\n{heir}")
