"""Find what nobody uses, for `make dead`: vulture over the product alone, then over everything.

What only tests use is dead as well, so the tests and their kits do not count as users of the product.
"""

import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from vulture.core import Item, Vulture

PRODUCT = ("libs/*/src", "services/*/src", "operator/src", "sdk/python/src", "cli/src", "bench")
USERS = (*PRODUCT, "sdk/python/examples", "docker")
EVERYTHING = (*USERS, "libs/*/tests", "services/*/tests", "operator/tests", "sdk/python/tests", "cli/tests",
    "charts/sipgw/tests", "e2e", "testrun", "conftest.py")  # fmt: skip
KITS = ("libs/siptest/*", "*/testing.py", "*/testing/*", "*/tests/*", "e2e/*", "testrun/*", "conftest.py")
GENERATED = ("libs/api/*",)
DECORATORS = ["@pytest.*", "@model_validator", "@field_validator", "@asynccontextmanager"]

ALIVE = {
    # Called by a framework, by this name.
    "pytest_*": "hooks of pytest",
    "pytestmark": "read by pytest",
    "model_config": "read by pydantic",
    "__getattr__": "of a module, called by the interpreter (PEP 562)",
    "connection_made": "asyncio.Protocol",
    "datagram_received": "asyncio.DatagramProtocol",
    "error_received": "asyncio.DatagramProtocol",
    "Export": "a servicer's method: the name of the RPC",
    "on[A-Z]*": "callbacks of PJSIP",
    "visit_[A-Z]*": "methods of ast.NodeVisitor",
    "stream_unary": "a method of grpc.aio.Channel",
    "get_credentials_async": "redis.CredentialProvider",
    "nowait": "an argument of redis.Connection",
    "disable_decoding": "an argument of redis.Connection",
    "logger": "an argument of structlog's processors",
    # Set for others to read.
    "linkage": "of a function, read by LLVM",
    "boundAddress": "PJSIP's configuration",
    "idUri": "PJSIP's configuration",
    "consoleLevel": "PJSIP's configuration",
    "threadCnt": "PJSIP's configuration",
    "mainThreadOnly": "PJSIP's configuration",
    "noVad": "PJSIP's configuration",
    "ecTailLen": "PJSIP's configuration",
    "traced_bot": "a fixture that is asked for its effect",
    "stop_recording": "a command of the PJSIP client, called by its name",
    "is_of_this_version": "compared as a part of its tuple",
    "reported_lost": "a figure for those who hold CallStatistics",
    "showfspath": "a setting of pytest's reporter",
    "ryuk_disabled": "a setting of testcontainers",
    "bot_threads": "a figure of bench/soak.py, read by its name",
    "tick_ms": "a figure of bench/soak.py, read by its name",
    "gid": "a field of tarfile.TarInfo",
    "mtime": "a field of tarfile.TarInfo",
    "enabled": "a setting of kopf",
    "disabled": "a setting of kopf",
    "standalone": "a setting of kopf",
    "ultimate_exiting_timeout": "a setting of kopf",
    "observed_generation": "a field of a CRD's status",
    "last_transition_time": "a field of a CRD's status",
    "calls_now": "a field of a CRD's status",
    "CERT_MANAGER": "a value that the operator's command line parses",
    "_killing": "holds a task, of which asyncio keeps only a weak reference",
    # Named in a string.
    "_AioCall": "named in a cast",
    # The public interface of the SDK, and of the gateway's clients.
    "dropped_frames": "for the authors of bots",
    "play_raw": "for the authors of bots",
    "get_call": "the client of the RPC GetCall",
    # What only tests use, and has to stand in the product.
    "delete": "KubeClient: the end-to-end tests take away what they made",
    "transport_failed": "the transport error of RFC 3261 §17.1.4 and §17.2.4, an input of the state tables",
    "live_transactions": "tells a test that no transaction leaks",
    "take_fraction_lost": "the scalar reading that the columns are compared with",
}


def main() -> None:
    """Print dead code, and names that this list excuses without need."""
    product = [item for item in unused(USERS) if not is_in(item, KITS)]
    kits = [item for item in unused(EVERYTHING) if is_in(item, KITS)]
    found = [item for item in (*product, *kits) if not is_in(item, GENERATED)]
    names = [item.name for item in found]
    faults = [item.get_report() for item in found if not any(fnmatch(item.name, name) for name in ALIVE)]
    faults += [
        f"{Path(__file__).name}: {name} is used, or gone: take it off the list"
        for name in ALIVE
        if not any(fnmatch(found_name, name) for found_name in names)
    ]
    if faults:
        print(*faults, sep="\n")
        sys.exit("delete what is dead, or add it to ALIVE in scripts/dead_code.py with the reason")


def unused(patterns: Iterable[str]) -> Iterator[Item]:
    """Yield the names that no file under these paths uses."""
    vulture = Vulture(ignore_decorators=DECORATORS)
    vulture.scavenge([path for pattern in patterns for path in Path().glob(pattern)])
    yield from vulture.get_unused_code(min_confidence=60)


def is_in(item: Item, patterns: Iterable[str]) -> bool:
    """Say whether the item's file matches one of the patterns."""
    path = Path(item.filename).resolve().relative_to(Path.cwd())
    return any(fnmatch(str(path), pattern) for pattern in patterns)


if __name__ == "__main__":
    main()
