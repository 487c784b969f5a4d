"""The only code that changes nftables: programs go in, what the kernel holds comes out.

namespaces   enter, create and delete network namespaces
libnftables  text in, one transaction per call
observe      names of our objects, generation, interfaces
commit       replace: the new policy is in force, or nothing changed
"""

from enforcer.dataplane.commit import Committed, clear, replace, replace_all

__all__ = ["Committed", "clear", "replace", "replace_all"]
