"""Tell the service manager how we are: sd_notify(3), a datagram to the socket that it names; without one, nothing."""

from __future__ import annotations

import os
import socket
import time


class Notify:
    """The service manager's ear, and how often it wants to hear that we are alive."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every, self._last = watchdog / 3, 0.0

    @classmethod
    def from_environment(cls) -> Notify:
        """Return what systemd says in NOTIFY_SOCKET and WATCHDOG_USEC, and keep it from programs that we start."""
        address, usec = os.environ.pop("NOTIFY_SOCKET", ""), os.environ.pop("WATCHDOG_USEC", "")
        mine = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(usec) / 1e6 if mine and usec.isdigit() else 0.0)

    def ready(self) -> None:
        """Say that what the store says is in force."""
        self._say("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we end."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Say that the caller goes on, as often as the service manager wants to hear it."""
        now = time.monotonic()
        if self._every and now - self._last >= self._every:
            self._last = now
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                try:
                    sending.sendto(text.encode(), self._address)
                except OSError:
                    return  # nobody listens any more; that is no reason to stop filtering
