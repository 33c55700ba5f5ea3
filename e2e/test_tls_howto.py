"""docs/how-to/tls.md: the certificates that its commands make carry a call."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewaykit.gateway import Gateway
from gatewaykit.phone import Phone

pytestmark = pytest.mark.system
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "tls.md"


@pytest.fixture
def gateway_of_the_page(tmp_path: Path) -> Iterator[Gateway]:
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shell = ["bash", "-euo", "pipefail", "-c", commands]
    subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True)
    gateway = Gateway(tmp_path, edges=1, relays=1, calls_per_relay=5, in_cluster=True).start()
    yield gateway
    gateway.kill()


async def test_the_certificates_of_the_how_to_carry_a_call(
    gateway_of_the_page: Gateway, phone: Phone
) -> None:
    gateway = gateway_of_the_page
    made = gateway.directory / "tls" / "ca.crt"
    assert gateway.tls_path("edge").joinpath("ca.crt").read_bytes() == made.read_bytes()
    call = await phone.call("builtin", gateway.sip())
    assert (await call.bye()).status == 200
