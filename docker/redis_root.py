"""redis_root.py DEST: Redis of Debian and the libraries it loads, as a tree to put on the base image."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

SERVER, CLIENT = Path("/usr/bin/redis-server"), Path("/usr/bin/redis-cli")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")

if not SERVER.exists():  # a base from a registry: apt is there
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "redis-server"], check=True)
loader = LOADER if LOADER.exists() else next(Path("/lib").glob("ld-linux-*"))
for program in (SERVER, CLIENT):
    shown = subprocess.run([str(loader), "--list", str(program)], check=True, capture_output=True, text=True)
    for path in [program, *map(Path, re.findall(r"=> (/\S+)", shown.stdout))]:
        target = Path(sys.argv[1] + str(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
