"""nftables without libnftables: typed changes become one batch of nfnetlink messages, and the kernel's answer an error.

wire         attributes and messages as bytes
keys         values by their types: order of bytes, widths, what `nft list` needs to print them
expressions  statements → the kernel's expressions
messages     changes of objects → messages
channel      a socket in a namespace: batches go out, acknowledgements and listings come in

It speaks of what changes while the daemon runs, no more: `Untold` says that a statement has no form here, and then
text through libnftables is the way. What it writes lists like what libnftables writes; tests compare the two.
"""

from enforcer.dataplane.netlink.channel import Channel
from enforcer.dataplane.netlink.expressions import Untold
from enforcer.dataplane.netlink.messages import encode

__all__ = ["Channel", "Untold", "encode"]
