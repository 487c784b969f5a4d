"""The only code that changes nftables: programs go in, what the kernel holds comes out.

namespaces   enter, create and delete network namespaces
libnftables  text in, one transaction per call
counters     what our rules and maps have counted, by the comment that names a rule
observe      names of our objects, generation, interfaces
notices      what the kernel says by itself: interfaces that come and go, transactions of nftables
commit       replace: the new policy is in force, or nothing changed
netlink      typed changes as raw messages
session      the same verb for who remembers what is in force: only what differs
"""

from enforcer.dataplane.commit import TRANSACTIONS, Committed, Step, clear, refusal, replace, replace_all
from enforcer.dataplane.session import Session

__all__ = ["TRANSACTIONS", "Committed", "Session", "Step", "clear", "refusal", "replace", "replace_all"]
