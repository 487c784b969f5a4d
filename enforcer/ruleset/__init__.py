"""Program → nftables: a small typed part of nft, and the chains and maps of the enforcer in it; pure.

nft        sets, maps, chains, rules, statements: nft's nouns, typed
names      every name in the kernel, with a sentence each
skeleton   the packet's way, the same for every policy; the table of hooks
policies   side policies as lookups
pieces     the address intervals behind them, in parts where they are many
profiles   a pair of side policies: original and reply direction, from and to a NIC
nics       the maps that know interfaces and addresses
lower      Program → Ruleset
fresh      the same Ruleset under names that nobody has
render     Ruleset → nft script;  `difference`: from what is there to what shall be
"""

from enforcer.ruleset.difference import Present, Transactions, difference, next_edition
from enforcer.ruleset.fresh import fresh
from enforcer.ruleset.lower import lower
from enforcer.ruleset.nft import Ruleset
from enforcer.ruleset.render import render

__all__ = ["Present", "Ruleset", "Transactions", "difference", "fresh", "lower", "next_edition", "render"]
