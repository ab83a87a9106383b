"""A restricted unpickler: a virtual machine for pickles that cannot execute code.

A pickle is a program for a stack machine, and Python's own unpickler may import and call anything on its behalf. Here
no opcode imports, calls or looks up anything. Every name becomes an inert `Name`, and wherever Python would call a
name, a table of builders (`figment.legacy.classes`) turns the arguments into plain values: dictionaries, lists, text,
and arrays that are views of the file's bytes. Classes of the programs in `PROGRAMS` become inert records (`Foreign`),
so that the networks beside them can be read. All other names are rejected.

Two budgets keep hostile files from filling the memory: a number of opcodes, which also pays for the containers that
builders may copy, and a number of bytes of text. Nested values are never hashed, so deep nesting cannot overflow the
stack.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from figment.base.errors import FigmentError

MAX_OPCODES = 2_000_000
"""Opcodes per pickle. A full-size checkpoint has under 200,000; each one allocates at most a few hundred bytes."""
MAX_TEXT_BYTES = 64 << 20
"""Bytes of text per pickle, in addition to the size of the file (arrays may be written as text)."""
MAX_INTEGER_BYTES = 1024
MAX_LINE_BYTES = 65536
MAX_KEY_ITEMS = 16
SHORT_STRING = 4096
"""A Python 2 string of up to this many bytes is text; a longer one holds an array."""
LONG_TEXT = 65536
"""Text of more bytes than this must be an array written as Latin-1."""


class Damaged(FigmentError):
    """The bytes are not a complete, valid pickle."""


class Refused(FigmentError):
    """The pickle asks for something that no checkpoint needs: a name, a call, or more than the budgets allow."""


@dataclass(frozen=True)
class Name:
    """A class or function as a pickle refers to it. Nothing is looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Record:
    """An object of a known class, as plain data."""

    kind: str
    """Name of the class, such as `Network`."""
    state: dict[str, Any] = field(default_factory=dict)
    """Attributes."""


@dataclass(eq=False)
class Foreign(Record):
    """An object of a class that figment has no use for, as plain data: it stands for what can't be read."""

    module: str = ""
    """Module of the class, such as `pg_modules.discriminator`."""

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.kind}")


PROGRAMS = re.compile(
    r"(torch\.(nn|optim|amp|cuda\.amp)|torch_utils|dnnlib|training|pg_modules|feature_networks|R3GAN|timm|torchvision|clip"
    r"|lightweight_gan|stylegan2_pytorch|omegaconf|dill|functools(?=\.partial$)|torch\._C\._nn(?=\.gelu$))\."
)
"""Modules of programs that write checkpoints. Their classes and functions are inert: none is looked up or called."""


def is_inert(name: Name) -> bool:
    """Return whether a name becomes a `Foreign` record wherever Python would call it."""
    dotted = f"{name.module}.{name.name}"
    return PROGRAMS.match(dotted) is not None and dotted.replace(".", "").isidentifier()


Builder = Callable[[tuple[Any, ...]], Any]
"""Turns the arguments of a call into a plain value."""


def printable(text: str) -> str:
    """Return `text` as at most 120 printable characters for a message."""
    return (text if text.isprintable() else ascii(text))[:120]


