"""The bytes of probes: what is packed is found again, and connection tracking takes it for what it is."""

from __future__ import annotations

import struct

from enforcer.lab.probe import packets
from enforcer.lab.probe.packets import ANSWER, REQUEST

NONCE = bytes(range(1, 13))


def test_a_message_is_found_wherever_it_stands():
    assert packets.found_message(b"header" + REQUEST + NONCE + b"padding") == (REQUEST, NONCE)
    assert packets.found_message(ANSWER + NONCE) == (ANSWER, NONCE)
    assert packets.found_message(REQUEST + NONCE[:5]) is None
    assert packets.found_message(b"") is None


def test_an_icmp_message_has_a_valid_checksum_and_is_read_back():
    message = packets.icmp_request(8, 0, NONCE)
    assert packets.checksum(message.packed()) == 0
    read = packets.parse_icmp(message.packed())
    assert read == message
    assert read is not None
    assert read.key == NONCE[:4]
    assert packets.parse_icmp(b"short") is None


def test_gre_carries_ipv4_and_nothing_else():
    inner = b"\x45" + bytes(19) + b"payload"
    assert packets.gre_unwrapped(packets.gre_wrapped(inner)) == inner
    assert packets.ipv4_payload(inner) == b"payload"
    assert packets.gre_unwrapped(b"\x20\x00\x08\x00" + inner) is None  # with a key


def test_sctp_requests_and_answers_belong_together():
    request = packets.sctp_init(NONCE)
    answer = packets.sctp_init_ack(request, NONCE)
    assert struct.unpack("!HH", request[:4]) == struct.unpack("!HH", answer[:4])[::-1]
    assert request[4:8] == bytes(4)  # an INIT has no verification tag
    assert answer[4:8] == request[16:20]  # its answer carries the tag of the INIT
    assert packets.found_message(request) == (REQUEST, NONCE)
    assert packets.found_message(answer) == (ANSWER, NONCE)


def test_the_sctp_checksum_is_the_one_of_rfc_9260():
    assert packets.crc32c(b"123456789") == 0xE3069283
