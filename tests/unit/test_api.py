"""The API answers every change with its revision, once that is in force, and every refusal with what would be right."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import REGION, Served, served

from enforcer.agent.store import Author, Change, Revision
from enforcer.errors import AttachmentRefused
from enforcer.model import Policy, parse_policy


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.apply()
        yield running


def texts(answer: httpx.Response) -> list[str]:
    return [each["text"] for each in answer.json()["errors"]]


def policy_at(daemon: Served, revision: int | None = None) -> Policy:
    answer = daemon.http.get("/v1/policy", params={} if revision is None else {"revision": revision})
    return parse_policy(json.dumps(answer.json()["policy"]))


def rules(daemon: Served, group: str = "web") -> list[str]:
    return [rule.id for rule in policy_at(daemon).group(group).rules]


# --- policies and revisions ---


def test_a_policy_is_applied_and_its_revision_says_who_and_why(daemon: Served):
    done = daemon.apply(REGION.replace("10.9.0.0", "10.8.0.0"), message="move the office").json()
    assert (done["revision"], done["outcome"], done["changed"]) == (2, "in_force", True)
    newest = daemon.http.get("/v1/revisions").json()["revisions"][0]
    assert (newest["revision"], newest["uid"], newest["message"]) == (2, os.geteuid(), "move the office")
    assert newest["keys"] == ["address_groups/office"]
    assert newest["at"] > 1_600_000_000


def test_a_policy_that_changes_nothing_makes_no_revision(daemon: Served):
    done = daemon.apply().json()
    assert (done["revision"], done["changed"], done["said"]) == (1, False, "nothing to change")
    assert len(daemon.http.get("/v1/revisions").json()["revisions"]) == 1


def test_an_invalid_policy_is_refused_with_all_its_errors_and_their_lines(daemon: Served):
    answer = daemon.apply("version: 1\nsecurity_groups:\n  - {name: a b}\n  - {name: c, rulez: []}\n")
    assert answer.status_code == 422
    assert answer.json()["exit_status"] == 3
    assert texts(answer) == [
        "line 3: security_groups[a b].name: 'a b' has the character ' '; a name has letters, digits, '_', '-' and '.'",
        "line 4: security_groups[c].rulez: is not a known key here; did you mean 'rules'?",
    ]
    assert daemon.store.head == 1


def test_a_policy_that_no_host_can_enforce_is_refused_before_it_is_proposed_s18(daemon: Served):
    two = """
        version: 1
        vpcs:
          - {name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}
          - {name: y, subnets: [{name: t, cidr: 10.0.0.0/24}]}
        ecs:
          - {name: a, subnet: s, addresses: [10.0.0.1], interface: v1}
          - {name: b, subnet: t, addresses: [10.0.0.1], interface: v2}
    """
    answer = daemon.apply(two)
    assert answer.status_code == 422
    assert "would join y and x (NIC a), not peered; give each VPC its own namespace or peer them" in texts(answer)[0]
    assert daemon.store.history(most=1)[0].number == 1


def test_warnings_come_with_the_answer_s11(daemon: Served):
    names = [f"g{number}" for number in range(6)]
    groups = "".join(f"  - {{name: {name}, rules: []}}\n" for name in names)
    text = REGION.replace("  - {name: db", f"{groups}  - {{name: db")
    text = text.replace("security_groups: [web]}", f"security_groups: [{', '.join(names)}]}}")
    warnings = daemon.apply(text).json()["warnings"]
    assert [each["code"] for each in warnings] == ["S11-groups"]


def test_what_the_kernel_refuses_changes_nothing_and_says_why(tmp_path: Path):
    def refuses(revision: Revision) -> str:
        return "interface tap-b: is a port of the bridge br0" if revision.number == 2 else ""

    with served(tmp_path, refuses) as daemon:
        daemon.apply()
        answer = daemon.http.put("/v1/nics/a/security_groups", json={"security_groups": ["db"]})
        assert answer.status_code == 424
        assert answer.json()["exit_status"] == 4
        assert texts(answer) == [
            "revision 2 was refused, nothing has changed: interface tap-b: is a port of the bridge br0"
        ]
        assert policy_at(daemon).nic_ref("a").nic.security_groups == ("web",)
        assert [each["outcome"] for each in daemon.http.get("/v1/revisions").json()["revisions"]] == [
            "refused", "in_force",
        ]  # fmt: skip
        done = daemon.http.delete("/v1/security_groups/web/rules/B").json()
        assert (done["revision"], done["outcome"]) == (3, "in_force")
        assert policy_at(daemon).nic_ref("a").nic.security_groups == ("web",), "judged against what is in force"


def test_what_was_built_on_a_refused_revision_is_not_taken_for_granted(tmp_path: Path):
    """The second client's group vanishes under it: it must hear so, and not be in force without it."""
    with served(tmp_path, lambda revision: "no" if revision.message == "bad" else "") as daemon:
        daemon.apply()
        daemon.settler.may.clear()
        answers: list[httpx.Response] = []

        def create() -> None:
            with daemon.client() as client:
                answers.append(client.post("/v1/security_groups", json={"name": "new"}, params={"message": "bad"}))

        first = threading.Thread(target=create)
        first.start()
        while daemon.store.head < 2:
            pass
        assert "new" in {group.name for group in daemon.context.head.now()[1].policy.security_groups}
        daemon.settler.may.set()
        first.join(10)
        assert answers[0].status_code == 424
        second = daemon.http.put("/v1/nics/a/security_groups", json={"security_groups": ["new"]})
        assert second.status_code == 422
        assert "'new' is not defined" in texts(second)[0]


