"""`python -m sipgw.rtp.kernels.compile PACKAGE[=PATH]...`: compile packages of kernels into object files.

Without a path a file goes beside its package, for an installation that can't write a cache. Run by `library`,
in a process of its own: numba takes a second and 100 MB.
"""

import ctypes
import functools
import gc
import importlib
import os
import pkgutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from sipgw.rtp.kernels import declare, library

_OPTIONS: Final[dict[str, Any]] = {
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    # Nobody calls a function from Python, and nothing is counted: nothing is allocated.
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}


def main() -> None:
    """Compile the packages that the command line names. What they share is translated once."""
    # numba would optimise each function for itself, with all that it calls: two thirds of the time, in vain,
    # since the whole is optimised at the end.
    os.environ |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    os.environ |= {"NUMBA_DISABLE_JIT": "0", "NUMBA_OPT": "0"}
    gc.disable()  # what numba makes stays
    for argument in sys.argv[1:]:
        package, _, path = argument.partition("=")
        target = Path(path) if path else library.built_in(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_compile(package))


def _compile(package: str) -> bytes:
    """Return the object file of every kernel in the package's modules."""
    import llvmlite.binding
    import numba

    llvm: Any = llvmlite.binding
    if not declare.is_compiling():
        declare.compile_with(numba.njit(**_OPTIONS), functools.partial(_external, numba.types))
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.name != "compile":
            importlib.import_module(f"{package}.{module.name}")
    whole = llvm.parse_assembly("")
    for name, entry in declare.entries(package).items():
        whole.link_in(llvm.parse_assembly(_module_of(numba, entry, library.symbol(name))))
    _keep_only(whole, {library.symbol(name) for name in declare.entries(package)})
    # A loader needs to know few kinds of relocations where every address is absolute.
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu="generic", opt=3, reloc="static", codemodel="large"
    )
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, tuning)
    for _ in range(2):  # the first pass shows that no function raises, the second drops what would handle it
        passes.getModulePassManager().run(whole, passes)
    whole.verify()
    return machine.emit_object(whole)


def _keep_only(module: Any, symbols: set[str]) -> None:
    """Make all functions but these local to the module, so that they may be inlined and dropped."""
    for function in module.functions:
        if not function.is_declaration and function.name not in symbols:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"


def _external(types: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    """Return a function of the C library for numba."""
    known = {
        ctypes.c_void_p: types.voidptr,
        ctypes.c_int: types.intc,
        ctypes.c_size_t: types.uintp,
        ctypes.c_ssize_t: types.intp,
        ctypes.POINTER(ctypes.c_int): types.CPointer(types.intc),
    }
    return types.ExternalFunction(name, known[result](*(known[argument] for argument in arguments)))


def _module_of(numba: Any, entry: declare.Kernel, symbol: str) -> str:
    """Return the LLVM assembly of one kernel, under a C name and with C arguments."""
    names: list[str] = []
    types: list[Any] = []
    arguments: list[str] = []
    for number, parameter in enumerate(entry.parameters):
        own = f"a{number}"
        element = numba.from_dtype(np.dtype(parameter.dtype))
        if isinstance(parameter, declare.Array):
            lengths = [f"{own}_{axis}" for axis in range(parameter.ndim)]
            names += [own, *lengths]
            types += [numba.types.CPointer(element)] + [numba.int64] * parameter.ndim
            arguments.append(f"array({own}, ({', '.join(lengths)},))")
        else:
            names.append(own)
            types.append(element)
            arguments.append(own)
    # What numba.carray uses: that itself would count references to the array.
    arrays: Any = importlib.import_module("numba.np.arrayobj")
    array = arrays.get_cfarray_intrinsic("C", None)
    scope = {"array": array, "function": numba.njit(**_OPTIONS)(entry.function)}
    source = f"def entry({', '.join(names)}):\n    return function({', '.join(arguments)})\n"
    exec(source, scope)
    make = numba.cfunc(numba.int64(*types), nopython=True, error_model="numpy", _nrt=False)
    compiled = make(scope["entry"])
    assembly: str = compiled.inspect_llvm()
    return assembly.replace(f"@{compiled.native_name}(", f"@{symbol}(")


if __name__ == "__main__":
    main()
