"""No opcode of a pickle can execute anything, and what checkpoints need becomes plain values."""

from __future__ import annotations

import collections
import os
import pathlib
import pickle
import struct
import sys
from collections import OrderedDict

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.legacy import torchfile
from figment.legacy.classes import BUILDERS, Storage, StoredTensor
from figment.legacy.pickle_vm import Damaged, Foreign, PickleVM, Refused

COMMAND = "touch /tmp/figment-was-here"


def run(data: bytes) -> object:
    """Run a pickle and return its value."""
    return PickleVM(memoryview(data), BUILDERS).load()


def word(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


HOSTILE = {
    "REDUCE": b"\x80\x04" + word("os") + word("system") + b"\x93" + word(COMMAND) + b"\x85R.",
    "GLOBAL and REDUCE": b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR.",
    "posix": b"cposix\nsystem\n(V" + COMMAND.encode() + b"\ntR.",
    "nt": b"cnt\nsystem\n(V" + COMMAND.encode() + b"\ntR.",
    "INST": b"(V" + COMMAND.encode() + b"\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nV" + COMMAND.encode() + b"\no.",
    "NEWOBJ": b"\x80\x04" + word("os") + word("system") + b"\x93" + word(COMMAND) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04" + word("os") + word("system") + b"\x93" + word(COMMAND) + b"\x85}\x92.",
    "BUILD": b"\x80\x04" + word("os") + word("system") + b"\x93}" + word("__setstate__") + word("x") + b"sb.",
    "eval": b"\x80\x04" + word("builtins") + word("eval") + b"\x93" + word("1+1") + b"\x85R.",
    "getattr": b"\x80\x04" + word("builtins") + word("getattr") + b"\x93.",
    "attribute path": b"\x80\x04" + word("numpy") + word("ndarray.tofile") + b"\x93.",
    "numpy testing": b"\x80\x04" + word("numpy.testing._private.utils") + word("runstring") + b"\x93.",
    "torch load": b"\x80\x04" + word("torch.serialization") + word("load") + b"\x93.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "PERSID": b"Pos.system\n.",
    "BINPERSID": b"\x80\x02X\x02\x00\x00\x00osQ.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "call of a known class": b"\x80\x04" + word("numpy") + word("ndarray") + b"\x93)R.",
    "call of a value": b"\x80\x04K\x01K\x02\x85R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_calls_are_refused(name):
    with pytest.raises(Refused):
        run(HOSTILE[name])


def test_refusals_name_the_function():
    with pytest.raises(Refused, match=r"the pickle names os\.system, which no checkpoint needs; nothing was run"):
        run(HOSTILE["REDUCE"])


def test_real_pickles_of_code_are_refused():
    class Bomb:
        def __reduce__(self):
            return os.system, (COMMAND,)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(Refused):
            run(pickle.dumps({"G": [Bomb()]}, protocol=protocol))


def test_a_pickle_within_a_pickle_is_read_by_the_same_rules(tmp_path):
    inner = HOSTILE["REDUCE"]
    outer = b"\x80\x04" + word("torch.storage") + word("_load_from_bytes") + b"\x93"
    path = tmp_path / "net.pkl"
    path.write_bytes(outer + b"B" + struct.pack("<I", len(inner)) + inner + b"\x85R.")
    with pytest.raises(Refused, match=r"os\.system"):
        torchfile.read(path)


def test_plain_values_of_every_protocol():
    value = {"a": [1, -2, 2**40, True, None, 1.5], "b": ("x", b"y" * 300), 3: ["c"], "long": "ü" * 300}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        found = run(pickle.dumps(value, protocol=protocol))
        assert isinstance(found, dict)
        assert found["a"] == value["a"] and found["long"] == value["long"] and found[3] == ["c"]
        assert bytes(found["b"][1]) == b"y" * 300


def test_arrays_of_every_protocol_are_views_of_the_file():
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 3))):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            found = run(pickle.dumps({"w": array, "again": array}, protocol=protocol))
            assert isinstance(found, dict)
            np.testing.assert_array_equal(found["w"], array)
            np.testing.assert_array_equal(found["again"], array)
            assert not found["w"].flags.writeable or protocol < 3


def test_scalars_and_ordered_dictionaries():
    found = run(pickle.dumps(OrderedDict(a=np.float32(2.5), b=np.int64(7)), protocol=4))
    assert found == {"a": 2.5, "b": 7}


def test_arrays_of_objects_are_refused():
    with pytest.raises(Refused, match="not of numbers"):
        run(pickle.dumps(np.array([{}], dtype=object), protocol=4))


def test_deep_nesting_does_not_crash_and_is_not_hashed():
    deep = b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b"."
    assert isinstance(run(deep), list)
    tuples = b"\x80\x04)" + b"\x85" * 200_000
    assert isinstance(run(tuples + b"."), tuple)
    with pytest.raises(Damaged, match="key"):
        run(b"\x80\x04}" + tuples[2:] + b"K\x01s.")


def test_a_list_may_contain_itself():
    assert isinstance(run(b"\x80\x04]\x94h\x00a."), list)


