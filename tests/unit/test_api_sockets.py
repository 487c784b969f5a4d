"""A slow or broken client harms nobody: beside each of them, somebody else is served at once."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served, served

from enforcer.agent.api import limits, peers

GET = b"GET /v1/revisions HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(peers.PeerProtocol, "headers_within", 1.0)
    monkeypatch.setattr(peers.PeerProtocol, "crowd", peers.Crowd())
    monkeypatch.setattr(limits.Limits.__init__, "__defaults__", (0.3, 0.5))
    with served(tmp_path) as running:
        running.apply()
        yield running


def connected(daemon: Served) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(10)
    found.connect(str(daemon.socket))
    return found


def until_closed(asking: socket.socket) -> bytes:
    """Return what the daemon says until it closes the connection; fail if it never does."""
    said = b""
    try:
        while part := asking.recv(65536):
            said += part
    except (ConnectionResetError, BrokenPipeError):
        pass
    return said


def is_served(daemon: Served) -> bool:
    with daemon.client() as client:
        return client.get("/v1/revisions").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/rev", GET[:-2], b"\x00\xff\x16\x03\x01 garbage\r\n\r\n", b"\r\n" * 9],
    ids=["nothing", "half a line", "half a head", "garbage", "empty lines"],
)  # fmt: skip
def test_who_sends_no_request_is_cut_off_and_others_are_served(daemon: Served, sent: bytes):
    with connected(daemon) as asking:
        asking.sendall(sent)
        assert is_served(daemon)
        assert b"200 OK" not in until_closed(asking)
    assert is_served(daemon)


def test_who_drips_a_head_byte_by_byte_is_cut_off_as_well(daemon: Served):
    """A timeout for idleness would never end: a byte comes now and then."""
    ended = threading.Event()
    with connected(daemon) as asking:

        def drip() -> None:
            for byte in b"GET /v1/revisions HTTP/1.1\r\nX: " + b"x" * 1000:
                try:
                    asking.send(bytes((byte,)))
                except OSError:
                    break
                if ended.wait(0.02):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert is_served(daemon)
        until_closed(asking)
        ended.set()
        dripping.join()


def test_who_sends_a_head_without_end_is_cut_off_before_his_time_is_up(daemon: Served, monkeypatch: pytest.MonkeyPatch):
    """Also behind a request that is answered already, whose connection stays."""
    monkeypatch.setattr(peers.PeerProtocol, "headers_within", 60.0)
    for before in (b"", GET):
        with connected(daemon) as asking:
            with contextlib.suppress(ConnectionError):
                asking.sendall(before + b"GET /v1/revisions HTTP/1.1\r\nHost: x\r\nX: ")
                for _ in range(200):
                    asking.sendall(b"x" * 1024)
            assert until_closed(asking).count(b"200 OK") <= before.count(GET)
        assert is_served(daemon)


def test_who_begins_a_body_and_does_not_go_on_is_told_and_cut_off(daemon: Served):
    with connected(daemon) as asking:
        asking.sendall(b"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nversion")
        assert is_served(daemon)
        said = until_closed(asking)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"no part of the request came for" in said
    assert daemon.store.head == 1


def test_who_goes_away_in_the_middle_changes_nothing(daemon: Served):
    with connected(daemon) as asking:
        asking.sendall(b"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nversion: 1")
    assert is_served(daemon)
    assert daemon.store.head == 1


def test_who_goes_away_before_answers_leaves_no_error_in_the_log(daemon: Served, caplog: pytest.LogCaptureFixture):
    """Also where requests stand in a row behind each other: plain edits, and what the application answers."""
    for method, path in ((b"POST", b"/v1/security_groups"), (b"PUT", b"/v1/policy")):
        for count in (1, 2, 30):
            with connected(daemon) as asking:
                body = b'{"name": "%s"}' % os.urandom(8).hex().encode()
                request = b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (method, path, len(body), body)
                asking.sendall(request * count)
            assert is_served(daemon)
    time.sleep(0.2)
    assert is_served(daemon)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_who_asks_and_does_not_read_the_answer_is_cut_off(daemon: Served, caplog: pytest.LogCaptureFixture):
    """Answers that nobody takes would be held for ever. It is no mistake of the daemon's, which has none to log."""
    for number in range(40):
        group = {"name": f"g{number}", "description": "x" * 200, "rules": [{"direction": "egress"}] * 100}
        assert daemon.http.post("/v1/security_groups", json=group).status_code == 200
    with connected(daemon) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.sendall(GET.replace(b"revisions", b"policy") * 50)
        assert is_served(daemon)
        deadline = time.monotonic() + 20
        while peers.PeerProtocol.crowd.of.total() > 1:
            assert time.monotonic() < deadline, "it is still there"
            assert is_served(daemon)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("path", "length"), [("/v1/policy", 64 * 1024 * 1024 + 1), ("/v1/security_groups", 256 * 1024 + 1)]
)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(daemon: Served, path: str, length: int):
    with connected(daemon) as asking:
        method = "PUT" if path == "/v1/policy" else "POST"
        asking.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        said = until_closed(asking)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"the most that is taken here" in said
    assert is_served(daemon)


def test_a_body_without_a_length_is_bounded_too(daemon: Served):
    with connected(daemon) as asking:
        asking.sendall(b"POST /v1/security_groups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        said = b""
        try:
            for _ in range(40):
                asking.sendall(b"2000\r\n" + b" " * 8192 + b"\r\n")
        except OSError:
            pass
        said = until_closed(asking)
        assert b"413" in said[:20] or said == b""
    assert is_served(daemon)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_crowd_of_one_user_does_not_keep_others_out(daemon: Served):
    daemon.socket.chmod(0o666)
    for above in daemon.socket.parents:
        if above.stat().st_mode & 0o777 == 0o700:
            above.chmod(0o711)
    script = (
        "import socket, sys\n"
        "crowd = []\n"
        "for _ in range(200):\n"
        "    one = socket.socket(socket.AF_UNIX); one.connect(sys.argv[1]); crowd.append(one)\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    words = ["/usr/bin/env", "python3", "-c", script, str(daemon.socket)]
    who = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **who) as crowd:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == b"there\n"
        assert is_served(daemon)
        assert peers.PeerProtocol.crowd.of[65534] <= peers.MOST_OF_ONE
        crowd.communicate()


def test_long_requests_wait_for_each_other_and_short_ones_do_not(daemon: Served, monkeypatch: pytest.MonkeyPatch):
    """Sixty policies that take long to read keep neither threads nor short requests."""
    monkeypatch.setattr(peers.PeerProtocol, "headers_within", 60.0)
    reading, may = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, object]:
        reading.set()
        may.wait(20)
        return {}

    daemon.context.plan = slow
    asked = [connected(daemon) for _ in range(60)]
    for asking in asked:
        asking.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nversion: 1")
    reading.wait(10)
    assert is_served(daemon)
    with daemon.client() as client:
        assert client.post("/v1/security_groups", json={"name": "new"}).json()["outcome"] == "in_force"
    may.set()
    for asking in asked:
        assert asking.recv(12) == b"HTTP/1.1 200"
        asking.close()


def test_a_socket_that_an_earlier_life_left_is_replaced_and_ours_is_gone_afterwards(tmp_path: Path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "enforcer.sock"))
    left.close()
    with served(tmp_path) as daemon:
        assert is_served(daemon)
    assert not (tmp_path / "enforcer.sock").exists()
