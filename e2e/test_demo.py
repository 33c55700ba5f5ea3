"""`sipgw demo` does what README says, and fails when it does not."""

import re
import struct
import wave
from pathlib import Path

import pytest
from gatewaykit.up import Up

from sipgw.runtime.patience import patient
from sipgw.store.testing import RedisServer

pytestmark = pytest.mark.system


async def test_the_demo_shows_a_call_and_leaves_recording_and_picture(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    status, output = await Up(tmp_path).command("demo", "--out", str(out))
    # A busy machine skips frames that come late, and the demo says so: everything else has to be well.
    is_late = patient(1.0) > 1.0 and re.search(r"^failed +only \d+ of \d+ frames", output, re.MULTILINE)
    assert status == (1 if is_late else 0), output
    (recording,) = (out / "recordings").glob("*.wav")
    for shown in (
        r"answer time +\d+ ms",
        r"packets +\d{3} sent, \d+ received, 0 lost",
        r"echo latency +p50 \d+ ms, p99 \d+ ms",
        r"keys +pressed 159#, heard by the bot 159#",
        rf"recording +{re.escape(str(recording))} \(stereo",
        rf"picture +{re.escape(str(out / 'call.png'))}",
        r"failed +only" if is_late else r"all is well, in \d+\.\d s",
    ):
        assert re.search(shown, output), f"no {shown!r} in:\n{output}"
    with wave.open(str(recording)) as file:
        assert file.getnchannels() == 2
        assert file.getnframes() / file.getframerate() > 4
    assert png_size(out / "call.png") == (1430, 682)


def png_size(path: Path) -> tuple[int, int]:
    """Read width and height in pixels from the first chunk."""
    signature, chunk, width, height = struct.unpack(">8s4x4sII", path.read_bytes()[:24])
    assert (signature, chunk) == (b"\x89PNG\r\n\x1a\n", b"IHDR")
    return width, height


@pytest.mark.slow
async def test_a_redis_that_is_named_in_the_environment_has_the_demos_call(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with RedisServer(tmp_path) as redis:
        up.environment["SIPGW_REDIS_URL"] = redis.url
        status, output = await up.command("demo", "--out", str(tmp_path / "demo"))
        assert status == 0, output
        assert "redis runs" not in output
        assert b"sipgw:" in redis.ask(b"KEYS sipgw:*")


@pytest.mark.slow
async def test_a_bot_that_hears_nothing_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys sent with another payload type are not heard, and the demo must say so."""
    breaking = tmp_path / "breaking"
    breaking.mkdir()
    (breaking / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'demo' in sys.argv:\n"
        "    from sipgw.rtp import telephone_event\n"
        "    telephone_event.DIGITS = telephone_event.DIGITS[::-1]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(breaking))
    status, output = await Up(tmp_path).command("demo", "--out", str(tmp_path / "demo"))
    assert status == 1, output
    assert "keys pressed were 159#, the bot heard" in output
