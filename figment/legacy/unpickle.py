"""Pickles, read by an interpreter that cannot run code: no opcode imports, calls or looks up anything.

A pickle is a program for a stack machine. Here its every name becomes an inert `Name`, and where Python would call
a name, a table of builders (`figment.legacy.classes`) turns the arguments into plain values: dictionaries, lists,
text, and arrays that are views of the file's own bytes. A name that is not in that table is refused by name.
Hostile files meet three budgets: opcodes (and what builders may copy), text, and no nesting in what is hashed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from figment.legacy.machine import Damaged, Machine, Refused, printable


class Interpreter(Machine):
    """One pickle's run: `load` gives what it built and leaves `position` behind the pickle."""

    def load(self) -> Any:
        """Run the pickle and give what it built."""
        try:
            return self.run()
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error) as error:
            raise Damaged(f"a value does not fit ({printable(str(error))})") from None

    def run(self) -> Any:
        """One opcode after another until STOP."""
        while True:
            self.opcodes -= 1
            if self.opcodes < 0:
                raise Refused("it has more opcodes than a checkpoint needs")
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return self.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise Damaged(f"opcode {code:#04x} is not one")
            action(self)


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], object]:
    return lambda machine: machine.stack.append(make(machine))


_ACTIONS: dict[int, Callable[[Machine], object]] = {
    # Framing and memory
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    0x98: lambda m: None,  # READONLY_BUFFER
    ord("p"): lambda m: m.put(int(m.line())),
    ord("q"): lambda m: m.put(m.number("B")),
    ord("r"): lambda m: m.put(m.number("I")),
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    ord("g"): lambda m: m.get(int(m.line())),
    ord("h"): lambda m: m.get(m.number("B")),
    ord("j"): lambda m: m.get(m.number("I")),
    ord("("): Machine.start,
    ord("0"): Machine.drop,
    ord("1"): lambda m: m.items(),
    ord("2"): _push(Machine.top),
    # Plain values
    ord("N"): _push(lambda m: None),
    0x88: _push(lambda m: True),
    0x89: _push(lambda m: False),
    ord("I"): Machine.text_number,
    ord("L"): Machine.text_number,
    ord("J"): _push(lambda m: m.number("i")),
    ord("K"): _push(lambda m: m.number("B")),
    ord("M"): _push(lambda m: m.number("H")),
    0x8A: lambda m: m.integer(m.number("B")),
    0x8B: lambda m: m.integer(m.number("i") & 0xFFFFFFFF),
    ord("F"): _push(lambda m: float(m.line())),
    ord("G"): _push(lambda m: struct.unpack(">d", m.take(8))[0]),
    ord("S"): _push(lambda m: m.line()[1:-1]),
    ord("T"): lambda m: m.old_string(m.number("i")),
    ord("U"): lambda m: m.old_string(m.number("B")),
    ord("V"): _push(lambda m: m.line().encode("latin-1").decode("raw-unicode-escape")),
    ord("X"): _push(lambda m: m.word(m.number("I"))),
    0x8C: _push(lambda m: m.word(m.number("B"))),
    0x8D: _push(lambda m: m.word(m.number("Q"))),
    ord("B"): _push(lambda m: m.take(m.number("I"))),
    ord("C"): _push(lambda m: m.take(m.number("B"))),
    0x8E: _push(lambda m: m.take(m.number("Q"))),
    0x96: _push(lambda m: m.take(m.number("Q"))),  # BYTEARRAY8
    # Containers
    ord(")"): _push(lambda m: ()),
    ord("]"): _push(lambda m: []),
    ord("}"): _push(lambda m: {}),
    0x8F: _push(lambda m: set()),
    ord("t"): Machine.tuple_marked,
    ord("l"): Machine.list_marked,
    ord("d"): Machine.dict_marked,
    0x91: Machine.set_marked,  # FROZENSET
    0x85: lambda m: m.last(1),
    0x86: lambda m: m.last(2),
    0x87: lambda m: m.last(3),
    ord("a"): lambda m: m.extend([m.pop()]),
    ord("e"): lambda m: m.extend(m.items()),
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.items()),
    0x90: lambda m: m.add_items(m.items()),
    # Names, and what Python would call
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: Machine.named_by_stack,
    ord("R"): Machine.call,
    0x81: Machine.call,  # NEWOBJ
    0x92: Machine.call_with_names,
    ord("o"): Machine.call_marked,
    ord("i"): Machine.call_written,
    ord("b"): Machine.set_state,
    ord("P"): lambda m: m.identify(m.line()),
    ord("Q"): lambda m: m.identify(m.pop()),
    0x82: Machine.refuse,
    0x83: Machine.refuse,
    0x84: Machine.refuse,
    0x97: Machine.refuse,
}
