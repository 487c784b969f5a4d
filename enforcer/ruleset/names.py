"""All names that exist in the kernel, with a sentence each. Every name starts with a letter and is no nft keyword.

Objects whose content never changes carry a hash of it (`i4_0123456789`): "unchanged" is a name that is already there.
Objects that change in place while the daemon runs carry the *edition*, the number of the full load that made them
(`host4_1`): a full load never relies on what it does not know.
"""

import re

TABLE = "enforcer"

# netdev: before connection tracking, one base chain per NIC.
NIC_CHAIN = "nic_{}"  # checks the MAC, goes on to `source`
CLOSED_IN, CLOSED_OUT = "closed_in_{}", "closed_out_{}"  # lets nothing through: a NIC whose interface is a bridge port
SOURCE = "source"  # who may send what (S16), shared by all NICs
LINK_SOURCE = "link_source"  # what may come from a link-local address (S15)
SOURCES = {4: "source4", 6: "source6"}  # iif . address: addresses that a NIC may send from
SOURCE_NETS = {4: "source_net4", 6: "source_net6"}  # the same for allowed prefixes
ARP_SOURCES = "arp_source"  # iif . MAC . address: what a NIC may say in ARP
ARP_SOURCES_ANY_MAC = "arp_source_any"  # the same for NICs whose MAC is not known
LINK_LOCAL = "link_local"  # iif . the EUI-64 address of the NIC's MAC
ANY_MAC = "any_mac"  # iif of NICs whose MAC is not known
FORWARDERS = "forwarder"  # iif of NICs without source_dest_check

# inet: base chains.
PREROUTING = "prerouting"  # packets from instances
INPUT = "to_host"  # packets from instances to this host itself: only stamped
POSTROUTING = "postrouting"  # packets to instances
FOREIGN = "foreign"  # packets that no NIC's netdev chain has checked
KNOWN_FROM = "known_from"  # a packet from an instance that begins no flow, and bears no current stamp
KNOWN_TO = "known_to"  # the same, to an instance
LINK_FROM = "link_from"  # untracked packets from an instance: neighbour discovery
LINK_TO = "link_to"  # what the link itself needs, to an instance
DHCP_CLIENT = {4: "dhcp_client4", 6: "dhcp_client6"}
DHCP_SERVER = {4: "dhcp_server4", 6: "dhcp_server6"}
DHCP_ANSWER = {4: "dhcp_answer4", 6: "dhcp_answer6"}
DHCP_FROM = "dhcp_from"  # source port → which DHCP chain, from an instance
DHCP_TO = "dhcp_to"  # the same, to an instance
DENIED = "denied"  # where the "no" of a policy ends: `denial_log`, then drop; the same for ever, so never empty
DENIAL_LOG = "denial_log"  # counts what a NIC was denied, and logs so many packets a second
DENIALS = "denied_nic"  # index of a NIC → packets denied, and its limit of the log; filled by the packets
REVOKED = "revoked_nic"  # index of a NIC → flows that a change has cut there, each counted once
STAMP = "stamp"  # marks the flow with the generation and accepts
ANSWERING = "answering"  # an answer that inbound rules let pass: marked as such, accepted until it meets `answered`
ANSWERED = "answered"  # … where it leaves: stamped, if all of its way was judged in one generation
OPENING, OPENED = "opening", "opened"  # `revoke: both`: the same for the way of those who opened the flow
PASSED = "passed"  # a flow that once passed goes on under its old outbound rules; one that met a forwarder, perhaps not
MARK = "mark_flow"  # the mark itself: one rule that is replaced with every generation
MARK_ANSWERING, MARK_ANSWERED = "mark_answering", "mark_answered"  # the same, half and then whole
MARK_OPENING, MARK_OPENED = "mark_opening", "mark_opened"
MARKS = (MARK, MARK_ANSWERING, MARK_ANSWERED, MARK_OPENING, MARK_OPENED)
REFUSED = "refused_{}"  # where a packet ends that a check refuses, by reason: counted, and dropped; the same for ever
REFUSED_LOG = "refused_{}_log"  # counts what a NIC was refused, and logs so many packets a second
REFUSALS = "refused_nic"  # index of a NIC → packets refused, and its limit of the log; in both tables
IN_FORCE = "in_force"  # the stamp that lets a flow pass unasked: one element, replaced with every generation
BEGUN = {4: "begun4", 6: "begun6"}  # a new flow that may pass: its idle timeouts (S13), then `stamp`
ENDED = "ended"  # what comes from an instance and leaves for no other: stamped
TO_BACKEND, FROM_BACKEND = "to", "from"
BALANCED = "balanced_{}"  # forwarded by a balancer with transfer_client_ip (S12), to or from the backend
BALANCERS = {4: "balancer4_{}", 6: "balancer6_{}"}  # original destination → chain of the balancer
BALANCER = "balancer_{}_{}"  # its listeners' ports
LISTENERS = "listener_{}_{}"  # ports of one balancer and protocol

