"""The model: what an operator may write, parsed into one frozen `Policy`; pure, and ignorant of everything behind it.

    text ──parse_policy──▶ Policy ──lab_layout, host_layout──▶ Layout
                             ├──advice──▶ warnings ──unsilenced──▶ those that the operator wants to see
                             └──endpoint, path──▶ can A's packets get to B at all

Every error of a file comes at once, as *where: what is wrong (the value); what would be right*, with its line.
"""

from enforcer.model.advice import advice
from enforcer.model.groups import AddressGroup, Rule, SecurityGroup
from enforcer.model.instances import Ecs, ExternalHost, Nic
from enforcer.model.layout import Attachment, Layout, Namespace, host_layout, lab_layout
from enforcer.model.parse import parse_data, parse_policy, parse_with_data, parse_with_lines
from enforcer.model.policy import DenyLog, Limits, Marks, NicRef, Policy
from enforcer.model.reading.lines import Lines
from enforcer.model.routes import Endpoint, Path, endpoint, endpoints, path
from enforcer.model.schema import policy_schema
from enforcer.model.silence import unsilenced
from enforcer.model.topology import Backend, Eip, Listener, LoadBalancer, Peering, Route, Subnet, Vpc
from enforcer.model.traffic import Traffic, parse_traffic, service
from enforcer.model.words.addresses import AddressRange, IPAddress, IPNetwork
from enforcer.model.words.codes import CODES
from enforcer.model.words.protocols import (
    GRE,
    ICMP,
    ICMPV6,
    PROTOCOL_NAMES,
    PROTOCOLS,
    TCP,
    UDP,
    Action,
    Direction,
    Family,
    PortRange,
)

__all__ = [
    "CODES",
    "GRE",
    "ICMP",
    "ICMPV6",
    "PROTOCOLS",
    "PROTOCOL_NAMES",
    "TCP",
    "UDP",
    "Action",
    "AddressGroup",
    "AddressRange",
    "Attachment",
    "Backend",
    "DenyLog",
    "Direction",
    "Ecs",
    "Eip",
    "Endpoint",
    "ExternalHost",
    "Family",
    "IPAddress",
    "IPNetwork",
    "Layout",
    "Limits",
    "Lines",
    "Listener",
    "LoadBalancer",
    "Marks",
    "Namespace",
    "Nic",
    "NicRef",
    "Path",
    "Peering",
    "Policy",
    "PortRange",
    "Route",
    "Rule",
    "SecurityGroup",
    "Subnet",
    "Traffic",
    "Vpc",
    "advice",
    "endpoint",
    "endpoints",
    "host_layout",
    "lab_layout",
    "parse_data",
    "parse_policy",
    "parse_traffic",
    "parse_with_data",
    "parse_with_lines",
    "path",
    "policy_schema",
    "service",
    "unsilenced",
]
