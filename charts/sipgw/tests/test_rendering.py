"""The chart renders the same each time, with a cluster or without, as GitOps tools need."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from golden import CASES
from rendering import CHART, named, render, render_text

from sipgw.store import Store
from sipgw.store.testing import redis_executable

CHANGING = (
    *(
        "rand[A-Z][A-Za-z]*",
        "gen[A-Z][A-Za-z]*",
        "derivePassword",
        "uuidv4",
        "htpasswd",
        "bcrypt",
        "encryptAES",
    ),
    *("now", "date[A-Za-z]*", "ago", "lookup", "getHostByName", "shuffle"),
    *(r"\.Release\.(?:Revision|IsInstall|IsUpgrade)", r"\.Capabilities"),
)
PASSWORDS = [
    "".join(map(chr, range(32, 127))),
    *("a/b?c#d@e", '"', "\\", "\\x41", "'", " ", "--save", "%s", "{{ . }}", "$(X)", "ünï ☃", "yes", "0x1"),
]


@pytest.mark.parametrize("case", CASES)
def test_two_renderings_are_the_same_to_the_byte(case: str) -> None:
    values = ("--values", str(CHART / "ci" / f"{case}-values.yaml"))
    first = render_text(*values)
    assert first == render_text(*values)
    assert first == render_text(*values, "--is-upgrade")


@pytest.mark.parametrize("path", sorted(CHART.glob("templates/**/*.*")), ids=lambda path: path.name)
def test_no_template_draws_or_looks_anything_up(path: Path) -> None:
    actions = re.findall(r"\{\{-?(.*?)-?\}\}", path.read_text(), re.DOTALL)
    code = [re.sub(r'"(?:[^"\\]|\\.)*"', "", action) for action in actions if "/*" not in action]
    for function in CHANGING:
        assert not [one for one in code if re.search(rf"(?<![\w$.-]){function}(?![\w-])", one)], function


@contextmanager
def redis_of(directory: Path) -> Iterator[None]:
    """Start a Redis on the socket `s` that includes the piece of configuration from the Secret."""
    config = directory / "redis.conf"
    config.write_text(f"include {directory}/password.conf\nport 0\nunixsocket {directory}/s\nsave ''\n")
    command = [redis_executable(), str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("eady to accept" in line for line in process.stdout)
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("password", PASSWORDS)
async def test_redis_and_its_clients_read_the_same_password_of_any_characters(
    password: str, tmp_path: Path
) -> None:
    secret = named(render(values={"redis": {"password": password}}), "Secret", "sipgw-redis")
    for name, text in secret["stringData"].items():
        (tmp_path / name).write_text(text)
    with redis_of(tmp_path):
        store = await Store.connect(f"unix://{tmp_path}/s?password_file={tmp_path}/password")
        assert await store.command("PING") == b"PONG"
        await store.aclose()
