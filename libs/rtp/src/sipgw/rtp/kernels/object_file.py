"""ObjectFile: loads the machine code of an ELF object file (x86-64 or aarch64) into this process.

A linker's work for files of one kind: code of the large code model, which names few functions of the C
library and no data but constants. Nothing is needed for it but the file: neither numba nor LLVM, nor a
linker.
"""

import ctypes
import mmap
import struct
from dataclasses import dataclass
from typing import Final

from sipgw.rtp.errors import KernelsUnavailable

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQq")
_SYMBOLS, _RELOCATIONS, _WITHOUT_BYTES = 2, 4, 8  # types of sections
_ALLOCATED: Final = 2
_UNDEFINED: Final = 0
_X86_64, _AARCH64 = 62, 183
_ABSOLUTE: Final = {(_X86_64, 1), (_AARCH64, 257)}
_RELATIVE: Final = {(_X86_64, 24), (_AARCH64, 260)}
"""Both of 64 bits, as a machine and a type."""
_AARCH64_JUMP, _AARCH64_CALL = 282, 283
_AARCH64_MOVE_SHIFTS: Final = {263: 0, 264: 0, 265: 16, 266: 16, 267: 32, 268: 32, 269: 48}
"""For relocations of MOVZ and MOVK: which 16 bits of the address they take."""
_AARCH64_STUB: Final = bytes.fromhex("5000005800021fd6")  # ldr x16, .+8; br x16; the address follows


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    flags: int
    offset: int
    size: int
    info: int
    link: int
    alignment: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    section: int
    value: int


class ObjectFile:
    """The loaded code. It stays in memory for the process's life. Raises KernelsUnavailable."""

    def __init__(self, content: bytes) -> None:
        if content[:6] != b"\x7fELF\x02\x01":
            raise KernelsUnavailable(
                "the object file of kernels is no ELF file: delete it, and it is made anew"
            )
        header = _HEADER.unpack_from(content)
        self._machine, first, count = header[2], header[6], header[12]
        self._content = content
        self._sections = [self._section(first + number * _SECTION.size) for number in range(count)]
        self._symbols = self._read_symbols()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._places: dict[int, int] = {}
        """The address in memory of each section."""
        self._externals: dict[str, int] = {}
        """The address in memory of the stub of each symbol."""
        self._memory = mmap.mmap(-1, self._lay_out(), prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._fill()
        executable = self._libc.mprotect(
            ctypes.c_void_p(self._base), ctypes.c_size_t(len(self._memory)), mmap.PROT_READ | mmap.PROT_EXEC
        )
        if executable != 0:
            raise KernelsUnavailable(
                f"the system allows no new machine code (mprotect: error {ctypes.get_errno()}): allow it for "
                "this process, or set NUMBA_DISABLE_JIT=1 to run the kernels, slowly, as Python"
            )

    def address(self, name: str) -> int:
        """Return the address of a function. Raises LookupError for a name that the file lacks."""
        for symbol in self._symbols:
            if symbol.name == name and symbol.section != _UNDEFINED:
                return self._base + self._places[symbol.section] + symbol.value
        raise LookupError(f"no {name} in the object file")

    def _section(self, offset: int) -> _Section:
        _, kind, flags, _, at, size, link, info, alignment, _ = _SECTION.unpack_from(self._content, offset)
        return _Section(kind, flags, at, size, info, link, max(alignment, 1))

    def _read_symbols(self) -> list[_Symbol]:
        table = next(each for each in self._sections if each.kind == _SYMBOLS)
        names = self._sections[table.link].offset
        found: list[_Symbol] = []
        for offset in range(table.offset, table.offset + table.size, _SYMBOL.size):
            name, _, _, section, value, _ = _SYMBOL.unpack_from(self._content, offset)
            end = self._content.index(b"\0", names + name)
            found.append(_Symbol(self._content[names + name : end].decode(), section, value))
        return found

    def _lay_out(self) -> int:
        """Give every section that is needed, and every stub, its place; return the size of all."""
        size = 0
        for number, section in enumerate(self._sections):
            if section.flags & _ALLOCATED and section.size:
                size = -(-size // section.alignment) * section.alignment
                self._places[number] = size
                size += section.size
        for symbol in self._symbols:
            if symbol.section == _UNDEFINED and symbol.name:
                size = -(-size // 16) * 16
                self._externals[symbol.name] = size
                size += 16
        return max(size, 1)

    def _fill(self) -> None:
        for number, place in self._places.items():
            section = self._sections[number]
            if section.kind != _WITHOUT_BYTES:
                end = section.offset + section.size
                self._memory[place : place + section.size] = self._content[section.offset : end]
        if self._machine == _AARCH64:
            for name, place in self._externals.items():
                stub = _AARCH64_STUB + struct.pack("<Q", self._external(name))
                self._memory[place : place + 16] = stub
        for section in self._sections:
            if section.kind == _RELOCATIONS and section.info in self._places:
                for offset in range(section.offset, section.offset + section.size, _RELOCATION.size):
                    at, info, addend = _RELOCATION.unpack_from(self._content, offset)
                    self._relocate(self._places[section.info] + at, info, addend)

    def _relocate(self, place: int, info: int, addend: int) -> None:
        """Write the address that the code or data at `place` refers to."""
        kind, symbol = info & 0xFFFFFFFF, self._symbols[info >> 32]
        target = addend + (
            self._external(symbol.name)
            if symbol.section == _UNDEFINED
            else self._base + self._places[symbol.section] + symbol.value
        )
        if (self._machine, kind) in _ABSOLUTE:
            struct.pack_into("<Q", self._memory, place, target)
            return
        if (self._machine, kind) in _RELATIVE:
            struct.pack_into("<q", self._memory, place, target - self._base - place)
            return
        (instruction,) = struct.unpack_from("<I", self._memory, place)
        if self._machine == _AARCH64 and kind in _AARCH64_MOVE_SHIFTS:
            instruction |= (target >> _AARCH64_MOVE_SHIFTS[kind] & 0xFFFF) << 5
        elif self._machine == _AARCH64 and kind in {_AARCH64_JUMP, _AARCH64_CALL}:
            if symbol.section == _UNDEFINED:
                target = self._base + self._externals[symbol.name]
            instruction |= (target - self._base - place) >> 2 & 0x3FFFFFF
        else:
            raise KernelsUnavailable(
                f"relocations of type {kind} on machine {self._machine} are not known here"
            )
        struct.pack_into("<I", self._memory, place, instruction)

    def _external(self, name: str) -> int:
        try:
            function = getattr(self._libc, name)
        except AttributeError as error:
            raise KernelsUnavailable(f"the C library of this system has no {name}") from error
        return ctypes.cast(function, ctypes.c_void_p).value or 0