@pytest.mark.slow
def test_a_huge_memo_and_too_many_opcodes_end():
    with pytest.raises(Refused, match="more opcodes"):
        run(b"\x80\x04" + b"]\x94" * 1_100_000 + b".")
    assert run(b"\x80\x04K\x01r\xff\xff\xff\xff.") == 1


def test_lengths_beyond_the_end_of_the_file_are_refused():
    for opcode in (b"\x8e", b"\x8d", b"\x96"):
        with pytest.raises(Damaged, match="ends too early"):
            run(b"\x80\x04" + opcode + struct.pack("<Q", 2**62) + b"x.")


def test_copying_the_same_value_repeatedly_is_charged():
    pairs = b"](" + b"".join(word(f"{k:06d}") + b"K\x01\x86" for k in range(1000)) + b"e\x94"
    again = b"0" + b"\x80\x04" + word("collections") + word("OrderedDict") + b"\x93\x94"
    with pytest.raises(Refused, match="more opcodes"):
        run(b"\x80\x04" + pairs + again + b"h\x01h\x00\x85R" * 3000 + b".")


def test_wide_text_does_not_grow_in_memory():
    text = ("a" * 200_000 + "\U0001f600").encode()
    with pytest.raises(Refused, match="text"):
        run(b"\x80\x04X" + struct.pack("<I", len(text)) + text + b".")


def test_a_tensor_cannot_be_larger_than_its_storage():
    storage = Storage("f4", 4, memoryview(bytes(16)))
    for shape, stride, offset in (((1000, 1000), (0, 0), 0), ((2, 2), (2, 1), 1), ((5,), (1,), 0)):
        with pytest.raises(Damaged):
            StoredTensor(storage, offset, shape, stride).array()
    assert StoredTensor(storage, 0, (2, 2), (1, 2)).array().shape == (2, 2)


def test_nothing_is_imported_or_executed_for_a_hostile_file():
    seen: list[str] = []
    watched = ("os.system", "subprocess.Popen", "exec", "compile", "import", "os.exec", "pty.spawn")
    active = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if active and event in watched:
            seen.append(event)

    sys.addaudithook(watch)
    for content in HOSTILE.values():
        try:
            run(content)
        except FigmentError:
            continue
    active = False
    assert seen == []


# --- Classes of known programs

INERT = {
    "pg_modules.discriminator": "ProjectedDiscriminator",
    "torch.nn.modules.container": "Sequential",
    "torch.optim.adam": "Adam",
    "training.networks": "Generator",
    "R3GAN.Networks": "Generator",
    "timm.layers.conv2d_same": "Conv2dSame",
    "functools": "partial",
}


@pytest.mark.parametrize("module", INERT)
def test_classes_of_known_programs_are_inert_records(module):
    name = b"\x80\x04" + word(module) + word(INERT[module]) + b"\x93"
    for call in (b")R", b")\x81", b")}\x92", word("touch") + b"\x85R"):
        found = run(name + call + b"}" + word("a") + b"K\x01sb.")
        assert isinstance(found, Foreign)
        assert (found.module, found.kind, found.state) == (module, INERT[module], {"a": 1})
        assert str(found) == f"{module}.{INERT[module]}"


def test_inert_records_take_any_state_and_any_items():
    name = b"\x80\x04" + word("pg_modules.x") + word("Y") + b"\x93)R"
    for rest in (b"K\x01a", b"(K\x01K\x02e", b"K\x01K\x02s", b"(K\x01K\x02u", b"(K\x01\x90", b"(K\x01)}}tb", b"K\x01b"):
        assert isinstance(run(name + rest + b"."), Foreign)
    assert isinstance(run(name + b")\x81."), Foreign)  # calling an inert record gives another


@pytest.mark.parametrize(
    "name",
    ["torch.serialization.load", "torch.hub.load", "torchx.nn.A", "os.training", "functools.reduce", "timm",
     "functools.partial.x", "torch._C._nn.gelu.x", "importlib.import_module", "pg_modules.a-b", "training. system"],
)  # fmt: skip
def test_other_names_are_still_refused(name):
    module, _, last = name.rpartition(".")
    with pytest.raises(Refused, match="which no checkpoint needs; nothing was run"):
        run(b"\x80\x04" + word(module) + word(last) + b"\x93.")


def test_names_of_known_programs_import_nothing():
    assert "training" not in sys.modules and "dill" not in sys.modules
    run(
        b"\x80\x04"
        + word("training.networks")
        + word("Generator")
        + b"\x93)R0"
        + word("dill")
        + word("loads")
        + b"\x93N\x85R."
    )
    assert "training" not in sys.modules and "dill" not in sys.modules


def test_settings_may_hold_what_the_standard_library_offers():
    value = {"seen": {"a", "b"}, "folder": pathlib.PurePosixPath("runs/1"), "state": collections.defaultdict(list, a=1),
             "last": collections.deque([1, 2], 3), "counts": collections.Counter("aab")}  # fmt: skip
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        expected = {
            "seen": {"a", "b"},
            "folder": "runs/1",
            "state": {"a": 1},
            "last": [1, 2],
            "counts": {"a": 2, "b": 1},
        }
        assert run(pickle.dumps(value, protocol)) == expected
    with pytest.raises(Damaged):
        run(b"\x80\x02c__builtin__\nset\n](]]eb\x85R.")