# inet: sets and maps about NICs. By index, so that an interface that comes back under the same name stays closed.
NICS = "nic_name"  # names of all NICs, present or not
NIC_IFS = "nic_if"  # indexes of the NICs in force
DECLARED = "declared_name"  # owned namespaces: interfaces that are no NIC and pass
FROM = {4: "from4", 6: "from6"}  # iif → chain of the NIC's profile
TO = {4: "to4", 6: "to6"}  # oif . destination → chain of the NIC's profile
TO_NETS = {4: "to_net4", 6: "to_net6"}  # the same for allowed prefixes
TO_ANY = {4: "to_any4", 6: "to_any6"}  # oif → the same for NICs without source_dest_check
FORWARDER_IFS = "forwarder_if"  # indexes of the NICs without source_dest_check
FORWARDER_OWN = {4: "forwarder_own4", 6: "forwarder_own6"}  # iif . source: what they send of their own
TO_LINK = "to_link"  # oif → link chain
TARGETS = "nd_target"  # iif . address: whom a NIC may answer for in neighbour discovery

# inet: the policy. {} is the family, an edition, the key of a side policy, or a hash of the content.
HOSTS = "host{}_{}"  # address → class; of an edition
PIECES = "piece{}_{}"  # address interval → class
PART_SOURCE = "part_source{}_{}"  # puts the class of a source address that is in these pieces into the priority
PART_DESTINATION = "part_destination{}_{}"
PARTS_SOURCE = "parts_source{}_{}"  # address interval → the chain that knows its pieces, where these are many
PARTS_DESTINATION = "parts_destination{}_{}"
CLASSIFY_SOURCE = "classify_source{}_{}"  # puts the class of the source address into the priority; of an edition
CLASSIFY_DESTINATION = "classify_destination{}_{}"
LOCAL = "local_{}"  # class → local class of a side policy; grows
POINTS = "verdict_port_{}"  # local class . protocol . sub-key → verdict as a class
RANGES = "verdict_range_{}"  # local class . protocol . interval of sub-keys → verdict as a class
PROTOCOLS = "verdict_protocol_{}"  # local class . protocol → the same: the protocol's default
CLASSES = "verdict_class_{}"  # local class → the same: the class's default
POLICY = "policy_{}"  # judges the original direction
POLICY_REPLY = "policy_{}_reply"  # judges the reply direction, keyed in reverse
PROFILE_FROM = "from{}_{}_{}"  # one list of groups, packets from its NICs; of an edition
PROFILE_FROM_REPLY = "from{}_{}_{}_reply"
PROFILE_TO = "to{}_{}_{}"
PROFILE_TO_KNOWN = "to{}_{}_{}_known"
PROFILE_TO_REPLY = "to{}_{}_{}_reply"
EDITION = re.compile(
    r"(?:host[46]|classify_(?:source|destination)[46]|(?:from|to)[46]_[0-9a-f]{10}"
    r"|(?:policy|local|verdict_[a-z]+)_[ie][46]_[0-9a-f]{10})_([0-9]+)(?:_reply|_known)?"
)
"""What has an edition: host maps, the chains that ask them, and profiles. While a session lasts
that changes them in place, so have verdict maps, local classes and the chains that ask these."""

COUNTING = ("verdict_", "policy_")
"""How the names begin of what counts the hits of rules."""

GENERATION = "generation_{}"
"""An empty chain that nothing refers to: its name tells the generation in force to whoever reads the kernel."""

FORM = "form_52d54365de"
"""An empty chain that nothing refers to: which form of chains and maps the names stand for. Names stand for what is
judged and not for how; where the kernel has another form, from another version, no name in it says anything. A test
holds the number against the golden files, and says which it has to be."""

FRESH = "{}_fresh{}"
"""The name of an object that is put there anew while one of its own name, which cannot be trusted, is in force."""

TIMEOUT = "{}_{}"  # protocol, family: tcp_ip, udp_ip6
