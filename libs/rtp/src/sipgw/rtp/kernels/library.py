"""The object files of kernels: found, or made once, and loaded. Only the making needs numba.

A package of kernels has one object file, named by the sources that it was made from. It is looked for beside
the package (`compiled/`, where images have it: a root file system may be read-only) and in the user's cache.
When it is in neither, another process makes it, so that the memory of the compiler does not stay.
"""

import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sipgw.rtp.errors import KernelsUnavailable
from sipgw.rtp.kernels.object_file import ObjectFile

if TYPE_CHECKING:
    from sipgw.rtp.kernels.declare import Kernel, Parameter

IS_PYTHON: Final = os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}
"""Whether kernels run as plain Python."""
_BASE: Final = "sipgw.rtp.kernels"
_KEPT: Final = 6
"""Object files of a package that stay in the cache: one for each checkout in use."""


def find(kernel: "Kernel") -> Callable[..., int]:
    """Return a kernel's machine code, to be called with the GIL held: a kernel never waits.

    Raises KernelsUnavailable.
    """
    package = kernel.function.__module__.rpartition(".")[0]
    address = _load(package).address(symbol(kernel.name))
    flat = [ctypes.c_int64, *(argument for parameter in kernel.parameters for argument in _flat(parameter))]
    return ctypes.PYFUNCTYPE(*flat)(address)


def prepare(package: str, on_compile: Callable[[], None]) -> None:
    """Load a package's kernels; call `on_compile` before they are compiled, which takes some ten seconds.

    Raises KernelsUnavailable.
    """
    if not IS_PYTHON:
        if existing(package) is None:
            on_compile()
        _load(package)


def symbol(name: str) -> str:
    """Return the name of a kernel's machine code."""
    return name.replace(".", "_")


def digest(package: str) -> str:
    """Return the name of a package's object file: a hash of the sources that it is made from."""
    told = hashlib.sha256(f"{platform.machine()} {platform.system()}".encode())
    for folder in dict.fromkeys((_folder(_BASE), _folder(package))):
        for path in sorted(folder.glob("*.py")):
            told.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return told.hexdigest()[:32]


def built_in(package: str) -> Path:
    """Return where a package has the object file that it was installed with."""
    return _folder(package) / "compiled" / f"{digest(package)}.o"


def _flat(parameter: "Parameter") -> list[Any]:
    ndim = getattr(parameter, "ndim", None)
    if ndim is not None:
        return [ctypes.c_void_p] + [ctypes.c_int64] * ndim
    return [ctypes.c_double if parameter.dtype is np.float64 else ctypes.c_int64]


@functools.cache
def _load(package: str) -> ObjectFile:
    return ObjectFile((existing(package) or _make(package)).read_bytes())


def existing(package: str) -> Path | None:
    """Return the package's object file, if a trusted one exists."""
    name = f"{digest(package)}.o"
    places = (built_in(package), *(folder / name for folder in _caches() if _is_ours(folder)))
    return next((path for path in places if path.is_file()), None)


def _make(package: str) -> Path:
    """Compile the package, unless another process just has. Raises KernelsUnavailable."""
    folder = writable_cache()
    path = folder / f"{digest(package)}.o"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            compile_to(package, path)
            for old in sorted(folder.glob("*.o"), key=lambda each: each.stat().st_mtime)[: -2 * _KEPT]:
                old.unlink()
    return path


def compile_to(package: str, path: Path) -> None:
    """Compile the package into an object file, in another process. Raises KernelsUnavailable."""
    made = path.with_suffix(".new")
    done = subprocess.run(
        [sys.executable, "-m", f"{_BASE}.compile", f"{package}={made}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KernelsUnavailable(
            f"the kernels of {package} could not be compiled: {done.stderr.strip().splitlines()[-1:]}; "
            "install numba for this Python, or set NUMBA_DISABLE_JIT=1 to run them, slowly, as Python"
        )
    made.replace(path)


def _caches() -> list[Path]:
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    beside = [] if home is None else [Path(home) / ("" if "XDG_CACHE_HOME" in os.environ else ".cache")]
    shared = Path(tempfile.gettempdir()) / f"sipgw-kernels-{os.getuid()}"
    return [*(folder / "sipgw" / "kernels" for folder in beside), shared]


def writable_cache() -> Path:
    """Return a folder of ours for object files."""
    for folder in _caches():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if _is_ours(folder) and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="sipgw-kernels-"))


def _is_ours(folder: Path) -> bool:
    """Return whether only this user can have put machine code there."""
    try:
        told = folder.stat()
    except OSError:
        return False
    return told.st_uid == os.getuid() and not told.st_mode & 0o022


@functools.cache
def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
