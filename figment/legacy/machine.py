"""The stack machine that pickles are programs for, with nothing behind its names: what each opcode does."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from figment.base.errors import FigmentError

MOST_OPCODES = 2_000_000  # a full-size checkpoint has under 200,000; each makes at most a few hundred bytes of objects
MOST_TEXT = 64 << 20  # bytes of text in memory, besides one file's size for arrays written as text
LONG_INTEGER = 1024  # bytes


class Damaged(FigmentError):
    """The bytes are not a whole pickle."""


class Refused(FigmentError):
    """The pickle names something that no checkpoint needs, or wants more than its size allows."""


@dataclass(frozen=True)
class Name:
    """What a pickle calls a class or function: two words, nothing behind them."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Record:
    """An object of a known class, as plain data."""

    kind: str
    """The class's own name, such as `Network`."""
    state: dict[str, Any] = field(default_factory=dict)
    """Its attributes."""


Builder = Callable[[tuple[Any, ...]], Any]
_MARK = object()


def printable(text: str) -> str:
    """`text` fit for one line of a message."""
    return (text if text.isprintable() else ascii(text))[:120]


def _key(value: Any) -> Any:
    """`value` if it may be a dictionary's key or a set's member; nothing nested, so that hashing stays shallow."""
    flat = (str, bytes, bool, type(None))
    if isinstance(value, tuple) and len(value) <= 16 and all(isinstance(v, flat) or _small(v) for v in value):
        return value
    if isinstance(value, flat) or _small(value):
        return value
    raise Damaged(f"a key of type {type(value).__name__}")


