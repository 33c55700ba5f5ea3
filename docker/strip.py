"""Remove from a base image the tools that install software: pip and the like. Our own base has none."""

import shutil
import sysconfig
from pathlib import Path

_GONE = ("pip", "setuptools", "wheel", "ensurepip")

for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")}:
    for name in _GONE:
        for path in [Path(folder, name), *Path(folder).glob(f"{name}-*.dist-info")]:
            shutil.rmtree(path, ignore_errors=True)
for name in ("pip", "wheel"):
    for path in Path(sysconfig.get_path("scripts")).glob(f"{name}*"):
        path.unlink()
