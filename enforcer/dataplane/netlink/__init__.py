"""nftables without libnftables: typed changes become one batch of nfnetlink messages, and the kernel's answer an error.

wire         attributes and messages as bytes
keys         values by their types: order of bytes, widths, what `nft list` needs to print them
reading      where the fields of a packet are
comparing    what they are compared with
expressions  statements → the kernel's expressions
messages     changes of objects → messages
whole        both tables → messages
channel      a socket in a namespace: batches go out, acknowledgements and listings come in

`Untold` says that a statement has no form here, and then text through libnftables is the way. What it writes lists like
what libnftables writes; tests compare the two.
"""

from enforcer.dataplane.netlink.channel import Channel
from enforcer.dataplane.netlink.comparing import Untold
from enforcer.dataplane.netlink.messages import Message, encode, marking
from enforcer.dataplane.netlink.whole import whole

__all__ = ["Channel", "Message", "Untold", "encode", "marking", "whole"]
