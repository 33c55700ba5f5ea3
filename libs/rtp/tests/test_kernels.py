"""Compiled kernels equal the same source run as Python; only the process that compiles has a compiler."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.rtp.errors import KernelsUnavailable
from sipgw.rtp.kernels import library
from sipgw.rtp.kernels.columns import CAPACITY, SLOTS, new_calls
from sipgw.rtp.kernels.jitter import put_packets, reset, take_frames
from sipgw.rtp.kernels.object_file import ObjectFile
from sipgw.rtp.kernels.reception import count_packets

ROWS = 3
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "count"]),
        st.integers(0, ROWS - 1),
        st.integers(0, 0xFFFFFFFF) | st.integers(0, 40).map(lambda n: n * 80) | st.integers(0, 20_000),
        st.sampled_from([80, 100, 160, 240, 480]),
        st.booleans(),
    ),
    max_size=60,
)


class Memory:
    """The arrays that kernels work on: one set for compiled kernels, one for the same source as Python."""

    def __init__(self, *, compiled):
        self.calls = new_calls(ROWS)
        for call in self.calls:
            reset(call["jitter"], 0)
        self.rings = np.full((ROWS, CAPACITY), 0xFF, np.uint8)
        self.filled = np.zeros((ROWS, SLOTS), np.int16)
        self.results = []
        self._way = (lambda kernel: kernel) if compiled else (lambda kernel: kernel.function)

    def step(self, number, what, row, value, length, flag):
        rows = np.array([row])
        if what == "put":
            data = np.full((1, length), number % 251, np.uint8)
            headers = np.array([[number if value % 3 else value & 0xFFFF, value, flag]], np.int64)
            self._way(put_packets)(self.calls, self.rings, self.filled, rows, headers, data, number * 80)
        elif what == "take":
            out, concealed = np.zeros((1, length // 80 * 80), np.uint8), np.zeros(1, np.bool_)
            self._way(take_frames)(self.calls, self.rings, self.filled, rows, out, concealed, number * 80)
            self.results += [out.tobytes(), bool(concealed[0])]
        else:
            counted = np.zeros(1, np.bool_)
            sequence, timed = np.array([value & 0xFFFF], np.uint16), np.array([flag])
            stamps = np.array([value], np.uint32), np.array([number * 160], np.uint32)
            self._way(count_packets)(self.calls, rows, sequence, *stamps, timed, counted)
            self.results.append(bool(counted[0]))


@settings(max_examples=150, deadline=None)
@given(steps)
def test_compiled_and_as_python_kernels_leave_the_same_bytes(todo):
    compiled, python = Memory(compiled=True), Memory(compiled=False)
    for number, step in enumerate(todo):
        compiled.step(number, *step)
        python.step(number, *step)
    assert compiled.results == python.results
    assert compiled.calls.tobytes() == python.calls.tobytes()
    assert compiled.rings.tobytes() == python.rings.tobytes()
    assert compiled.filled.tobytes() == python.filled.tobytes()


def test_a_process_that_calls_kernels_has_no_compiler():
    program = (
        "import sys\n"
        "from sipgw.rtp.kernels import library\n"
        "from sipgw.rtp.kernels.jitter import put_packets\n"
        "library.find(put_packets)\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules), 'a compiler was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_kernel_refuses_arrays_that_it_was_not_made_for():
    with pytest.raises(TypeError, match="put_packets"):
        put_packets.bind(np.zeros(ROWS, np.int64))
    with pytest.raises(TypeError, match="put_packets"):
        put_packets.bind(new_calls(ROWS), np.zeros((ROWS, 2 * CAPACITY), np.uint8)[:, ::2])


def test_where_the_cache_cannot_be_written_machine_code_goes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert library.writable_cache().parent == tmp_path


def test_machine_code_that_others_may_have_written_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "built_in", lambda _: tmp_path / "not there")
    folder = library.writable_cache()
    (folder / f"{library.digest('sipgw.rtp.kernels')}.o").touch()
    assert library.existing("sipgw.rtp.kernels").parent == folder
    folder.chmod(0o777)
    assert library.existing("sipgw.rtp.kernels") != folder


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(100), b"no machine code at all"])
def test_a_file_without_machine_code_is_an_error_that_says_so(content):
    with pytest.raises(KernelsUnavailable, match="no ELF file"):
        ObjectFile(content)
