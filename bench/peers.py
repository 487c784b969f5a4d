"""What others would put into the router for the same policy: an ordered nft list, and Neutron's iptables with ipset.

nft_list    as a careful person writes it: verdict maps to the NICs, one chain for each list of rules, named sets,
            established first, spoofed sources dropped
iptables    as Neutron's driver writes it (neutron/agent/linux/iptables_firewall.py): two jumps for each port,
            chains i…, o… and s… for each port, one match per rule, an ipset for each remote group, RETURN where a
            packet is allowed. Neutron matches bridge ports by physdev; here the ports are routed.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.shape import ENTRIES, Rule, Shape, bounds
from bench.topology import address, mac


def nft_list(shape: Shape) -> str:
    """Write the policy as an ordered list of nft rules."""
    ip, kind = ("ip", "ipv4_addr") if shape.family == 4 else ("ip6", "ipv6_addr")
    own = ", ".join(f'"n{n}" . {mac(n)} . {address(n, shape.family)}' for n in range(shape.nics))
    names = ", ".join(f'"n{n}"' for n in range(shape.nics))
    to_nics = ", ".join(f'"n{n}" : goto inbound' for n in range(shape.nics))
    from_nics = ", ".join(f'"n{n}" : jump outbound' for n in range(shape.nics))
    listed = "\n".join(f"    {_nft_rule(entry, ip)}" for entry in shape.listed)
    return f"""
table inet ordered {{
  set own {{ type ifname . ether_addr . {kind}; elements = {{ {own} }} }}
  set members {{ type {kind}; elements = {{ {", ".join(shape.addresses)} }} }}
  set sites {{ type {kind}; flags interval; elements = {{ {", ".join(ENTRIES[shape.family])} }} }}
  chain inbound {{
{listed}
    drop
  }}
  chain outbound {{
    iifname . ether saddr . {ip} saddr @own return
    drop
  }}
  map to_nics {{ type ifname : verdict; elements = {{ {to_nics} }} }}
  map from_nics {{ type ifname : verdict; elements = {{ {from_nics} }} }}
  set nics {{ type ifname; elements = {{ {names} }} }}
  chain spoofed {{
    type filter hook prerouting priority raw; policy accept;
    iifname @nics iifname . ether saddr . {ip} saddr != @own drop
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    ct state vmap {{ established : accept, related : accept, invalid : drop }}
    iifname vmap @from_nics
    oifname vmap @to_nics
  }}
}}
"""


def _nft_rule(entry: Rule, ip: str) -> str:
    ports = str(entry.ports[0]) if len(entry.ports) == 1 else "{ " + ", ".join(map(str, entry.ports)) + " }"
    remote = "" if entry.remote.endswith("/0") else f"{ip} saddr {_remote(entry.remote)} "
    return f"{remote}{entry.protocol} dport {ports} accept"


def _remote(remote: str) -> str:
    return {"group": "@members", "sites": "@sites"}.get(remote, remote)


def ipsets(shape: Shape) -> str:
    """Write the sets for `ipset restore`; Neutron's are of the type hash:net."""
    family = "inet" if shape.family == 4 else "inet6"
    lines = [f"create {name} hash:net family {family} hashsize 1024 maxelem 131072" for name in ("group", "sites")]
    lines += [f"add group {member}" for member in shape.addresses]
    for entry in ENTRIES[shape.family]:
        first, last = bounds(entry)
        lines.append(f"add sites {first}" if first == last else f"add sites {first}-{last}")
    return "\n".join(lines) + "\n"


def iptables(shape: Shape) -> str:
    """Write the chains for `iptables-restore` (IPv6: `ip6tables-restore`)."""
    chains = ["forward", "sg-chain", "sg-fallback"]
    chains += [f"{way}{nic}" for nic in range(shape.nics) for way in "ios"]
    rules = ["-A FORWARD -j forward", *_ports(shape), "-A sg-chain -j ACCEPT", "-A sg-fallback -j DROP"]
    inbound = [_iptables_rule(entry) for entry in shape.listed]
    for nic in range(shape.nics):
        rules += _chains(nic, address(nic, shape.family), inbound)
    return "\n".join(["*filter", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])


def _ports(shape: Shape) -> Iterator[str]:
    for nic in range(shape.nics):
        yield f"-A forward -o n{nic} -j sg-chain"
        yield f"-A forward -i n{nic} -j sg-chain"
    for nic in range(shape.nics):
        yield f"-A sg-chain -o n{nic} -j i{nic}"
        yield f"-A sg-chain -i n{nic} -j o{nic}"


def _chains(nic: int, own: str, inbound: list[str]) -> Iterator[str]:
    established = "-m state --state RELATED,ESTABLISHED -j RETURN"
    last = ("-m state --state INVALID -j DROP", "-j sg-fallback")
    yield from (f"-A i{nic} {rule}" for rule in (established, *inbound, *last))
    yield from (f"-A o{nic} {rule}" for rule in (f"-j s{nic}", established, "-j RETURN", *last))
    yield from (f"-A s{nic} {rule}" for rule in (f"-s {own} -m mac --mac-source {mac(nic)} -j RETURN", "-j DROP"))


def _iptables_rule(entry: Rule) -> str:
    ports = ",".join(map(str, entry.ports))
    port = f"-m multiport --dports {ports}" if len(entry.ports) > 1 else f"-m {entry.protocol} --dport {ports}"
    if entry.remote in ("group", "sites"):
        remote = f"-m set --match-set {entry.remote} src "
    else:
        remote = "" if entry.remote.endswith("/0") else f"-s {entry.remote} "
    return f"{remote}-p {entry.protocol} {port} -j RETURN"
