"""The servers that people run, from their public images: the oldest Redis that we promise, today's, Valkey.

Skipped where there is no docker, or no such image; the other tests have a real Redis too, this machine's.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from docker.errors import APIError
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from sipgw.runtime.patience import patient
from sipgw.store import Script, Store, partition_key

HAS_DOCKER = "DOCKER_HOST" in os.environ or os.access("/var/run/docker.sock", os.W_OK)
testcontainers_config.ryuk_disabled = True  # `finally` stops the container, without its image
PORT = 6379
WRITE = Script("write", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")


@contextmanager
def running(image: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """Run a server of that image; yield its host and port."""
    container = DockerContainer(image).with_command(" ".join(arguments)).with_exposed_ports(PORT)
    images = container.get_docker_client().client.images
    try:
        _ = images.list(name=image) or images.pull(image)
    except APIError as error:
        pytest.skip(f"{image} can't be had: {error}")
    container.start()
    try:
        yield container.get_container_host_ip(), int(container.get_exposed_port(PORT))
    finally:
        container.stop()


@pytest.mark.skipif(not HAS_DOCKER, reason="no docker here")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("image", ["redis:6.2-alpine", "redis:8-alpine", "valkey/valkey:8-alpine"])
async def test_scripts_time_and_secrets_work_on(image: str) -> None:
    with running(image, "--requirepass", "hush") as (host, port):
        store = await Store.connect(f"redis://:hush@{host}:{port}/0")
        try:
            async with asyncio.timeout(patient(15)):
                while not store.is_reachable:  # noqa: ASYNC110 - polls what has no event
                    await asyncio.sleep(0.02)
            key = partition_key(7, "x")
            assert await store.run(WRITE, [key], ["1"]) == b"1"
            assert await store.command("GET", key) == b"1"
            assert len(await store.shared_secret("s")) == 32
            assert store.epoch is not None
        finally:
            await store.aclose()