def test_the_first_of_those_who_saw_the_same_head_wins(daemon: Served):
    fresh = daemon.http.post("/v1/security_groups", json={"name": "one"}, params={"if_revision": 1})
    stale = daemon.http.post("/v1/security_groups", json={"name": "two"}, params={"if_revision": 1})
    assert (fresh.status_code, stale.status_code) == (200, 409)
    assert stale.json()["exit_status"] == 1
    assert texts(stale) == ["the head is revision 2, not 1; look at what changed (`enforcer history`) and try again"]


def test_any_revision_can_be_looked_at_compared_and_gone_back_to(daemon: Served):
    daemon.http.delete("/v1/security_groups/web/rules/A")
    daemon.http.post("/v1/security_groups", json={"name": "new", "rules": []})
    assert [rule.id for rule in policy_at(daemon, 1).group("web").rules] == ["A", "B"]
    between = daemon.http.get("/v1/difference", params={"old": 1, "new": 3}).json()["changes"]
    assert [(each["key"], each["old"] is None) for each in between] == [
        ("security_groups/new", True), ("security_groups/web", False),
    ]  # fmt: skip
    done = daemon.http.post("/v1/rollback", json={"revision": 1}).json()
    assert (done["revision"], done["said"]) == (4, "back to revision 1")
    assert policy_at(daemon) == policy_at(daemon, 1)
    unknown = daemon.http.post("/v1/rollback", json={"revision": 9})
    assert (unknown.status_code, unknown.json()["exit_status"]) == (404, 2)
    assert texts(unknown) == ["revision 9: does not exist; the kept ones are 1 to 4"]


def test_an_interface_that_must_exist_and_does_not_is_refused(tmp_path: Path):
    def require(policy: Policy) -> None:
        raise AttachmentRefused("interface tap-x: does not exist; create it first, or apply without --require")

    with served(tmp_path, require=require) as daemon:
        answer = daemon.apply(require=True)
        assert (answer.status_code, answer.json()["exit_status"]) == (424, 4)
        assert texts(answer) == ["interface tap-x: does not exist; create it first, or apply without --require"]
        assert daemon.apply().status_code == 200


def test_a_revision_that_is_not_settled_in_time_is_answered_as_proposed(tmp_path: Path):
    with served(tmp_path, patience=0.05) as daemon:
        daemon.settler.may.clear()
        assert daemon.apply().json()["outcome"] == "proposed"