def _small(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


class Machine:
    """A pickle's stack, memo and budgets over a buffer, and what its opcodes do to them."""

    def __init__(
        self,
        data: memoryview,  # the file; arrays that come out are views of it
        builders: dict[Name, Builder],  # what stands for calling a name
        persistent: Builder | None = None,  # what a persistent id stands for; None refuses them
        position: int = 0,  # where the pickle begins
        opcodes: int = MOST_OPCODES,
    ) -> None:
        self.data, self.builders, self.persistent = data, builders, persistent
        self.position, self.opcodes = position, opcodes
        self.text = MOST_TEXT + len(data)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    # Reading the file -----------------------------------------------------------------------------------------

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, not copied."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise Damaged("it ends too early")
        part = self.data[self.position : end]
        self.position = end
        return part

    def number(self, form: str) -> int:
        """The next little-endian integer of struct's `form`."""
        value: int = struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        """The text up to the next newline."""
        for end in range(self.position, min(self.position + 65536, len(self.data))):
            if self.data[end] == 10:
                line = bytes(self.take(end - self.position)).decode("latin-1")
                self.position += 1
                return line
        raise Damaged("a line without end")

    def word(self, count: int, encoding: str = "utf-8") -> str:
        """The next `count` bytes as text, on the text budget."""
        part = self.take(count)
        self.spend(count)
        # Long text is an array written as Latin-1; anything wider would take four times its size in memory.
        if count > 65536 and encoding == "utf-8" and int(np.frombuffer(part, np.uint8).max()) > 0xC3:
            raise Refused("it holds a text longer than a checkpoint needs")
        text = str(part, encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        self.spend(max(0, text.__sizeof__() - count))
        return text

    def spend(self, count: int) -> None:
        """Charge `count` bytes of text to the budget."""
        self.text -= count
        if self.text < 0:
            raise Refused("it holds more text than a checkpoint needs")

    def charge(self, value: Any) -> None:
        """Charge what a builder may copy, so that one large value can't be copied again and again."""
        if isinstance(value, str | bytes):
            self.spend(len(value))
        elif isinstance(value, list | tuple | dict | set):
            self.opcodes -= len(value)

    # The stack ------------------------------------------------------------------------------------------------

    def pop(self) -> Any:
        """The top of the stack."""
        if not self.stack:
            raise Damaged("its stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        """The top of the stack, left there."""
        if not self.stack:
            raise Damaged("its stack is empty")
        return self.stack[-1]

    def items(self) -> list[Any]:
        """Everything since the last mark."""
        if not self.marks:
            raise Damaged("a mark is missing")
        items, self.stack = self.stack, self.marks.pop()
        return items

    # What opcodes do --------------------------------------------------------------------------------------------

    def name(self, module: Any, name: Any) -> None:
        """Push an inert name; refuse it unless a builder knows it."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("a name that is no text")
        known = Name(module, name)
        if known not in self.builders:
            raise Refused(f"it names {known}, which no checkpoint needs; nothing was run")
        self.stack.append(known)

    def build(self, function: Any, arguments: Any) -> None:
        """Push what calling `function` stands for."""
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("it calls something that has no name; nothing was run")
        for argument in arguments:
            self.charge(argument)
        self.stack.append(self.builders[function](arguments))

    def set_state(self) -> None:
        """Give an object its attributes."""
        state, target = self.pop(), self.top()
        self.charge(state)
        for part in state if isinstance(state, tuple) else ():
            self.charge(part)
        if isinstance(target, Record) and target.kind == "ndarray":
            self.stack[-1] = target.state["fill"](state)
            self.replace(target, self.stack[-1])
            return
        if isinstance(state, tuple) and len(state) == 2:  # (dictionary, slots)
            state = state[0]
        if isinstance(target, Record) and target.kind == "dtype":
            target.state["order"] = state
        elif isinstance(target, Record) and isinstance(state, dict):
            target.state.update(state)
        elif isinstance(target, dict) and isinstance(state, dict | None):
            pass  # attributes of a dictionary, such as an OrderedDict's _metadata
        else:
            raise Damaged(f"a state of type {type(state).__name__} for a {type(target).__name__}")

    def replace(self, old: Any, new: Any) -> None:
        """Let the memo give `new` where it gave `old`: an array exists only once its bytes are known."""
        number = old.state.get("memo")
        if number is not None and self.memo.get(number) is old:
            self.memo[number] = new

    def put(self, number: int) -> None:
        """Remember the top of the stack."""
        top = self.top()
        if isinstance(top, Record) and top.kind == "ndarray":
            top.state["memo"] = number
        self.memo[number] = top

    def get(self, number: int) -> None:
        """Push what was remembered."""
        if number not in self.memo:
            raise Damaged("it uses what it never made")
        self.stack.append(self.memo[number])

    def extend(self, items: list[Any]) -> None:
        """Append `items` to the list on top."""
        target = self.top()
        if not isinstance(target, list):
            raise Damaged(f"appends to a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Put pairs of keys and values into the dictionary on top."""
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise Damaged(f"sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def add_items(self, items: list[Any]) -> None:
        """Add `items` to the set on top."""
        target = self.top()
        if not isinstance(target, set):
            raise Damaged(f"adds to a {type(target).__name__}")
        target.update(_key(item) for item in items)

    def identify(self, key: Any) -> None:
        """Push what a persistent id stands for."""
        if self.persistent is None or not isinstance(key, tuple):
            raise Refused("it refers to something outside itself; nothing was run")
        self.stack.append(self.persistent(key))

    def integer(self, count: int) -> None:
        """Push a long integer of `count` bytes."""
        if count > LONG_INTEGER:
            raise Refused("it holds an integer longer than a checkpoint needs")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def text_number(self) -> None:
        """Push an integer or truth value written as text (protocol 0)."""
        line = self.line().rstrip("L")
        try:
            self.stack.append({"00": False, "01": True}[line] if line in ("00", "01") else int(line))
        except ValueError:
            raise Damaged("a number that is none") from None

    def old_string(self, count: int) -> None:
        """Push Python 2's byte string: text where it is short, bytes where it holds an array."""
        self.stack.append(self.word(count, "latin-1") if count <= 4096 else self.take(count))

    def last(self, count: int) -> None:
        """Push a tuple of the top `count` values."""
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def tuple_marked(self) -> None:
        """Push a tuple of everything since the mark."""
        items = self.items()
        self.stack.append(tuple(items))

    def list_marked(self) -> None:
        """Push a list of everything since the mark."""
        items = self.items()
        self.stack.append(items)

    def dict_marked(self) -> None:
        """Push a dictionary of the pairs since the mark."""
        items = self.items()
        self.stack.append({})
        self.set_items(items)

    def set_marked(self) -> None:
        """Push a set of everything since the mark."""
        items = self.items()
        self.stack.append(set())
        self.add_items(items)

    def start(self) -> None:
        """Put a mark on the stack."""
        self.marks.append(self.stack)
        self.stack = []

    def drop(self) -> None:
        """Forget the top of the stack, or the mark there."""
        if self.stack:
            self.stack.pop()
        else:
            self.items()

    def call(self) -> None:
        """Where Python would call a function or make an object: build what it stands for."""
        arguments, function = self.pop(), self.pop()
        self.build(function, arguments)

    def call_with_names(self) -> None:
        """NEWOBJ_EX: keyword arguments are refused unless there are none."""
        named, arguments, function = self.pop(), self.pop(), self.pop()
        if named != {}:
            raise Refused("it makes an object by keyword arguments; nothing was run")
        self.build(function, arguments)

    def call_marked(self) -> None:
        """OBJ: the class and its arguments since the mark."""
        items = self.items()
        self.build(items[0] if items else None, tuple(items[1:]))

    def call_written(self) -> None:
        """INST: a class by name and its arguments since the mark."""
        module, name = self.line(), self.line()
        arguments = tuple(self.items())
        self.name(module, name)
        self.build(self.pop(), arguments)

    def named_by_stack(self) -> None:
        """STACK_GLOBAL: module and name from the stack."""
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def refuse(self) -> None:
        """Opcodes of registered extensions and out-of-band buffers."""
        raise Refused("it needs a registry or buffers outside the file; nothing was run")
