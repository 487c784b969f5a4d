"""Ruleset → text: each value is printed by its type, and what is not of its type never reaches nft."""

from __future__ import annotations

import re

import pytest

from enforcer.ruleset import names, render
from enforcer.ruleset.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Counter,
    Dispatch,
    Element,
    Field,
    Hook,
    InSet,
    Interval,
    Load,
    Match,
    Ruleset,
    Set,
    SetMark,
    SetPriority,
    Statement,
    Table,
    Timeout,
    UseTimeout,
    goto,
    jump,
    rule,
)
from enforcer.ruleset.render import chain_block, element_texts, rule_text, set_block, statement_text, timeout_block


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (Match(Field.CT_STATE, "new,established"), "ct state new,established"),
        (Match(Field.L4PROTO, 6, "!="), "meta l4proto != 6"),
        (Match(Field.CT_MARK, 0x100, "==", 0xFFFFFF00), "ct mark & 0xffffff00 == 0x00000100"),
        (Match(Field.TCP_FLAGS, 2, "!=", 0x17), "tcp flags & 0x00000017 != 2"),
        (Match(Field.PRIORITY, 0x8000_0000, ">="), "meta priority >= 8000:0"),
        (Match(Field.IPV6_SOURCE, "fe80::/10"), "ip6 saddr fe80::/10"),
        (InSet((Field.IIF, Field.IPV4_SOURCE), "source4"), "iif . ip saddr @source4"),
        (InSet((Field.OIFNAME,), "nic_name", negated=True), "oifname != @nic_name"),
        (Dispatch((Field.L4PROTO, Field.DESTINATION_PORT), "v"), "meta l4proto . th dport vmap @v"),
        (Load((Field.IPV6_SOURCE,), "host6_x"), "meta priority set ip6 saddr map @host6_x"),
        (SetPriority(0x1234_5678), "meta priority set 1234:5678"),
        (SetMark(Field.CT_MARK, 0xFF, 0x100), "ct mark set ct mark & 0x000000ff | 0x00000100"),
        (UseTimeout("tcp_ip"), 'ct timeout set "tcp_ip"'),
        (Counter(), "counter"),
        (ACCEPT, "accept"),
        (DROP, "drop"),
        (RETURN, "return"),
        (jump("stamp"), "jump stamp"),
        (goto("stamp"), "goto stamp"),
    ],
)
def test_a_statement_in_nfts_words(statement: Statement, text: str):
    assert statement_text(statement) == text


def test_a_rule_ends_with_its_comment():
    assert rule_text(rule(Counter(), DROP, comment="no SYN")) == 'counter drop comment "no SYN"'


@pytest.mark.parametrize(
    ("key", "element", "text"),
    [
        ((Field.IPV4_SOURCE,), Element((0x0A00000B,)), "10.0.0.11"),
        ((Field.IPV6_SOURCE,), Element((1,)), "::1"),
        ((Field.IPV4_SOURCE,), Element((Interval(0, 2**32 - 1),)), "0.0.0.0-255.255.255.255"),
        ((Field.L4PROTO,), Element((Interval(6, 6),)), "6"),
        ((Field.IIFNAME,), Element(("v-ecs-a",)), '"v-ecs-a"'),
        ((Field.IIF, Field.ETHER_SOURCE), Element(("eth0", "fa:16:3e:00:00:01")), '"eth0" . fa:16:3e:00:00:01'),
        ((Field.PRIORITY,), Element((0x8000_0001,), 0), "8000:1 : 0:0"),
        ((Field.IIF, Field.NS_TARGET), Element(("eth0", 0xFE80 << 112)), f'"eth0" . 0xfe80{"0" * 28}'),
        ((Field.UDP_SOURCE_PORT,), Element((68,), jump("x")), "68 : jump x"),
    ],
)
def test_an_element_by_the_types_of_its_key(key: tuple[Field, ...], element: Element, text: str):
    assert list(element_texts(Set("s", key, (element,)))) == [text]


def test_a_counted_element_names_its_rule():
    entry = Set("v", (Field.L4PROTO,), (Element((6,), RETURN, "Sg-A/A01"),), "verdict", counted=True)
    assert list(element_texts(entry)) == ['6 counter comment "Sg-A/A01" : return']


def test_a_set_a_chain_and_a_timeout():
    entry = Set("v", (Field.PRIORITY, Field.L4PROTO), (), "verdict", interval=True, counted=True)
    assert list(set_block(entry)) == [
        "\tmap v {",
        "\t\ttype classid . inet_proto : verdict",
        "\t\tflags interval",
        "\t\tcounter",
        "\t}",
    ]
    assert list(set_block(Set("t", (Field.IIF, Field.NS_TARGET), ())))[1] == "\t\ttypeof iif . @th,64,128"
    chain = Chain("nic_eth0", (rule(ACCEPT),), Hook("ingress", -300, "eth0"), "ecs-a")
    assert list(chain_block(chain)) == [
        "\tchain nic_eth0 {",
        '\t\tcomment "ecs-a"',
        '\t\ttype filter hook ingress device "eth0" priority -300; policy accept;',
        "\t\taccept",
        "\t}",
    ]
    timeout = Timeout("tcp_ip", "ip", "tcp", (("established", 600), ("fin_wait", 30)))
    assert list(timeout_block(timeout)) == [
        "\tct timeout tcp_ip {",
        "\t\tprotocol tcp",
        "\t\tl3proto ip",
        "\t\tpolicy = { established : 600, fin_wait : 30 }",
        "\t}",
    ]


