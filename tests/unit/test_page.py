"""The matrix page without a browser: one file, no way out of its data, nothing that it would load."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from answers_asking import policy

from enforcer.answers import Position, regions
from enforcer.cli.page import embedded, page

POLICY = policy(
    """
    security_groups: [{name: Größe, rules: [{id: "%%data%%", direction: ingress, description: "a & b %%style%%"}]}]
    ecs:
      - {name: a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Größe]}
      - {name: b, subnet: subnet-b, addresses: [10.0.1.12], security_groups: [Größe]}
    """.replace('"%%data%%"', "r1")
)
PAGE = page(POLICY, regions(POLICY), Position("</title><script>.yaml"))


def between(tag: str) -> str:
    return PAGE.partition(tag)[2].partition("</script>" if "script" in tag else "</style>")[0]


def test_hostile_text_cannot_end_the_script_element_and_comes_back_unchanged():
    hostile = {"name": "</script><script>alert(1)</script><!-- ]]> & \u2028\u2029 \" ' \\u003c"}
    text = embedded(hostile)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == hostile


def test_the_data_has_every_cell_and_each_explanation_once():
    data = json.loads(between('<script type="application/json" id="data">'))
    assert [host["name"] for host in data["hosts"]] == ["a", "b"]
    assert data["title"] == "Who reaches whom: </title><script>.yaml"
    columns = len(data["columns"])
    assert [[len(cell) for cell in row] for row in data["cells"]] == [[0, columns], [columns, 0]]
    assert {n for row in data["cells"] for cell in row for n in cell} == set(range(len(data["explanations"])))
    assert "a & b %%style%%" in json.dumps(data["lines"], ensure_ascii=False)


def test_names_in_the_head_are_escaped():
    assert "<title>Who reaches whom: &lt;/title&gt;&lt;script&gt;.yaml</title>" in PAGE


def test_the_page_asks_for_nothing_and_allows_only_its_own_style_and_script():
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(|https?://|fetch\(|XMLHttp""", PAGE)
    policy_text = re.search('Content-Security-Policy" content="([^"]*)"', PAGE)[1]  # type: ignore[index]
    assert "default-src 'none'" in policy_text
    for text in (between("<style>"), between("<script>")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy_text


def test_the_script_never_writes_html():
    script = between("<script>")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", script)
