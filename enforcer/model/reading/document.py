"""Reading YAML or JSON text into plain data, with the line of every value and no way to be taken down by it.

Not `yaml.load`: the events of the parser are put together here, so that text stays text (`22:30`, `on`, `010` are no
numbers or truths; only null, true, false, decimal whole numbers and floats of the YAML 1.2 core schema are resolved),
duplicate keys are seen, depth and size are bounded – an alias counts as much as what it stands for – and tags can name
no types. JSON goes a quicker way where it can (`plain`). What a policy is it does not know. Example:
`read("version: 1").value == {"version": 1}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import yaml

from enforcer.errors import PolicyError, Problem
from enforcer.model.reading.plain import plain
from enforcer.model.words.wording import Place, shown

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 32
MOST_VALUES = 1_000_000
MOST_FAULTS = 1000
LONGEST_NUMBER = 40

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.", re.DOTALL)


Position = tuple[int, int]  # line, from 1, and column


@dataclass(slots=True)
class Spot:
    """Where a value stands, and the values in it."""

    at: Position
    children: dict[str | int, Spot]


NOTHING_INSIDE: dict[str | int, Spot] = {}  # shared by all scalars, which are most of a file


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at a place of the document; `at` None asks for the position of the place."""

    place: Place
    message: str
    at: Position | None = None


class Document:
    """What a text says; `faults` are those that leave the rest readable. `spots` finds out where all of it stands."""

    def __init__(self, value: Any, spots: Callable[[], Spot], faults: tuple[Fault, ...] = ()) -> None:
        self.value, self.faults = value, faults
        self._spots = spots

    @cached_property
    def root(self) -> Spot:
        """Where the whole stands, and all that is in it."""
        return self._spots()

    def position(self, place: Place) -> Position:
        """Return the position of `place`, or of the innermost value around it that is written down."""
        spot = self.root
        for step in place:
            spot = spot.children.get(step, spot)
        return spot.at


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    value: Any
    spot: Spot
    anchor: str | None
    first: int  # how many values there were before this one
    key: str | None = None
    key_at: Position = (0, 0)


def read(text: str | bytes) -> Document:
    """Return what `text` says; raise PolicyError when it cannot be read at all."""
    decoded = _decoded(text)
    if (value := plain(decoded, MOST_VALUES)) is not None:
        return Document(value, lambda: _read(decoded).root)
    reader = _read(decoded)
    return Document(reader.value, lambda: reader.root, tuple(reader.faults))


def _read(text: str) -> _Reader:
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 0 if mark is None else mark.line + 1
        mend = "mend the line or the one before it: indent with spaces, put text with special characters in quotes"
        reader.give_up(f"this is neither YAML nor JSON ({error.problem or error.context}); {mend}", line)
    except yaml.YAMLError as error:
        reader.give_up(f"this is neither YAML nor JSON ({shown(str(error))}); write one of them", 0)
    return reader


