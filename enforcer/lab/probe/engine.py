"""Make attempts with real packets, hundreds at once, and say what came of each.

    observations = observe(attempts)

One process, one loop: hosts get their sockets once, for all attempts. An attempt succeeds if its answer comes back;
what is not answered within the timeout is blocked. Small packets are repeated meanwhile, so that a lost one is no false
"blocked"; TCP's own repetition comes only after a second, but nothing on these wires loses a SYN.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from enforcer.lab.probe.conntrack import Conntrack
from enforcer.lab.probe.conversation import Attempt, Board, Conversation, Observation
from enforcer.lab.probe.hosts import Hosts
from enforcer.lab.probe.packets import ANSWER, REQUEST
from enforcer.lab.probe.tunnel import GreDevices
from enforcer.model import TCP, UDP, IPAddress

DEFAULT_TIMEOUT: Final = 1.0
_REPEAT: Final = 0.2
_AT_ONCE: Final = 500
Reported = Callable[[int, int], None]
"""How many attempts are done, and how many there are."""


def silent(_done: int, _total: int) -> None:
    """Report nothing."""


def observe(
    attempts: Sequence[Attempt], timeout: float = DEFAULT_TIMEOUT, reported: Reported = silent
) -> tuple[Observation, ...]:
    """Make all attempts, in any order, and return what was observed in theirs; `reported` hears how many are done."""
    with _many_files(), GreDevices.opened(attempts) as devices:
        return asyncio.run(_observe(attempts, devices, timeout, reported))


async def _observe(
    attempts: Sequence[Attempt], devices: GreDevices, timeout: float, reported: Reported
) -> tuple[Observation, ...]:
    hosts = Hosts(Board(), devices)
    routers: dict[str, Conntrack] = {}
    observations: list[Observation | None] = [None] * len(attempts)
    places = asyncio.Semaphore(_AT_ONCE)
    done = 0

    async def make(numbers: Iterable[int]) -> None:
        nonlocal done
        for number in numbers:
            async with places:
                _forget_flows(attempts[number], routers)
                observations[number] = await _one(attempts[number], hosts, timeout)
            done += 1
            reported(done, len(attempts))

    try:
        hosts.prepare(attempts)
        async with asyncio.TaskGroup() as tasks:
            for group in _sequences(attempts):
                tasks.create_task(make(group))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        hosts.close()
        for router in routers.values():
            router.close()
    return tuple(observation for observation in observations if observation is not None)


def _sequences(attempts: Sequence[Attempt]) -> Iterator[list[int]]:
    """Split into sequences that may run side by side.

    What is tracked by addresses alone runs one after the other between two hosts: the opposite direction at the same
    time would be taken for the answers (S13).
    """
    bound: dict[tuple[int, frozenset[IPAddress | None]], list[int]] = {}
    for number, attempt in enumerate(attempts):
        if attempt.tracked_by_address_alone:
            ends = frozenset((attempt.source, attempt.destination, *attempt.aliases))
            bound.setdefault((attempt.protocol, ends), []).append(number)
        else:
            yield [number]
    yield from bound.values()


def _forget_flows(attempt: Attempt, routers: dict[str, Conntrack]) -> None:
    if not attempt.tracked_by_address_alone or attempt.source is None or attempt.destination is None:
        return
    ends = dict.fromkeys((attempt.source, attempt.destination, *attempt.aliases))
    for netns in attempt.routers:
        if netns not in routers:
            routers[netns] = Conntrack(netns)
        for one in ends:
            for other in ends:
                if one != other and one.version == other.version:
                    routers[netns].forget(attempt.protocol, one, other)


async def _one(attempt: Attempt, hosts: Hosts, timeout: float) -> Observation:
    if problem := attempt.problem or hosts.problem(attempt):
        return Observation(False, problem)
    conversation = hosts.board.begin(attempt)
    began = time.perf_counter()
    try:
        if attempt.protocol == TCP:
            words = await _connect(conversation, hosts, timeout)
        else:
            words = await _repeat(conversation, hosts, timeout)
    except TimeoutError:
        return Observation(False, _silence(conversation))
    except OSError as error:
        return Observation(False, _refusal(error))
    finally:
        hosts.board.end(conversation)
    return Observation(True, f"{words} after {(time.perf_counter() - began) * 1000:.1f} ms")


async def _connect(conversation: Conversation, hosts: Hosts, timeout: float) -> str:
    """Open a TCP connection and have the nonce echoed; a program that is not ours answers by accepting."""
    attempt, loop = conversation.attempt, asyncio.get_running_loop()
    with hosts.client(attempt) as connection:
        async with asyncio.timeout(timeout):
            await loop.sock_connect(connection, (str(attempt.destination), attempt.port))
            if hosts.foreign(attempt):
                return "connected to a program that listens there"
            conversation.resolve("connected")
            await loop.sock_sendall(connection, REQUEST + conversation.nonce)
            answer = await loop.sock_recv(connection, 4096)
    if answer != ANSWER + conversation.nonce:
        raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
    return "connected and answered"


async def _repeat(conversation: Conversation, hosts: Hosts, timeout: float) -> str:
    """Send the request, again and again, until it is answered."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    with hosts.sender(conversation) as send:
        while (left := deadline - loop.time()) > 0:
            with suppress(ConnectionRefusedError):  # an ICMP error that an earlier request brought about
                send()
            await asyncio.wait((conversation.answered,), timeout=min(_REPEAT, left))
            if conversation.answered.done():
                return conversation.answered.result()
    raise TimeoutError


def _silence(conversation: Conversation) -> str:
    attempt = conversation.attempt
    if attempt.protocol == TCP:
        if conversation.answered.done():
            return "connected, but what was sent was not answered"
        return "no answer to the SYN"
    if conversation.arrived:
        return "the request arrived, its answer did not"
    if not attempt.answerers and attempt.protocol in (TCP, UDP):
        return "no answer, and nobody who would give one"
    return "no answer; the request did not arrive"


def _refusal(error: OSError) -> str:
    match error.errno:
        case errno.ECONNREFUSED:
            return "refused: nothing listens there"
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            return "the sender has no route to the destination, or nobody has the address"
        case _:
            return f"failed: {error.strerror or error}"


@contextmanager
def _many_files() -> Iterator[None]:
    """Allow as many open sockets as the system lets us; a matrix of 100 hosts has some thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