def test_a_change_of_much_is_told_to_who_looks_after_the_memory_and_one_of_little_is_not(tmp_path: Path):
    told: list[str] = []
    with served(tmp_path, grown=lambda: told.append("grown")) as daemon:
        daemon.apply()
        assert told == []
        groups = "".join(f"  - {{name: g{number}, rules: []}}\n" for number in range(600))
        assert daemon.apply(f"version: 1\nsecurity_groups:\n{groups}").json()["changed"]
        assert told == ["grown"]


# --- edits ---


def test_each_edit_is_a_revision_in_force(daemon: Served):
    http, numbers = daemon.http, []

    def did(answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        assert (answer.json()["outcome"], answer.json()["changed"]) == ("in_force", True)
        numbers.append(answer.json()["revision"])

    did(http.post("/v1/security_groups", json={"name": "new", "rules": []}))
    did(http.post("/v1/security_groups/web/rules", json={"rule": {"direction": "egress"}}))
    did(http.post("/v1/security_groups/web/rules/rule-3/disable"))
    did(http.post("/v1/security_groups/web/rules/rule-3/enable"))
    did(http.post("/v1/security_groups/web/rules/rule-3/move", json={"before": "A"}))
    assert rules(daemon) == ["rule-3", "A", "B"]
    did(http.delete("/v1/security_groups/web/rules/A"))
    did(http.post("/v1/address_groups", json={"name": "home"}))
    did(http.post("/v1/address_groups/home/entries", json={"entries": ["10.1.0.0/16", "10.2.0.5"]}))
    did(http.delete("/v1/address_groups/home/entries", params={"entry": ["10.2.0.5"]}))
    did(http.delete("/v1/address_groups/home"))
    nic = {"subnet": "s", "addresses": ["10.0.0.9"]}
    did(http.post("/v1/nics/c", json={"nic": nic, "type": "s6.large.2"}))
    did(http.put("/v1/nics/c/security_groups", json={"security_groups": ["web", "new"]}))
    assert policy_at(daemon).nic_ref("c").nic.security_groups == ("web", "new")
    did(http.delete("/v1/nics/c"))
    did(http.delete("/v1/security_groups/new"))
    assert numbers == list(range(2, 16))


def test_a_name_in_another_spelling_of_its_letters_is_the_same_name(daemon: Served):
    daemon.http.post("/v1/security_groups", json={"name": "\u00e9"})
    assert daemon.http.delete("/v1/security_groups/e\u0301").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/security_groups", {"nam": "x"}, 422, "body.name: is missing; write it"),
        ("POST", "/v1/security_groups", {"name": "x/y"}, 422, "'x/y' has the character '/'"),
        (
            "POST",
            "/v1/security_groups/web/rules",
            {"rule": {}, "befor": "A"},
            422,
            "body.befor: is not a known key h",
        ),
        ("POST", "/v1/security_groups/web/rules/A/destroy", None, 422, "path.state: 'destroy' is not known; write 'en"),
        ("POST", "/v1/security_groups", {"name": ""}, 422, "body.name: '' is empty; write something"),
        ("POST", "/v1/rollback", {"revision": True}, 422, "body.revision: true is not a whole number; write one"),
        ("PUT", "/v1/nics/a/security_groups", {"security_groups": "db"}, 422, "'db' stands where a list is expected"),
        ("PUT", "/v1/nics/a/security_groups?if_revison=1", {"security_groups": []}, 400, "did you mean 'if_revision'?"),
        (
            "DELETE",
            "/v1/address_groups/office/entries?entri=10.8.0.0",
            None,
            400,
            "query.entri: is not known here; did",
        ),
        ("GET", "/v1/policy?revison=1", None, 400, "query.revison: is not known here; did you mean 'revision'?"),
        ("GET", "/v1/status?verbose=1", None, 400, "query.verbose: is not known here; leave it out"),
        ("GET", "/v1/revisions?most=0", None, 422, "query.most: '0' is out of range; write 1 or more"),
        ("GET", "/v1/policy?revision=-1", None, 422, "query.revision: '-1' is out of range; write 0 or more"),
        ("GET", "/v1/nothing", None, 404, "there is no '/v1/nothing'; `enforcer api-schema`"),
        ("PATCH", "/v1/policy", None, 405, "'/v1/policy' does not take PATCH; `enforcer api-"),
        ("PUT", "/v1/policy?confirm=0.5", None, 422, "query.confirm: '0.5' is out of range; write 1 or"),
    ],
)
def test_a_malformed_request_is_answered_with_a_document(
    daemon: Served, method: str, path: str, body: Any, status: int, said: str
):
    answer = daemon.http.request(method, path, json=body)
    assert answer.status_code == status
    assert said in texts(answer)[0]
    assert answer.json()["exit_status"] in (2, 3)


