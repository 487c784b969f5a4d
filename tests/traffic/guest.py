"""Root inside an instance: frames of its own making on the instance's own wire."""

from __future__ import annotations

import frames
from harness import Stand


class Guest:
    """Root inside a host that has one NIC."""

    def __init__(self, stand: Stand, host: str = "ecs-a") -> None:
        self.mac = stand.mac(host)
        self.router = stand.mac("vpc-x", f"v-{host}")
        self._wire = stand.frames(host)

    def send(self, packet: bytes, *, source: str = "", to: str = "", **more: object) -> None:
        self._wire.send(frames.frame(packet, source=source or self.mac, to=to or self.router, **more))