def _is_flat(value: Any) -> bool:
    """Return whether `value` can be hashed without recursion and in constant time."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, str | bytes | None)


def _key(value: Any) -> Any:
    """Return `value` if it may be a dictionary key or a set member: flat, or a short tuple of flat values."""
    if _is_flat(value):
        return value
    if isinstance(value, tuple) and len(value) <= MAX_KEY_ITEMS and all(_is_flat(item) for item in value):
        return value
    raise Damaged(f"invalid pickle: a key of type {type(value).__name__}")


class PickleVM:
    """Run one pickle. `load` returns the value; `position` and `opcodes` then say what is left.

    Methods that opcodes call carry the opcode's name in their docstring. See pickletools for what each one means.
    """

    def __init__(
        self,
        data: memoryview,  # the file; arrays in the result are views of it
        builders: dict[Name, Builder],  # what calling each known name results in
        persistent: Builder | None = None,  # resolves persistent ids; None rejects them
        position: int = 0,  # offset of the pickle in `data`
        opcodes: int = MAX_OPCODES,  # budget
    ) -> None:
        self.data, self.builders, self.persistent = data, builders, persistent
        self.position, self.opcodes = position, opcodes
        self.text_bytes = MAX_TEXT_BYTES + len(data)
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        """One stack for each open mark."""
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Run the pickle up to STOP and return its value.

        Raises Damaged for bytes that are not a pickle and Refused for anything that a checkpoint does not need.
        """
        try:
            return self._run()
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error) as error:
            raise Damaged(f"invalid pickle: a value does not fit ({printable(str(error))})") from None

    def _run(self) -> Any:
        while True:
            self.opcodes -= 1
            if self.opcodes < 0:
                raise Refused("the pickle has more opcodes than a checkpoint needs")
            code = self.read(1)[0]
            if code == 0x2E:  # STOP
                return self.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise Damaged(f"invalid pickle: unknown opcode {code:#04x}")
            action(self)

    # --- Reading

    def read(self, count: int) -> memoryview:
        """Return the next `count` bytes without copying them."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise Damaged("the file ends too early")
        part = self.data[self.position : end]
        self.position = end
        return part

    def read_int(self, form: str) -> int:
        """Return the next little-endian integer; `form` is its struct format character."""
        value: int = struct.unpack("<" + form, self.read(struct.calcsize(form)))[0]
        return value

    def read_line(self) -> str:
        """Return the text up to the next newline."""
        for end in range(self.position, min(self.position + MAX_LINE_BYTES, len(self.data))):
            if self.data[end] == 10:
                line = bytes(self.read(end - self.position)).decode("latin-1")
                self.position += 1
                return line
        raise Damaged("invalid pickle: a line without an end")

    def read_text(self, count: int, encoding: str = "utf-8") -> str:
        """Return the next `count` bytes as text, charged to the text budget."""
        part = self.read(count)
        self.charge_text(count)
        # Python stores text with any character above U+00FF in two or four bytes per character. Long text is an array
        # written as Latin-1, so a wider character there only serves to fill the memory.
        if count > LONG_TEXT and encoding == "utf-8" and int(np.frombuffer(part, np.uint8).max()) > 0xC3:
            raise Refused("the pickle holds a longer text than a checkpoint needs")
        text = str(part, encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        self.charge_text(max(0, text.__sizeof__() - count))
        return text

    def charge_text(self, count: int) -> None:
        """Charge `count` bytes to the text budget."""
        self.text_bytes -= count
        if self.text_bytes < 0:
            raise Refused("the pickle holds more text than a checkpoint needs")

    def charge_copy(self, value: Any) -> None:
        """Charge the size of a value that a builder may copy, so that copying it repeatedly is bounded."""
        if isinstance(value, str | bytes):
            self.charge_text(len(value))
        elif isinstance(value, list | tuple | dict | set):
            self.opcodes -= len(value)

    # --- Stack and memo

    def push(self, value: Any) -> None:
        """Push `value`."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Remove the top of the stack and return it."""
        if not self.stack:
            raise Damaged("invalid pickle: the stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        """Return the top of the stack."""
        if not self.stack:
            raise Damaged("invalid pickle: the stack is empty")
        return self.stack[-1]

    def mark(self) -> None:
        """MARK: start a new stack on top of the current one."""
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """POP_MARK: remove everything above the last mark and return it."""
        if not self.outer_stacks:
            raise Damaged("invalid pickle: a mark is missing")
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def pop_or_unmark(self) -> None:
        """POP: drop the top of the stack, or the mark if nothing is above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def put(self, index: int) -> None:
        """PUT, BINPUT, LONG_BINPUT, MEMOIZE: store the top of the stack in the memo."""
        top = self.top()
        if isinstance(top, Record) and top.kind == "ndarray":
            top.state["memo"] = index
        self.memo[index] = top

    def get(self, index: int) -> None:
        """GET, BINGET, LONG_BINGET: push a value from the memo."""
        if index not in self.memo:
            raise Damaged("invalid pickle: it reads a memo entry that it never wrote")
        self.push(self.memo[index])

    # --- Values

    def push_long(self, count: int) -> None:
        """LONG1, LONG4: push an integer of `count` bytes."""
        if count > MAX_INTEGER_BYTES:
            raise Refused("the pickle holds a longer integer than a checkpoint needs")
        self.push(int.from_bytes(self.read(count), "little", signed=True))

    def push_int_line(self) -> None:
        """INT, LONG: push an integer or boolean written as a line of text."""
        line = self.read_line().rstrip("L")
        try:
            self.push({"00": False, "01": True}[line] if line in ("00", "01") else int(line))
        except ValueError:
            raise Damaged("invalid pickle: an integer that is not a number") from None

    def push_string(self, count: int) -> None:
        """BINSTRING, SHORT_BINSTRING: push a Python 2 string, as text if short and as bytes if it holds an array."""
        self.push(self.read_text(count, "latin-1") if count <= SHORT_STRING else self.read(count))

    def push_tuple_of(self, count: int) -> None:
        """TUPLE1, TUPLE2, TUPLE3: push a tuple of the top `count` values."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def push_tuple(self) -> None:
        """TUPLE: push a tuple of everything above the mark."""
        items = self.pop_mark()
        self.push(tuple(items))

    def push_list(self) -> None:
        """LIST: push a list of everything above the mark."""
        items = self.pop_mark()
        self.push(items)

    def push_dict(self) -> None:
        """DICT: push a dictionary of the keys and values above the mark."""
        items = self.pop_mark()
        self.push({})
        self.set_items(items)

    def push_set(self) -> None:
        """FROZENSET: push a set of everything above the mark."""
        items = self.pop_mark()
        self.push(set())
        self.add_items(items)

    def container(self, kind: type[Any]) -> Any:
        """Return the container on top that items are put into; None for a `Foreign` record, which takes none."""
        target = self.top()
        if not isinstance(target, kind | Foreign):
            raise Damaged(f"invalid pickle: it puts items into a {type(target).__name__} as into a {kind.__name__}")
        return target if isinstance(target, kind) else None

    def extend(self, items: list[Any]) -> None:
        """APPEND, APPENDS: append `items` to the list on top."""
        if (target := self.container(list)) is not None:
            target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """SETITEM, SETITEMS: store alternating keys and values in the dictionary on top."""
        if (target := self.container(dict)) is not None:
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_key(key)] = value

    def add_items(self, items: list[Any]) -> None:
        """ADDITEMS: add `items` to the set on top."""
        if (target := self.container(set)) is not None:
            target.update(_key(item) for item in items)

    # --- Names and what Python would call

    def push_name(self, module: Any, name: Any) -> None:
        """GLOBAL: push an inert name, which must be one that a builder stands for."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("invalid pickle: a name that is not text")
        known = Name(module, name)
        if known not in self.builders and not is_inert(known):
            raise Refused(f"the pickle names {known}, which no checkpoint needs; nothing was run")
        self.push(known)

    def push_stack_name(self) -> None:
        """STACK_GLOBAL: push the name whose module and name are on the stack."""
        name, module = self.pop(), self.pop()
        self.push_name(module, name)

    def push_built(self, function: Any, arguments: Any) -> None:
        """Push the plain value that the builder of the name `function` makes of `arguments`."""
        if isinstance(function, Foreign):  # a class that an inert function stands for
            function = Name(function.module, function.kind)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("the pickle calls something without a name; nothing was run")
        if function not in self.builders:
            self.push(Foreign(function.name, module=function.module))
            return
        for argument in arguments:
            self.charge_copy(argument)
        self.push(self.builders[function](arguments))

    def reduce(self) -> None:
        """REDUCE, NEWOBJ: build what a function or class with a tuple of arguments stands for."""
        arguments, function = self.pop(), self.pop()
        self.push_built(function, arguments)

    def new_object_ex(self) -> None:
        """NEWOBJ_EX: like NEWOBJ; keyword arguments are rejected."""
        named, arguments, function = self.pop(), self.pop(), self.pop()
        if named != {}:
            raise Refused("the pickle makes an object with keyword arguments; nothing was run")
        self.push_built(function, arguments)

    def obj(self) -> None:
        """OBJ: build an object; its class and the arguments are above the mark."""
        items = self.pop_mark()
        self.push_built(items[0] if items else None, tuple(items[1:]))

    def inst(self) -> None:
        """INST: build an object; its class is two lines of text, the arguments are above the mark."""
        module, name = self.read_line(), self.read_line()
        arguments = tuple(self.pop_mark())
        self.push_name(module, name)
        self.push_built(self.pop(), arguments)

    def push_persistent(self, key: Any) -> None:
        """PERSID, BINPERSID: push what a persistent id stands for."""
        if self.persistent is None or not isinstance(key, tuple):
            raise Refused("the pickle refers to an object outside itself; nothing was run")
        self.push(self.persistent(key))

    def set_state(self) -> None:
        """BUILD: set the attributes of the object on top."""
        state, target = self.pop(), self.top()
        self.charge_copy(state)
        for part in state if isinstance(state, tuple) else ():
            self.charge_copy(part)
        if isinstance(target, Record) and target.kind == "ndarray":
            self._replace_top(target, target.state["fill"](state))
            return
        if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
            state = state[0]
        if isinstance(target, Record) and target.kind == "dtype":
            target.state["order"] = state
        elif isinstance(target, Record) and isinstance(state, dict):
            target.state.update(state)
        elif isinstance(target, Foreign) or (isinstance(target, dict) and isinstance(state, dict | None)):
            pass  # the state of functools.partial, or attributes of a dictionary, such as an OrderedDict's _metadata
        else:
            raise Damaged(f"invalid pickle: a state of type {type(state).__name__} for a {type(target).__name__}")

    def _replace_top(self, old: Record, new: Any) -> None:
        """Replace `old`, an array whose bytes were not known yet, on the stack and in the memo."""
        self.stack[-1] = new
        index = old.state.get("memo")
        if index is not None and self.memo.get(index) is old:
            self.memo[index] = new

    def refuse(self) -> None:
        """EXT1, EXT2, EXT4, NEXT_BUFFER: reject extension registries and out-of-band buffers."""
        raise Refused("the pickle needs a registry or buffers outside the file; nothing was run")


def _push(make: Callable[[PickleVM], Any]) -> Callable[[PickleVM], object]:
    """Return the action of an opcode that pushes the result of `make`."""
    return lambda vm: vm.push(make(vm))


_ACTIONS: dict[int, Callable[[PickleVM], object]] = {
    # Framing, stack and memo
    0x80: lambda vm: vm.read(1),  # PROTO
    0x95: lambda vm: vm.read(8),  # FRAME
    0x98: lambda vm: None,  # READONLY_BUFFER
    ord("p"): lambda vm: vm.put(int(vm.read_line())),
    ord("q"): lambda vm: vm.put(vm.read_int("B")),
    ord("r"): lambda vm: vm.put(vm.read_int("I")),
    0x94: lambda vm: vm.put(len(vm.memo)),  # MEMOIZE
    ord("g"): lambda vm: vm.get(int(vm.read_line())),
    ord("h"): lambda vm: vm.get(vm.read_int("B")),
    ord("j"): lambda vm: vm.get(vm.read_int("I")),
    ord("("): PickleVM.mark,
    ord("0"): PickleVM.pop_or_unmark,
    ord("1"): lambda vm: vm.pop_mark(),
    ord("2"): _push(PickleVM.top),  # DUP
    # Plain values
    ord("N"): _push(lambda vm: None),
    0x88: _push(lambda vm: True),
    0x89: _push(lambda vm: False),
    ord("I"): PickleVM.push_int_line,
    ord("L"): PickleVM.push_int_line,
    ord("J"): _push(lambda vm: vm.read_int("i")),
    ord("K"): _push(lambda vm: vm.read_int("B")),
    ord("M"): _push(lambda vm: vm.read_int("H")),
    0x8A: lambda vm: vm.push_long(vm.read_int("B")),
    0x8B: lambda vm: vm.push_long(vm.read_int("i") & 0xFFFFFFFF),
    ord("F"): _push(lambda vm: float(vm.read_line())),
    ord("G"): _push(lambda vm: struct.unpack(">d", vm.read(8))[0]),
    ord("S"): _push(lambda vm: vm.read_line()[1:-1]),
    ord("T"): lambda vm: vm.push_string(vm.read_int("i")),
    ord("U"): lambda vm: vm.push_string(vm.read_int("B")),
    ord("V"): _push(lambda vm: vm.read_line().encode("latin-1").decode("raw-unicode-escape")),
    ord("X"): _push(lambda vm: vm.read_text(vm.read_int("I"))),
    0x8C: _push(lambda vm: vm.read_text(vm.read_int("B"))),
    0x8D: _push(lambda vm: vm.read_text(vm.read_int("Q"))),
    ord("B"): _push(lambda vm: vm.read(vm.read_int("I"))),
    ord("C"): _push(lambda vm: vm.read(vm.read_int("B"))),
    0x8E: _push(lambda vm: vm.read(vm.read_int("Q"))),
    0x96: _push(lambda vm: vm.read(vm.read_int("Q"))),  # BYTEARRAY8
    # Containers
    ord(")"): _push(lambda vm: ()),
    ord("]"): _push(lambda vm: []),
    ord("}"): _push(lambda vm: {}),
    0x8F: _push(lambda vm: set()),
    ord("t"): PickleVM.push_tuple,
    ord("l"): PickleVM.push_list,
    ord("d"): PickleVM.push_dict,
    0x91: PickleVM.push_set,  # FROZENSET
    0x85: lambda vm: vm.push_tuple_of(1),
    0x86: lambda vm: vm.push_tuple_of(2),
    0x87: lambda vm: vm.push_tuple_of(3),
    ord("a"): lambda vm: vm.extend([vm.pop()]),
    ord("e"): lambda vm: vm.extend(vm.pop_mark()),
    ord("s"): lambda vm: vm.set_items([vm.pop(), vm.pop()][::-1]),
    ord("u"): lambda vm: vm.set_items(vm.pop_mark()),
    0x90: lambda vm: vm.add_items(vm.pop_mark()),
    # Names, and what Python would call
    ord("c"): lambda vm: vm.push_name(vm.read_line(), vm.read_line()),
    0x93: PickleVM.push_stack_name,
    ord("R"): PickleVM.reduce,
    0x81: PickleVM.reduce,  # NEWOBJ
    0x92: PickleVM.new_object_ex,
    ord("o"): PickleVM.obj,
    ord("i"): PickleVM.inst,
    ord("b"): PickleVM.set_state,
    ord("P"): lambda vm: vm.push_persistent(vm.read_line()),
    ord("Q"): lambda vm: vm.push_persistent(vm.pop()),
    0x82: PickleVM.refuse,
    0x83: PickleVM.refuse,
    0x84: PickleVM.refuse,
    0x97: PickleVM.refuse,
}
