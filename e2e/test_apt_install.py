"""scripts/apt-install.sh against an apt-get of the test's own: nothing is installed here."""

import os
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[1] / "scripts" / "apt-install.sh"
_LOCKED = 'echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt)" >&2; exit 100'


def _install(folder: Path, apt_get: str) -> subprocess.CompletedProcess[str]:
    """Run the script as root would, with these lines as its apt-get; $calls is a file that they may write."""
    calls = folder / "calls"
    calls.touch()
    programs = {"apt-get": f"calls={calls}\necho $* >>$calls\n{apt_get}", "id": "echo 0", "sleep": "exit 0"}
    for name, lines in programs.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{lines}\n")
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [_SCRIPT, "a-package"], env=environment, capture_output=True, text=True, timeout=50, check=False
    )


def test_the_lists_lock_of_another_apt_is_waited_for(tmp_path: Path) -> None:
    done = _install(tmp_path, f"[ $(wc -l <$calls) -gt 3 ] || {{ {_LOCKED}; }}")
    assert (done.returncode, done.stderr) == (0, "")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[-1] for line in calls] == ["update"] * 4 + ["a-package"]
    assert all("DPkg::Lock::Timeout=300" in line for line in calls)


def test_a_lock_that_is_never_released_is_named(tmp_path: Path) -> None:
    done = _install(tmp_path, _LOCKED)
    assert done.returncode == 1
    assert "could not install a-package" in done.stderr
    assert "held by process 1" in done.stderr


def test_the_words_of_apt_are_shown_when_it_fails(tmp_path: Path) -> None:
    done = _install(
        tmp_path, '[[ $* = *update ]] || { echo "E: Unable to locate package a-package"; exit 100; }'
    )
    assert done.returncode == 1
    assert "Unable to locate package a-package" in done.stderr
