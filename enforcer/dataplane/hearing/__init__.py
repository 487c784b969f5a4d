"""What the kernel tells of packets while they pass, for those who follow: it is only heard, nothing is changed.

sockets      the socket that hears, also of notices (`dataplane.notices`)
listening    hears netfilter, and counts what was lost
beginnings   conversations as connection tracking takes them up
nflog        packets that rules denied
"""
