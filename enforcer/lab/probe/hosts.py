"""The hosts' side of probes: their sockets, opened once for all attempts, and whose packet is whose.

Knows how each protocol asks and answers; the engine knows when. A request counts only at a host that is to answer.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused
from enforcer.lab.probe.conversation import Attempt, Board, Conversation
from enforcer.lab.probe.packets import (
    ANSWER,
    REQUEST,
    Icmp,
    found_message,
    icmp_request,
    parse_icmp,
    sctp_init,
    sctp_init_ack,
)
from enforcer.lab.probe.ports import DatagramPort, TcpEcho
from enforcer.lab.probe.tunnel import GreDevices, Tunnels
from enforcer.model import GRE, ICMP, ICMPV6, TCP, UDP, Family, IPAddress

_SCTP: Final = 132
_AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Hosts:
    """All sockets of one run."""

    def __init__(self, board: Board, devices: GreDevices) -> None:
        self.board = board
        self._raw: dict[tuple[str, Family, int], DatagramPort] = {}
        self._udp: dict[tuple[str, Family, int], DatagramPort | None] = {}
        self._tcp: dict[tuple[str, Family, int], TcpEcho | None] = {}
        self._tunnels = Tunnels(board, self._send_from, devices)
        self._holds: dict[tuple[str, IPAddress], bool] = {}

    def close(self) -> None:
        """Close every socket and remove every device."""
        for each in (*self._raw.values(), *self._udp.values(), *self._tcp.values(), self._tunnels):
            if each is not None:
                each.close()

    def prepare(self, attempts: Iterable[Attempt]) -> None:
        """Open what the attempts need at both ends."""
        for attempt in attempts:
            if attempt.problem or attempt.destination is None:
                continue
            family = attempt.family
            for answerer in attempt.answerers:
                self._open_answerer(answerer.netns, answerer.port, attempt)
            if attempt.protocol not in (TCP, UDP):
                self._open_raw(attempt.netns, family, attempt.protocol)
            if attempt.protocol == GRE:
                for netns in (attempt.netns, *(answerer.netns for answerer in attempt.answerers)):
                    self._open_raw(netns, 4, ICMP)
                self._tunnels.open(attempt)

    def _open_answerer(self, netns: str, port: int | None, attempt: Attempt) -> None:
        family = attempt.family
        if attempt.protocol not in (TCP, UDP):
            self._open_raw(netns, family, attempt.protocol)
            return
        if port is None:
            return
        key = (netns, family, port)
        try:
            if attempt.protocol == TCP and key not in self._tcp:
                self._tcp[key] = None
                self._tcp[key] = TcpEcho(netns, family, port, partial(self._answer_tcp, netns))
            elif attempt.protocol == UDP and key not in self._udp:
                self._udp[key] = None
                self._udp[key] = DatagramPort(netns, family, UDP, port, partial(self._answer_udp, key))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # in use: the program there may answer, None remembers it
                raise SystemRefused(f"{netns}: cannot listen on port {port} ({error.strerror})") from error

    def _open_raw(self, netns: str, family: Family, protocol: int) -> None:
        key = (netns, family, protocol)
        if key in self._raw:
            return
        match protocol:
            case 1 | 58:
                received = self._receive_icmp
            case 47:
                received = self._tunnels.receive
            case _:
                received = self._receive_other
        self._raw[key] = DatagramPort(netns, family, protocol, None, partial(received, key))

    def problem(self, attempt: Attempt) -> str:
        """Say why the attempt's host cannot even send, "" if it can."""
        if attempt.source is None or attempt.destination is None:
            return "the two have no addresses of one family"
        key = (attempt.netns, attempt.source)
        if key not in self._holds:
            with entered(attempt.netns):
                trial = socket.socket(_AF[attempt.family], socket.SOCK_DGRAM)
            with trial:
                try:
                    trial.bind((str(attempt.source), 0))
                    self._holds[key] = True
                except OSError:
                    self._holds[key] = False
        return "" if self._holds[key] else f"the sender does not hold {attempt.source} at the moment"

    def foreign(self, attempt: Attempt) -> bool:
        """Tell whether a program that is not ours has the port at one of the answering hosts."""
        ports = self._tcp if attempt.protocol == TCP else self._udp
        return any(
            answerer.port is not None and ports.get((answerer.netns, attempt.family, answerer.port)) is None
            for answerer in attempt.answerers
        )

    @contextmanager
    def client(self, attempt: Attempt) -> Iterator[socket.socket]:
        """Open a TCP or UDP socket at the attempt's source, with a port nobody used lately."""
        kind = socket.SOCK_STREAM if attempt.protocol == TCP else socket.SOCK_DGRAM
        with entered(attempt.netns):
            client = socket.socket(_AF[attempt.family], kind | socket.SOCK_NONBLOCK)
        with client:
            client.bind((str(attempt.source), 0))
            yield client

    @contextmanager
    def sender(self, conversation: Conversation) -> Iterator[Callable[[], None]]:
        """Yield what sends one request of the conversation."""
        attempt = conversation.attempt
        match attempt.protocol:
            case 17:
                with self.client(attempt) as client, self._listening(client, conversation):
                    client.connect((str(attempt.destination), attempt.port))
                    yield lambda: client.sendall(REQUEST + conversation.nonce)
            case 47:
                yield partial(self._tunnels.ping, conversation)
            case _:
                yield partial(self._send_raw, conversation, _request(conversation))

    @contextmanager
    def _listening(self, client: socket.socket, conversation: Conversation) -> Iterator[None]:
        """Take the answers that a UDP client gets, for the length of the block."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                data = client.recv(4096)
            except OSError:
                return
            if data == ANSWER + conversation.nonce:
                conversation.resolve("answered")
            elif self.foreign(conversation.attempt):
                conversation.resolve("answered by a program that has the port")

        loop.add_reader(client, read)
        try:
            yield
        finally:
            loop.remove_reader(client)

    def _send_raw(self, conversation: Conversation, data: bytes) -> None:
        attempt = conversation.attempt
        assert attempt.source is not None
        assert attempt.destination is not None
        self._send_from(attempt.netns, attempt.protocol, data, attempt.source, attempt.destination)

    def _send_from(self, netns: str, protocol: int, data: bytes, source: IPAddress, destination: IPAddress) -> None:
        family: Family = 4 if source.version == 4 else 6
        self._raw[netns, family, protocol].send(data, source, destination)

    def _answer_tcp(self, netns: str, data: bytes) -> bytes:
        message = found_message(data)
        if message is None or (conversation := self.board.of_nonce(message[1])) is None:
            return b""
        conversation.arrived = True
        return ANSWER + conversation.nonce if conversation.answers_at(netns) else b""

    def _answer_udp(self, key: tuple[str, Family, int], data: bytes, peer: IPAddress, own: IPAddress, to: int) -> None:
        conversation = self._requested(key[0], data)
        port = self._udp[key]
        if conversation is not None and port is not None:
            port.send(ANSWER + conversation.nonce, own, peer, to)

    def _requested(self, netns: str, data: bytes) -> Conversation | None:
        """Return the conversation whose request this is, if this host is to answer it."""
        message = found_message(data)
        if message is None or message[0] != REQUEST:
            return None
        conversation = self.board.of_nonce(message[1])
        if conversation is None or not conversation.answers_at(netns):
            return None
        conversation.arrived = True
        return conversation

    def _receive_other(
        self, key: tuple[str, Family, int], data: bytes, peer: IPAddress, own: IPAddress, _port: int
    ) -> None:
        if (conversation := self._requested(key[0], data)) is not None:
            answer = ANSWER + conversation.nonce
            if key[2] == _SCTP:
                answer = sctp_init_ack(data, conversation.nonce)
            self._raw[key].send(answer, own, peer)
            return
        message = found_message(data)
        if message is not None and message[0] == ANSWER:
            answered = self.board.of_nonce(message[1])
            if answered is not None and answered.attempt.netns == key[0]:
                answered.resolve("answered")

    def _receive_icmp(
        self, key: tuple[str, Family, int], data: bytes, peer: IPAddress, own: IPAddress, _port: int
    ) -> None:
        message = parse_icmp(data)
        conversation = self.board.of_key(message.key) if message is not None else None
        if message is None or conversation is None:
            return
        attempt = conversation.attempt
        if message.type == attempt.answer_type and attempt.netns == key[0]:
            conversation.resolve(f"answered{conversation.carrier}")
        elif message.type == attempt.request_type and conversation.answers_at(key[0]):
            conversation.arrived = True
            if attempt.answer_type is None:
                conversation.resolve("arrived (this ICMP type has no answer)")
            elif not attempt.kernel_answers:
                answer = Icmp(attempt.answer_type, message.code, message.key, message.body)
                self._raw[key].send(answer.packed(), own, peer)


def _request(conversation: Conversation) -> bytes:
    attempt = conversation.attempt
    if attempt.protocol in (ICMP, ICMPV6):
        return icmp_request(attempt.icmp_type, attempt.icmp_code, conversation.nonce).packed()
    if attempt.protocol == _SCTP:
        return sctp_init(conversation.nonce)
    return REQUEST + conversation.nonce