def test_a_body_that_is_not_called_json_or_is_none_is_said_to_be_so(daemon: Served):
    """What curl sends with `-d` alone is called a form."""
    path, body = "/v1/rollback", b'{"revision": 1}'
    form = daemon.http.post(path, content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    mend = "is not taken as JSON; send it with the header 'content-type: application/json'"
    assert (form.status_code, texts(form)) == (422, [f"body: {mend}"])
    broken = daemon.http.post(path, content=body[:-1], headers={"content-type": "application/json"})
    assert texts(broken) == ["body: is not JSON (Expecting ',' delimiter, at character 14)"]


# --- who may do what ---


NOBODY = 65534
ASK = """
import json, socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect(sys.argv[1])
asking.sendall(f"{sys.argv[2]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
answer = b"".join(iter(lambda: asking.recv(65536), b""))
print(answer.split()[1].decode(), answer.partition(b"\\r\\n\\r\\n")[2].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_others_may_look_but_not_change_if_so_configured():
    """In force for whoever is neither root nor in the group; the kernel says who asks."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), others_read=True) as daemon:
        Path(name).chmod(0o755)
        assert daemon.socket.stat().st_mode & 0o777 == 0o666
        assert daemon.apply().status_code == 200, "root may"

        def ask(request: str, uid: int, *groups: int) -> str:
            who: Any = {"user": uid, "group": uid, "extra_groups": list(groups)}
            words = ["/usr/bin/env", "python3", "-c", ASK, str(daemon.socket), request]
            return subprocess.run(words, capture_output=True, text=True, check=True, cwd="/", **who).stdout

        assert ask("GET /v1/revisions", NOBODY).startswith("200 ")
        refused = ask("DELETE /v1/nics/a", NOBODY)
        assert refused.startswith("403 ")
        assert "you may look, but change nothing; ask root, or become a member of the group" in refused
        assert ask("POST /v1/plan", NOBODY).startswith("403 "), "it costs as much as a change"
        daemon.context.writers = frozenset((4711,))
        assert ask("DELETE /v1/nics/a", NOBODY, 4711).startswith("200 "), "a member of the group may"
        newest = daemon.http.get("/v1/revisions").json()["revisions"][0]
        assert (newest["uid"], newest["message"]) == (NOBODY, "NIC a:eth0 detached")


def test_only_those_whom_the_socket_lets_in_may_use_it(daemon: Served):
    assert daemon.socket.stat().st_mode & 0o777 == 0o660


# --- many at once ---


def test_edits_of_several_clients_come_one_after_the_other_and_none_is_lost(daemon: Served):
    learned: list[int] = []

    def changing(who: int) -> None:
        with daemon.client() as client:
            for number in range(25):
                made = client.post("/v1/security_groups", json={"name": f"g-{who}-{number}", "rules": []}).json()
                learned.append(made["revision"])

    threads = [threading.Thread(target=changing, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(learned) == list(range(2, 202))
    assert len(policy_at(daemon).security_groups) == 200 + 3


def test_a_change_of_the_store_behind_the_apis_back_is_followed(daemon: Served):
    made = daemon.store.propose([Change("security_groups/x", '{"name":"x"}')], author=Author(0))
    daemon.store.settled(made.number, 10)
    assert daemon.http.put("/v1/nics/a/security_groups", json={"security_groups": ["x"]}).status_code == 200
