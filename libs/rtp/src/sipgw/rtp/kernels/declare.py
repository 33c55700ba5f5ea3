"""`kernel` and `inlined`: the decorators of functions that are compiled to machine code.

A kernel is an entry: it is called from Python with whole arrays, and its parameters are declared, so that
nothing is inferred, and nothing compiled, while calls go on. An inlined function is called by kernels only,
for one call's record. Both are written in the part of Python that numba compiles, so that the same source
gives the same results as plain Python:

- a record's field is named literally (`jitter["head"]`)
- a field is read into an int64 before arithmetic that may wrap, and masked when it is written
- nothing is allocated: results go into arrays that the caller passes
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels import library

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Array:
    """A parameter that is a contiguous array."""

    dtype: npt.DTypeLike
    ndim: int = 1


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number: int64 or float64."""

    dtype: npt.DTypeLike


Parameter = Array | Number

INT: Final = Number(np.int64)
FLOAT: Final = Number(np.float64)
BYTES: Final = Array(np.uint8)
BYTES_2D: Final = Array(np.uint8, 2)


class Kernel:
    """A compiled function. It takes what the Python function takes and returns an int."""

    def __init__(self, function: Callable[..., int], parameters: Sequence[Parameter]) -> None:
        self.function = function
        self.parameters = tuple(parameters)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._native: Callable[..., int] | None = None

    def __call__(self, *arguments: Any) -> int:
        """Run it on these arrays and numbers."""
        return self.bind()(*arguments)

    def bind(self, *arrays: npt.NDArray[Any]) -> Callable[..., int]:
        """Return the kernel with its first parameters given: arrays that stay where they are."""
        if library.IS_PYTHON:
            return _Bound(self.function, arrays)
        if self._native is None:
            self._native = library.find(self)
        return _Native(self._native, self, arrays)


class _Bound:
    """A Python function with its first arguments given."""

    def __init__(self, function: Callable[..., int], arrays: Sequence[Any]) -> None:
        self._function, self._arrays = function, arrays

    def __call__(self, *arguments: Any) -> int:
        return int(self._function(*self._arrays, *arguments) or 0)


class _Native:
    """Machine code with its first arguments given. An array is its address and its lengths."""

    def __init__(
        self, native: Callable[..., int], kernel: Kernel, arrays: Sequence[npt.NDArray[Any]]
    ) -> None:
        self._native = native
        self._kept = arrays  # their memory must outlive the addresses
        self._first: list[Any] = []
        for array, parameter in zip(arrays, kernel.parameters, strict=False):
            self._first += _address(array, parameter, kernel.name)
        self._rest = kernel.parameters[len(arrays) :]
        self._name = kernel.name
        self._has_arrays = any(isinstance(parameter, Array) for parameter in self._rest)

    def __call__(self, *arguments: Any) -> int:
        if not self._has_arrays:
            return self._native(*self._first, *arguments)
        flat = self._first.copy()
        for argument, parameter in zip(arguments, self._rest, strict=True):
            if isinstance(parameter, Array):
                flat += _address(argument, parameter, self._name)
            else:
                flat.append(argument)
        return self._native(*flat)


def _address(array: npt.NDArray[Any], parameter: Parameter, name: str) -> tuple[Any, ...]:
    """Return an array's address and lengths. Raises TypeError for one that the kernel was not made for."""
    if (
        not isinstance(parameter, Array)
        or array.dtype != parameter.dtype
        or array.ndim != parameter.ndim
        or not array.flags.c_contiguous
    ):
        raise TypeError(f"{name} takes {parameter}, not {array.dtype} of {array.ndim} dimensions")
    if array.size and array.flags.writeable:
        # A seventh of the time that `array.ctypes.data` takes, which makes objects, some of them in circles.
        memory: Any = array
        return (ctypes.addressof(ctypes.c_char.from_buffer(memory)), *array.shape)
    return (array.ctypes.data, *array.shape)


_registered: dict[str, Kernel] = {}
_compiled: list[Callable[[Any], Any]] = []
_externals: list[Callable[[str, Any, Any], Any]] = []


def kernel(*parameters: Parameter) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare an entry with these parameters."""

    def declared(function: Callable[..., Any]) -> Kernel:
        entry = _registered[f"{function.__module__}.{function.__qualname__}"] = Kernel(function, parameters)
        return entry

    return declared


def inlined(function: Function) -> Function:
    """Declare a function that kernels call."""
    return cast("Function", _compiled[0](function)) if _compiled else function


def external(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of the C library, of these `ctypes`; an array's address is `array.ctypes`.

    Kernels find it by its symbol; as Python it is called through ctypes.
    """
    if _compiled:
        return _externals[0](name, result, arguments)
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype, function.argtypes = result, arguments
    return function


def compile_with(compiler: Callable[[Any], Any], externals: Callable[[str, Any, Any], Any]) -> None:
    """Have functions declared from now on compiled: for the process that makes the object file."""
    _compiled.append(compiler)
    _externals.append(externals)


def is_compiling() -> bool:
    """Return whether this is the process that makes object files."""
    return bool(_compiled)


def entries(package: str) -> dict[str, Kernel]:
    """Return the kernels declared in a package's modules, by their full names."""
    return {name: entry for name, entry in _registered.items() if name.startswith(f"{package}.")}
