"""`apply --confirm`: it goes back by itself unless confirmed in time, whatever the clock does, and across restarts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from serving import REGION, Served, served

from enforcer.agent.confirming import Clocks

CHANGED = REGION.replace("10.9.0.0", "10.8.0.0")


class Time:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.booted, self.wall, self.boot = 1000.0, 1_700_000_000.0, "first"

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.booted, lambda: self.wall, lambda: self.boot)

    def passes(self, daemon: Served, seconds: float) -> None:
        self.booted += seconds
        self.wall += seconds
        daemon.context.confirming._woken.set()


def entries(daemon: Served) -> str:
    groups = daemon.http.get("/v1/policy").json()["policy"]["address_groups"]
    return str(groups[0]["entries"][0])


def until_it_went_back(daemon: Served) -> None:
    deadline = time.monotonic() + 10
    while entries(daemon) != "10.9.0.0/16" or daemon.context.confirming.waiting():
        assert time.monotonic() < deadline, "it did not go back"


@pytest.fixture
def now() -> Time:
    return Time()


def test_what_is_not_confirmed_in_time_goes_back_by_itself(tmp_path: Path, now: Time):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        done = daemon.apply(CHANGED, confirm=60).json()
        assert (done["revision"], done["confirm_within"]) == (2, 60.0)
        assert daemon.http.get("/v1/revisions").json()["waiting"] == 2
        now.passes(daemon, 59)
        assert entries(daemon) == "10.8.0.0/16"
        now.passes(daemon, 2)
        until_it_went_back(daemon)
        newest = daemon.http.get("/v1/revisions").json()["revisions"][0]
        assert (newest["revision"], newest["by"]) == (3, "confirm-timeout")
        assert newest["message"] == "revision 2 was not confirmed in time: back to revision 1"
        late = daemon.http.post("/v1/confirm")
        assert (late.status_code, late.json()["exit_status"]) == (409, 1)


def test_what_is_confirmed_stays(tmp_path: Path, now: Time):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.apply(CHANGED, confirm=60)
        assert daemon.http.post("/v1/confirm").json()["said"] == "revision 2 stays"
        now.passes(daemon, 1000)
        assert entries(daemon) == "10.8.0.0/16"
        assert daemon.http.get("/v1/revisions").json()["waiting"] is None
        assert daemon.http.delete("/v1/nics/a").status_code == 200


def test_while_something_waits_all_else_is_refused_but_going_back(tmp_path: Path, now: Time):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.http.post("/v1/security_groups", json={"name": "new"})
        daemon.apply(CHANGED, confirm=60)
        refused = daemon.http.delete("/v1/nics/a")
        assert refused.status_code == 409
        said = refused.json()["errors"][0]["message"]
        assert said.startswith("revision 3 waits to be confirmed, for 60 s more; `enforcer confirm` keeps it, ")
        assert said.endswith("`enforcer rollback 2` goes back at once")
        assert daemon.apply(confirm=10).status_code == 409
        assert daemon.http.post("/v1/rollback", json={"revision": 1}).status_code == 409
        assert daemon.http.post("/v1/rollback", json={"revision": 2}).status_code == 200
        assert daemon.http.get("/v1/revisions").json()["waiting"] is None
        assert daemon.http.delete("/v1/nics/a").status_code == 200


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, now: Time, jump: float):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.apply(CHANGED, confirm=60)
        now.wall += jump
        now.passes(daemon, 30)
        assert daemon.context.confirming.waiting().left == 30
        assert entries(daemon) == "10.8.0.0/16"
        now.passes(daemon, 31)
        until_it_went_back(daemon)


def test_a_daemon_that_is_started_anew_goes_on_where_the_last_one_was(tmp_path: Path, now: Time):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.apply(CHANGED, confirm=60)
    now.booted += 40
    with served(tmp_path, clocks=now.clocks()) as daemon:
        assert daemon.context.confirming.waiting().left == 20
        assert entries(daemon) == "10.8.0.0/16"
        now.passes(daemon, 21)
        until_it_went_back(daemon)


@pytest.mark.parametrize(("away", "left"), [(40, 20), (1e6, None), (-1e6, 60)])
def test_after_a_reboot_the_clock_counts_but_never_for_more_than_the_whole_time(
    tmp_path: Path, now: Time, away: float, left: float | None
):
    with served(tmp_path, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.apply(CHANGED, confirm=60)
    now.boot, now.booted = "second", 5.0
    now.wall += away
    with served(tmp_path, clocks=now.clocks()) as daemon:
        if left is None:
            until_it_went_back(daemon)
        else:
            assert daemon.context.confirming.waiting().left == left


def test_a_revision_that_the_kernel_refuses_waits_for_nobody(tmp_path: Path, now: Time):
    with served(tmp_path, lambda revision: "no" if revision.number == 2 else "", clocks=now.clocks()) as daemon:
        daemon.apply()
        assert daemon.apply(CHANGED, confirm=60).status_code == 424
        assert daemon.http.delete("/v1/nics/a").status_code == 200


def test_going_back_is_tried_until_it_is_in_force(tmp_path: Path, now: Time):
    """What locked its author out must not stay because the kernel was busy for a moment."""
    refusals = iter(["busy"])

    def refuses(revision) -> str:
        return next(refusals, "") if revision.author.by else ""

    with served(tmp_path, refuses, clocks=now.clocks()) as daemon:
        daemon.apply()
        daemon.apply(CHANGED, confirm=60)
        now.passes(daemon, 61)
        until_it_went_back(daemon)
        outcomes = [each["outcome"] for each in daemon.http.get("/v1/revisions").json()["revisions"]]
        assert outcomes == ["in_force", "refused", "in_force", "in_force"]
