"""`enforcer matrix --html`: the page in a real browser – it is drawn, filtered, clicked and used with the keyboard."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from chromium import Page
from click.testing import CliRunner

from enforcer.cli import main

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
POLICY = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}
  - {name: vpc-y, subnets: [{name: subnet-b, cidr: 192.168.1.0/24}]}
security_groups:
  - name: web
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: 22, remote_ip_prefix: 192.168.0.12, description: TEXT}
      - {id: out, direction: egress}
ecs:
  - {name: server, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [web]}
  - {name: client, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [web]}
  - {name: island, subnet: subnet-b, addresses: [192.168.1.11], security_groups: [web]}
"""
TEXT = "&lt;/script&gt; ${alert(1)} \\u003c --> ]]>"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page")
    # The name of the file may have what a description may not.
    policy = directory / "a<script>document.title = 'taken'<!--.yaml"
    policy.write_text(POLICY.replace("TEXT", f'"{TEXT}"'.replace("\\", "\\\\").replace("<", "").replace(">", "")))
    written = directory / "matrix.html"
    result = CliRunner().invoke(main, ["matrix", str(policy), "--html", str(written)])
    assert result.exit_code == 0, result.output
    return written


@pytest.fixture
def page(tab: Page, file: Path) -> Page:
    tab.size(1280, 800)
    tab.open("about:blank")
    tab.open(file.as_uri())
    return tab


def chip(src: str, dst: str, what: str) -> str:
    return f"[...document.querySelectorAll('#grid .chip')].find(one => one.title.startsWith('{src} to {dst}, {what}'))"


def explanation(page: Page) -> str:
    return str(page.ask("document.getElementById('explanation').innerText"))


def colours(png: bytes) -> set[bytes]:
    """Return the colours of a screenshot: enough to know that something was drawn, and what."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, width, depth, data = 8, 0, 0, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, _, _, colour_type = struct.unpack(">IIBB", body[:10])
            depth = {2: 3, 6: 4}[colour_type]
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    return set(_pixels(zlib.decompress(data), width, depth))


def _pixels(raw: bytes, width: int, depth: int) -> list[bytes]:
    """Undo PNG's five filters (RFC 2083, section 6)."""
    stride, before, found = width * depth, bytearray(width * depth), []
    for start in range(0, len(raw), stride + 1):
        kind, line = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for index in range(len(line)):
            left = line[index - depth] if index >= depth else 0
            up = before[index]
            corner = before[index - depth] if index >= depth else 0
            line[index] = (line[index] + _predicted(kind, left, up, corner)) & 255
        found += [bytes(line[index : index + 3]) for index in range(0, stride, depth)]
        before = line
    return found


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    match kind:
        case 1:
            return left
        case 2:
            return up
        case 3:
            return (left + up) // 2
        case 4:
            return min((left, up, corner), key=lambda value: abs(left + up - corner - value))
    return 0


def test_the_grid_is_drawn_without_a_complaint_and_without_a_request(page: Page, file: Path) -> None:
    assert page.ask("document.querySelectorAll('#grid tbody tr').length") == 3
    assert page.ask("document.querySelectorAll('#grid .chip').length") == 6 * 4
    assert page.ask("document.getElementById('count').textContent").startswith("1 allowed")
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith(("data:", "about:"))] == [file.as_uri()]


def test_the_screenshot_shows_allowed_and_denied_cells(page: Page) -> None:
    seen = colours(page.screenshot())
    assert {bytes.fromhex("dcf3e3"), bytes.fromhex("fbe7e6")} <= seen
    page.size(1280, 800, dark=True)
    assert bytes.fromhex("173a27") in colours(page.screenshot())


def test_a_click_shows_the_explanation(page: Page) -> None:
    assert "Choose a cell" in explanation(page)
    page.click(chip("client", "server", "tcp 22"))
    told = explanation(page)
    assert "client → server, tcp 22 (ssh)" in told
    assert "Ingress of server: allowed by ssh of web" in told
    assert "To deny it" in told
    page.click(chip("island", "server", "tcp 22"))
    assert "vpc-y and vpc-x are not peered" in explanation(page)
    assert "peer vpc-y and vpc-x" in explanation(page)


def test_hostile_text_stays_text(page: Page, file: Path) -> None:
    assert "taken" in page.ask("document.getElementById('file').textContent")
    assert page.ask("document.title").startswith("Who reaches whom")
    assert page.ask("document.querySelectorAll('script').length") == 2
    page.click(chip("client", "server", "tcp 22"))
    assert "${alert(1)}" in explanation(page)
    assert page.ask("document.querySelectorAll('#panel img, #panel script').length") == 0
    assert page.complaints() == []


@pytest.mark.parametrize(
    ("id_", "value", "rows", "chips"),
    [
        ("from", "client", 1, 8),
        ("from", "192.168.1.11", 1, 8),
        ("to", "er", 2, 8),
        ("proto", "1", 3, 6),
        ("verdict", "allow", 1, 1),
        ("verdict", "none", 3, 16),
        ("from", "nobody", 0, 0),
    ],
)
def test_filters_leave_what_fits(page: Page, id_: str, value: str, rows: int, chips: int) -> None:
    page.ask(
        f"(() => {{ const one = document.getElementById('{id_}'); one.value = '{value}';"
        " one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert page.ask("document.querySelectorAll('#grid tbody tr').length") == rows
    assert page.ask("document.querySelectorAll('#grid .chip').length") == chips
    assert page.ask("document.getElementById('nothing').hidden") is (rows > 0)


def test_the_keyboard_is_enough(page: Page) -> None:
    page.ask("document.querySelector('#grid .chip[tabindex=\"0\"]').focus()")
    first = page.ask("document.activeElement.title")
    page.press("ArrowRight")
    page.press("ArrowDown")
    assert page.ask("document.activeElement.title") != first
    assert page.ask("document.querySelectorAll('#grid .chip[tabindex=\"0\"]').length") == 1
    page.press("Enter", "\r")
    assert page.ask("document.querySelectorAll('.chip[aria-pressed=true]').length") == 1
    assert "Route:" in explanation(page)
    page.press("Escape")
    assert "Choose a cell" in explanation(page)
    assert page.ask("document.activeElement.className").startswith("chip")


def test_a_phone_shows_the_explanation_above_the_grid_and_scrolls_nothing_but_the_grid(page: Page) -> None:
    page.size(390, 800)
    assert page.ask("getComputedStyle(document.getElementById('panel')).display") == "none"
    page.click(chip("client", "server", "tcp 22"))
    assert page.ask("getComputedStyle(document.getElementById('panel')).position") == "fixed"
    assert page.ask("document.documentElement.scrollWidth") <= 390
    page.click("document.getElementById('close')")
    assert page.ask("getComputedStyle(document.getElementById('panel')).display") == "none"


def test_the_address_of_a_cell_opens_it_again(page: Page, file: Path) -> None:
    page.click(chip("client", "server", "tcp 22"))
    address = page.ask("location.href")
    page.open("about:blank")
    page.open(address)
    assert "client → server, tcp 22 (ssh)" in explanation(page)
