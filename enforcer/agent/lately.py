"""A large mapping that changes a little, again and again: what one change takes does not depend on how large it is.

    resources = Lately({…})
    later = resources.after({"nics/a/eth0": "{…}", "ecs/b": None})      # None: gone; `resources` is as it was

To copy a dictionary of 12,000 resources touches each of them, which is more than all the rest of judging an edit. Never
changed in place. In the order of the first mapping; what is new stands last. Pure.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Final, TypeVar, overload

MOST_LATELY: Final = 256
"""How many keys may have changed before the large mapping is made anew."""

Value = TypeVar("Value")
Default = TypeVar("Default")


class Lately(Mapping[str, Value]):
    """A mapping, and what has changed in it since it was made."""

    __slots__ = ("_base", "_late", "_length")

    def __init__(self, base: Mapping[str, Value]) -> None:
        self._base: dict[str, Value] = dict(base)
        self._late: dict[str, Value | None] = {}
        self._length = len(self._base)

    def after(self, changes: Mapping[str, Value | None]) -> Lately[Value]:
        """Return the mapping after changes; None takes a key away."""
        found = Lately[Value].__new__(Lately)
        found._base, found._late = self._base, {**self._late, **changes}
        come = sum(value is not None and key not in self for key, value in changes.items())
        gone = sum(value is None and key in self for key, value in changes.items())
        found._length = self._length + come - gone
        return found if len(found._late) <= MOST_LATELY else Lately(found._made())

    def __getitem__(self, key: str) -> Value:
        value = self._late[key] if key in self._late else self._base[key]
        if value is None:
            raise KeyError(key)
        return value

    @overload
    def get(self, key: str) -> Value | None: ...
    @overload
    def get(self, key: str, default: Value | Default) -> Value | Default: ...
    def get(self, key: str, default: object = None) -> object:
        """Return a value, or the default."""
        value = self._late[key] if key in self._late else self._base.get(key)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return self._late[key] is not None if key in self._late else key in self._base

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return self._length

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._made().keys()

    def items(self) -> ItemsView[str, Value]:
        """Return keys and values."""
        return self._made().items()

    def values(self) -> ValuesView[Value]:
        """Return the values in the order of their keys."""
        return self._made().values()

    def _made(self) -> dict[str, Value]:
        if not self._late:
            return self._base
        made = {**self._base, **self._late}
        for key, value in self._late.items():
            if value is None:
                del made[key]
        return made  # type: ignore[return-value]
