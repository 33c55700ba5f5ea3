"""The source of the images' bills of materials: dpkg's records, also for files copied without dpkg."""

import runpy
from pathlib import Path
from typing import Any

import pytest

DOCKER = Path(__file__).parents[1] / "docker"
SBOM = runpy.run_path(str(DOCKER / "sbom.py"))
REDIS_ROOT = runpy.run_path(str(DOCKER / "redis_root.py"))
DAEMON, LIBRARY = "/usr/bin/redis-server", "/lib/libssl.so.3"


def record(name: str, version: str, status: str = "install ok installed") -> str:
    return f"Package: {name}\nStatus: {status}\nVersion: {version}\nArchitecture: amd64\nDescription: x\n y\n"


@pytest.fixture
def dpkg(tmp_path: Path) -> Path:
    """Make records of three packages; /lib is /usr/lib, and the library's package lists the latter."""
    for path in ("usr/bin", "usr/lib", "info"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    files = {
        "redis-server": [DAEMON],
        "libssl3:amd64": ["/usr" + LIBRARY],
        "other": ["/opt/libssl.so.3", "/usr/bin/other"],
    }
    for package, names in files.items():
        lines = [f"{tmp_path}{name}\n" for name in ["", *names]]
        (tmp_path / "info" / f"{package}.list").write_text("".join(lines))
    for name in (DAEMON, "/usr" + LIBRARY):
        Path(f"{tmp_path}{name}").touch()
    records = [record("redis-server", "5:7.0"), record("libssl3", "3.0.1"), record("other", "1")]
    (tmp_path / "status").write_text("\n".join(records))
    return tmp_path


def versions(components: list[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one["version"] for one in components}


def test_copied_files_bring_the_records_of_their_packages_and_of_no_other(dpkg: Path) -> None:
    owners = REDIS_ROOT["owners"]([Path(f"{dpkg}{DAEMON}"), Path(f"{dpkg}{LIBRARY}")], dpkg)
    assert owners == {"redis-server", "libssl3"}
    assert REDIS_ROOT["records"](owners, dpkg)["libssl3"] == record("libssl3", "3.0.1")


def test_the_bill_names_what_was_put_on_the_base_and_its_version_of_what_both_have(dpkg: Path) -> None:
    (dpkg / "status").write_text(
        "\n".join([record("libssl3", "3.0.1"), record("gone", "1", "deinstall ok config-files")])
    )
    (dpkg / "status.d").mkdir()
    for name, version in (("redis-server", "5:7.0"), ("libssl3", "3.0.2")):
        (dpkg / "status.d" / name).write_text(record(name, version))
    components = SBOM["debian_components"](dpkg)
    assert versions(components) == {"libssl3": "3.0.2", "redis-server": "5:7.0"}
    assert components[-1]["purl"] == "pkg:deb/debian/redis-server@5:7.0?arch=amd64"


def test_python_is_named_where_it_is_no_package_of_debian() -> None:
    (python,) = SBOM["python_components"]("/usr/local", "3.11.14")
    assert (python["name"], python["purl"]) == ("python", "pkg:generic/python@3.11.14")
    assert SBOM["python_components"]("/usr", "3.11.2") == []
