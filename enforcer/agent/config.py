"""The daemon's configuration: a TOML file of few keys, each with a default; unknown keys are errors.

    state_dir = "/var/lib/enforcer"
    socket = "/run/enforcer/enforcer.sock"
    group = "enforcer"          # who may change things, besides root
    others_read = false         # everybody else may look
    log_level = "info"
    audit_seconds = 30
    metrics_listen = "127.0.0.1:9567"     # also at the socket; "": nowhere else
    count_flows = false         # accepted flows of each NIC in the metrics; costs each new flow something

What can change while the daemon runs (`log_level`, `audit_seconds`) is read again at SIGHUP.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enforcer.errors import UsageError

DEFAULT_FILE = Path("/etc/enforcer/enforcer.toml")
STATE_DIR = Path("/var/lib/enforcer")
SOCKET = Path("/run/enforcer/enforcer.sock")


class Config(BaseModel):
    """What the operator set, and the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state_dir: Path = STATE_DIR
    socket: Path = SOCKET
    group: str = "enforcer"
    others_read: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    audit_seconds: float = Field(30.0, ge=0.1, le=86400)
    metrics_listen: str = Field("", pattern=r"^(|.+:[0-9]{1,5})$")
    count_flows: bool = False

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.state_dir / "store.db"


def read_config(path: Path | None, **given: object) -> Config:
    """Return the configuration of a file, what the command line gave going before it.

    Without a path the default file is read, if it is there. Raises UsageError that names file, key and mend.
    """
    file = path or DEFAULT_FILE
    try:
        with file.open("rb") as opened:
            data = tomllib.load(opened)
    except FileNotFoundError:
        if path is not None:
            raise UsageError(f"{file}: does not exist; write it, or leave --config out") from None
        data = {}
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: is not TOML ({error})") from error
    try:
        return Config(**{**data, **{key: value for key, value in given.items() if value is not None}})
    except ValidationError as error:
        lines = (f"{file}: {_place(each['loc'])}: {each['msg']} ({each['input']!r})" for each in error.errors())
        raise UsageError("\n".join(lines)) from error


def _place(steps: tuple[int | str, ...]) -> str:
    return ".".join(map(str, steps))
