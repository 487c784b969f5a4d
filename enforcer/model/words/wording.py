"""How the model says that something is wrong: *what is wrong (the value); what would be right.*

The place is not said here: `parse` knows where a value stands and puts the path and the line in front. Nothing here
knows what a policy consists of. Example: `wrong(f"{shown(101)} is out of range; …")`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, SchemaValidator

Place = tuple[str | int, ...]
STRICT = ConfigDict(extra="forbid")

_WRITTEN: dict[frozenset[str], set[str]] = {}


class Item(BaseModel):
    """What every object of a policy has in common: it cannot be changed, and it refuses keys that it does not list."""

    model_config = ConfigDict(frozen=True, **STRICT)

    @model_validator(mode="after")
    def _take_little_room(self) -> Self:
        """Keep once what many have the same, for there are thousands: which keys are written, and the fields' names.

        pydantic gives each object a dictionary and a set of its own. A dictionary that is filled attribute by attribute
        shares its keys with all others of the class (PEP 412): it takes half of the room.
        """
        written, values = self.model_fields_set, self.__dict__
        object.__delattr__(self, "__dict__")
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "__pydantic_fields_set__", _WRITTEN.setdefault(frozenset(written), written))
        return self


class Slotted:
    """What `Item` is, for what is there by the ten thousand: a frozen dataclass of pydantic's, with slots.

    @dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
    class Rule(Slotted): …

    A dictionary for each of 60,000 rules takes twice the room of its values. Has what is asked of an Item.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __pydantic_fields__: ClassVar[dict[str, FieldInfo]]
    __pydantic_validator__: ClassVar[SchemaValidator]

    @classmethod
    def model_validate(cls, data: object) -> Self:
        """Return the object that plain data describe; raise pydantic's ValidationError."""
        made: Self = cls.__pydantic_validator__.validate_python(data)
        return made

    def model_copy(self, *, update: Mapping[str, object]) -> Self:
        """Return a copy with some fields changed, which are not validated."""
        made = object.__new__(type(self))
        for name in self.__dataclass_fields__:
            object.__setattr__(made, name, update[name] if name in update else getattr(self, name))
        return made


def wrong(message: str) -> PydanticCustomError:
    """Make the error that a validator raises; `message` reaches the user as it is."""
    return PydanticCustomError("policy", "{message}", {"message": message})


def wrong_fields(problems: Iterable[tuple[Place, str]]) -> PydanticCustomError:
    """Make the error of a whole object: pairs of the place below the object, and the message."""
    pairs = tuple(problems)
    return PydanticCustomError("policy_fields", "{message}", {"message": pairs[0][1], "problems": pairs})


_WORDS = {
    "missing": "is missing; write it",
    "extra_forbidden": "is not a known key here; leave it out",
    "string_too_short": "{value} is empty; write something",
    "string_too_long": "{value} is too long; write at most {max_length} characters",
    "string_type": "{value} is not text; write it in quotes",
    "int_type": "{value} is not a whole number; write one",
    "int_parsing": "{value} is not a whole number; write one",
    "int_from_float": "{value} is not a whole number; write one",
    "finite_number": "{value} is not a finite number; write one",
    "float_type": "{value} is not a number; write one",
    "float_parsing": "{value} is not a number; write one",
    "bool_type": "{value} is neither true nor false; write one of them",
    "bool_parsing": "{value} is neither true nor false; write one of them",
    "literal_error": "{value} is not known; write {expected}",
    "greater_than_equal": "{value} is out of range; write {ge:g} or more",
    "less_than_equal": "{value} is out of range; write {le:.16g} or less",
    "list_type": "{value} stands where a list is expected; write a list",
    "dict_type": "{value} stands where a mapping is expected; write one",
    "model_attributes_type": "{value} stands where a mapping is expected; write one",
}


def what_is_wrong(details: Any) -> str:
    """Say in our words what pydantic found (`ErrorDetails`) in what is no policy: a request, a configuration."""
    words = _WORDS.get(details["type"], "{msg}")
    return words.format(value=shown(details.get("input")), msg=details["msg"], **details.get("ctx", {}))


def at_most(count: int) -> BeforeValidator:
    """Return the annotation of a list with a bound, which keeps a hostile file from costing minutes of validation."""

    def validator(value: object) -> object:
        if isinstance(value, list) and len(value) > count:
            raise wrong(f"{len(value):,} items are too many; write at most {count:,}")
        return value

    return BeforeValidator(validator)


BOUNDED = at_most(10_000)  # far beyond any cloud


def shown(value: object) -> str:
    """Return `value` as an error message shows it: never longer than about 60 characters."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | dict():
            return "a list" if isinstance(value, list) else "a mapping"
        case str() if len(value) > 60:
            return f"{value[:45]!r}… ({len(value)} characters)"
        case int() if abs(value) >= 10**40:
            return "a very large number"
        case _:
            return repr(value)


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest candidate, or the only one with `word` in it, else an empty text."""
    if len(word) > 64:
        return ""
    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    near = get_close_matches(word.casefold(), by_fold, n=1)
    if not near and len(word) > 2:
        near = [candidate for candidate in by_fold if word.casefold() in candidate]
    return f"; did you mean {by_fold[near[0]]!r}?" if len(near) == 1 else ""


def forbidden_character(text: str) -> str | None:
    """Return the first character that no text may have: controls, line breaks, direction overrides; None if clean."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        overrides_direction = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
        if overrides_direction or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return character
    return None


def repeated(field: str, values: Sequence[Hashable], mend: str) -> list[tuple[Place, str]]:
    """Return one problem for each of `values` that stood in the list `field` before."""
    seen: set[Hashable] = set()
    problems: list[tuple[Place, str]] = []
    for index, value in enumerate(values):
        if value in seen:
            problems.append(((field, index), f"{shown(str(value))} is listed twice; {mend}"))
        seen.add(value)
    return problems
