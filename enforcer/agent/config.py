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
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from enforcer.errors import UsageError
from enforcer.model.words.wording import shown, what_is_wrong, wrong

DEFAULT_FILE = Path("/etc/enforcer/enforcer.toml")
STATE_DIR = Path("/var/lib/enforcer")
SOCKET = Path("/run/enforcer/enforcer.sock")


def _address(text: str) -> str:
    address, colon, port = text.rpartition(":")
    if text and not (address and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise wrong(f"{shown(text)} is not an address with a port; write one like '127.0.0.1:9567'")
    return text


class Config(BaseModel):
    """What the operator set, and the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state_dir: Path = STATE_DIR
    socket: Path = SOCKET
    group: str = "enforcer"
    others_read: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    audit_seconds: float = Field(30.0, ge=0.1, le=86400)
    metrics_listen: Annotated[str, AfterValidator(_address)] = ""
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
        lines = (f"{_where(file, each['loc'], given)}: {what_is_wrong(each)}" for each in error.errors())
        raise UsageError("\n".join(lines)) from error


def _where(file: Path, steps: tuple[int | str, ...], given: Mapping[str, object]) -> str:
    """Return whose fault a value is: the file's, or an option's."""
    key = ".".join(map(str, steps))
    return f"{file}: {key}" if given.get(key) is None else f"--{key.replace('_', '-')}"