def test_a_whole_script_replaces_both_tables_in_one_transaction():
    script = render(Ruleset("", (Table("inet", "enforcer", (), (), ()), Table("netdev", "enforcer", (), (), ())), 1))
    assert script.splitlines() == [
        "add table inet enforcer",
        "delete table inet enforcer",
        "add table netdev enforcer",
        "delete table netdev enforcer",
        "table inet enforcer {",
        "}",
        "table netdev enforcer {",
        "}",
    ]


HOSTILE = ["", 'a"b', "a\nb", "a b", "a;b", "a{", "a}", "$x", "@x", "a\0", "1a", "-a", "é", "x" * 200, "a#b", "a\\"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_outside_the_alphabet_never_reaches_nft(name: str):
    for statement in (jump(name), InSet((Field.IIF,), name), Dispatch((Field.IIF,), name), UseTimeout(name)):
        if statement == jump(""):
            continue
        with pytest.raises(ValueError, match="must not reach nft"):
            statement_text(statement)
    with pytest.raises(ValueError, match="must not reach nft"):
        list(set_block(Set(name, (Field.IIF,), ())))
    with pytest.raises(ValueError, match="must not reach nft"):
        list(chain_block(Chain(name, ())))


@pytest.mark.parametrize("word", ["new accept", "new;drop", "new\ndrop", '"', "{ 1 }", "", "@s", "a" * 65])
def test_a_word_with_syntax_in_it_never_reaches_nft(word: str):
    with pytest.raises(ValueError, match="must not reach nft"):
        statement_text(Match(Field.CT_STATE, word))


@pytest.mark.parametrize("interface", ["", 'a"', "a b", "0123456789abcdef", "a/b", "a\n", "*", "é"])
def test_an_interface_that_the_kernel_could_not_have_never_reaches_nft(interface: str):
    with pytest.raises(ValueError, match="must not reach nft"):
        list(element_texts(Set("s", (Field.IIF,), (Element((interface,)),))))
    if interface:
        with pytest.raises(ValueError, match="must not reach nft"):
            list(chain_block(Chain("c", (), Hook("ingress", -300, interface))))


@pytest.mark.parametrize("mac", ["", "fa:16:3e:00:00", "FA:16:3E:00:00:01", "fa:16:3e:00:00:01 accept"])
def test_a_mac_in_any_other_form_never_reaches_nft(mac: str):
    with pytest.raises(ValueError, match="must not reach nft"):
        list(element_texts(Set("s", (Field.ETHER_SOURCE,), (Element((mac,)),))))


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_number_that_is_no_address_never_reaches_nft(value: int):
    with pytest.raises(ValueError, match=r"permitted|IPv4"):
        list(element_texts(Set("s", (Field.IPV4_SOURCE,), (Element((value,)),))))


def test_a_key_has_as_many_parts_as_the_set():
    with pytest.raises(ValueError, match="zip"):
        list(element_texts(Set("s", (Field.IIF,), (Element(("a", 1)),))))


@pytest.mark.parametrize("comment", ['a" drop', "a\nb", "a\\", "a\0b"])
def test_a_comment_cannot_end_its_quotes(comment: str):
    with pytest.raises(ValueError, match="must not reach nft"):
        rule_text(rule(DROP, comment=comment))


@pytest.mark.parametrize("name", ["x" * 129, "组" * 64 + "/" + "则" * 64, "é" * 100])
def test_a_long_comment_is_cut_at_a_character_to_what_nft_takes(name: str):
    shown = re.fullmatch(r'drop comment "(.*)"', rule_text(rule(DROP, comment=name)))
    assert shown
    assert len(shown[1].encode()) <= 120
    assert name.startswith(shown[1].removesuffix("…"))
    assert len(rule_text(rule(DROP, comment="x" * 121)).encode()) == len(rule_text(rule(DROP, comment="x" * 120)))
    assert rule_text(rule(DROP, comment="x" * 120)) == f'drop comment "{"x" * 120}"', "what fits stays whole"


def test_every_name_in_the_kernel_is_an_identifier_and_each_kind_has_its_own():
    others = ("TABLE", "EDITION", "FRESH")
    constants = [
        v for key, v in vars(names).items() if key.isupper() and key not in others and not isinstance(v, tuple)
    ]
    found = [name for value in constants for name in (value.values() if isinstance(value, dict) else [value])]
    assert len(found) > 50
    assert [name for name in found if not re.fullmatch(r"[a-z][a-z0-9_{}]*|\{\}_(fresh)?\{\}", name)] == []
    assert len(set(found)) == len(found)
