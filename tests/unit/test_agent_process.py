"""The daemon's small parts: what it says to the service manager, its configuration, where a test lets it die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from enforcer.agent import faults
from enforcer.agent.config import Config, read_config
from enforcer.agent.notify import Notify
from enforcer.agent.observer import Log, configure
from enforcer.errors import UsageError


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listening


def test_the_service_manager_hears_each_state(manager: socket.socket) -> None:
    notify = Notify.from_environment()
    assert "NOTIFY_SOCKET" not in os.environ, "programs that it starts must not speak for it"
    for say, word in ((notify.ready, b"READY=1"), (notify.stopping, b"STOPPING=1")):
        say()
        assert manager.recv(100) == word
    notify.reloading()
    assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_without_a_watchdog_or_for_another_process_nothing_is_said(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    Notify.from_environment().alive()
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_a_service_manager_that_went_away_is_no_reason_to_stop(tmp_path: Path) -> None:
    Notify(str(tmp_path / "nobody")).ready()
    Notify().ready()


def test_the_configuration_has_defaults_and_the_command_line_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "enforcer.toml"
    file.write_text('state_dir = "/a"\nlog_level = "debug"\n')
    assert read_config(file) == Config(state_dir=Path("/a"), log_level="debug")
    assert read_config(file, state_dir=Path("/b"), socket=None).store == Path("/b/store.db")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log_levle = 1", r"enforcer.toml: log_levle: is not a known key here; leave it out"),
        ('audit_seconds = "often"', r"enforcer.toml: audit_seconds: 'often' is not a number; write one"),
        ('log_level = "loud"', r"enforcer.toml: log_level: 'loud' is not known; write 'debug', 'info'"),
        ("audit_seconds = 0", r"enforcer.toml: audit_seconds: 0 is out of range; write 0.1 or more"),
        ('metrics_listen = "here"', r"enforcer.toml: metrics_listen: 'here' is not an address with a port; write one"),
        ("audit_seconds = ", r"enforcer.toml: is not TOML"),
    ],
)
def test_a_wrong_configuration_is_refused_by_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "enforcer.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_config(tmp_path / "enforcer.toml")


def test_a_wrong_option_is_not_said_to_be_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "enforcer.toml").touch()
    for listen in ("here", "127.0.0.1:99999", ":9567", "[::1]:http"):
        with pytest.raises(UsageError, match=r"^--metrics-listen: '.*' is not an address with a port; write one like"):
            read_config(tmp_path / "enforcer.toml", metrics_listen=listen)
    assert read_config(tmp_path / "enforcer.toml", metrics_listen="[::1]:9567").metrics_listen == "[::1]:9567"


def test_a_configuration_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_config(tmp_path / "none.toml")


def test_a_fault_point_kills_at_the_step_that_is_named_and_nowhere_else() -> None:
    script = (
        "from enforcer.agent.faults import Faults\n"
        "faults = Faults.from_environment()\n"
        "for step in ('observed', 'ready', 'observed', 'switched'):\n"
        "    print(step, flush=True)\n"
        "    faults.ready() if step == 'ready' else faults.passed(step)\n"
    )

    def run(wanted: str) -> tuple[int, int]:
        environment = {**os.environ, faults.VARIABLE: wanted}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
        return done.returncode, len(done.stdout.splitlines())

    assert run("") == (0, 4)
    assert run("switched") == (-signal.SIGKILL, 4)
    assert run("observed") == (-signal.SIGKILL, 3)
    assert run("start:observed") == (-signal.SIGKILL, 1)
    assert run("nowhere") == (0, 4)


def test_the_log_has_names_of_any_script_as_people_look_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    Log().refused(7, "security_groups[Büro]: is gone")
    structlog.reset_defaults()
    assert '"why": "security_groups[Büro]: is gone"' in capsys.readouterr().err
