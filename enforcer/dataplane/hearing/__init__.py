"""What the kernel tells of packets while they pass, for those who follow: it is only heard, nothing is changed.

listening    the socket of both
beginnings   conversations as connection tracking takes them up
nflog        packets that rules denied
"""