def _decoded(source: str | bytes) -> str:
    """Return `source` as characters that YAML allows, or raise PolicyError with the line of the first that is not."""
    try:
        text = source if isinstance(source, str) else source.decode()
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]
        message = f"this is not UTF-8 text (byte 0x{byte:02x}); save the file as UTF-8"
        raise PolicyError((Problem("", message, before.count(b"\n") + 1),)) from None
    text = text.removeprefix("\ufeff")
    if (found := UNPRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        message = f"the text has the control character U+{ord(found[0]):04X}; remove it"
        raise PolicyError((Problem("", message, line),))
    return SURROGATES.sub(_joined, text) if text.lstrip().startswith(("{", "[")) else text


def _joined(found: re.Match[str]) -> str:
    """Return the one character that two escapes of JSON stand for; YAML has no such pairs."""
    if found[1] is None:
        return found[0]
    return chr(0x10000 + ((int(found[1], 16) - 0xD800) << 10) + (int(found[2], 16) - 0xDC00))


class _Reader:
    """Builds the document from the parser's events, without recursion."""

    def __init__(self) -> None:
        self.value: Any = None
        self.root = Spot((1, 0), NOTHING_INSIDE)
        self.faults: list[Fault] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, Spot, int]] = {}
        self._values = 0
        self._documents = 0

    def give_up(self, message: str, line: int) -> NoReturn:
        """Raise PolicyError with `message` and what was found before."""
        earlier = (Problem("", fault.message, fault.at[0] if fault.at else 0) for fault in self.faults)
        raise PolicyError((*earlier, Problem("", message, line)))

    def take(self, event: yaml.Event) -> None:
        """Add the next event."""
        mark = event.start_mark
        at = (0, 0) if mark is None else (mark.line + 1, mark.column)
        match event:
            case yaml.ScalarEvent():
                if event.tag is not None:
                    self._refuse_tag(event.tag, at)
                if self._expects_key():
                    self._take_key(event, at)
                else:
                    value = _resolved(event.value) if event.implicit[0] else event.value
                    self._add(value, Spot(at, NOTHING_INSIDE), event.anchor, 1)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if event.tag is not None:
                    self._refuse_tag(event.tag, at)
                self._begin(event, at)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self._open.pop()
                self._add(done.value, done.spot, done.anchor, self._values - done.first + 1)
            case yaml.AliasEvent():
                if self._expects_key():
                    self.give_up(f"a key is the alias *{event.anchor}; write the key out", at[0])
                if event.anchor not in self._anchors:
                    self.give_up(f"the alias *{event.anchor} stands for nothing before it; write the value out", at[0])
                value, spot, size = self._anchors[event.anchor]
                self._values += size - 1
                self._add(value, Spot(at, spot.children), None, size)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.give_up("a second document begins after '---'; write one policy to a file", at[0])

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _refuse_tag(self, tag: str, at: Position) -> None:
        self._refuse(self._place(), f"the tag {shown(tag)} is not supported; leave it out", at)

    def _refuse(self, place: Place, message: str, at: Position) -> None:
        """Note a fault and go on, unless there are so many that nobody reads them."""
        self.faults.append(Fault(place, message, at))
        if len(self.faults) >= MOST_FAULTS:
            self.give_up(f"{MOST_FAULTS} such errors are enough; mend these first", at[0])

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, at: Position) -> None:
        if self._expects_key():
            self.give_up("a key is a list or a mapping; keys are words, put braces and brackets in quotes", at[0])
        if len(self._open) >= DEEPEST:
            self.give_up(f"lists and mappings are nested more than {DEEPEST} deep; a policy needs less than 10", at[0])
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)  # within itself, an anchor stands for nothing yet
        value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._open.append(_Open(value, Spot(at, {}), event.anchor, self._values))

    def _take_key(self, event: yaml.ScalarEvent, at: Position) -> None:
        inner = self._open[-1]
        if event.value == "<<" and event.implicit[0]:
            self.give_up("merge keys ('<<') are not supported; write the keys out, or alias a whole value", at[0])
        inner.key, inner.key_at = event.value, at

    def _add(self, value: Any, spot: Spot, anchor: str | None, size: int) -> None:
        """Put a finished value of `size` values, itself included, where it belongs."""
        self._values += 1
        if self._values > MOST_VALUES:
            message = f"the file has more than {MOST_VALUES:,} values, aliases counted each time; write a smaller one"
            self.give_up(message, spot.at[0])
        if anchor is not None:
            self._anchors[anchor] = (value, spot, size)
        if not self._open:
            self.value, self.root = value, spot
            return
        inner = self._open[-1]
        if isinstance(inner.value, list):
            inner.spot.children[len(inner.value)] = spot
            inner.value.append(value)
        else:
            self._add_to_mapping(inner, value, spot)

    def _add_to_mapping(self, inner: _Open, value: Any, spot: Spot) -> None:
        key = inner.key or ""
        inner.key = None
        if key in inner.value:
            first = inner.spot.children[key].at[0]
            message = f"the key is written twice, on lines {first} and {inner.key_at[0]}; keep one"
            self._refuse((*self._place(), key), message, inner.key_at)
            return
        inner.value[key] = value
        inner.spot.children[key] = Spot(inner.key_at, spot.children)

    def _place(self) -> Place:
        return tuple(self._steps())

    def _steps(self) -> Iterator[str | int]:
        """Yield the way from the root to the value that comes next."""
        for opened in self._open:
            if isinstance(opened.value, list):
                yield len(opened.value)
            elif opened.key is not None:
                yield opened.key


def _resolved(text: str) -> Any:
    """Return what a plain scalar means in the core schema; long digits stay text, they are no number anybody means."""
    if text in WORDS:
        return WORDS[text]
    if len(text) <= LONGEST_NUMBER:
        if WHOLE.fullmatch(text):
            return int(text)
        if FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
