"""`sipgw demo` does what README promises, and notices when it does not."""

import wave
from pathlib import Path

import pytest
from gatewaykit.up import Up

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


async def test_the_demo_shows_a_call_and_leaves_recording_and_picture(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    status, output = await Up(tmp_path).command("demo", "--out", str(out))
    assert status == 0, output
    for words in ("answered", "echo latency", "p50", "p99", "heard by the bot 159#", "all is well"):
        assert words in output
    (recording,) = (out / "recordings").glob("*.wav")
    with wave.open(str(recording)) as file:
        assert file.getnchannels() == 2
        assert file.getnframes() / file.getframerate() > 4
    assert (out / "call.png").read_bytes().startswith(b"\x89PNG")


async def test_a_bot_that_hears_nothing_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that are pressed with packets of another payload type are not heard: the demo must say so."""
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
