"""KubeClient against a server that answers as an apiserver does."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from sipgw.operator.errors import KubeAway, KubeConflict, KubeError, KubeForbidden
from sipgw.operator.kube_client import Credentials, KubeClient


class Apiserver:
    """Answers by path; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self.token = "Bearer one"
        self.address = ""
        self.expires = 0

    def page(self, token: str) -> dict[str, Any]:
        """Three pages; the second is refused `expires` times."""
        start = int(token or 0)
        more = {"continue": str(start + 1)} if start < 2 else {}
        return {"metadata": more, "items": [{"metadata": {"name": f"n{start}"}, "status": "large"}]}

    async def answer(self, request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "")
        self.asked.append((request.method, request.path_qs, kind, await request.text()))
        if request.headers.get("Authorization") != self.token:
            return web.json_response({"message": "who are you"}, status=401)
        match request.path:
            case "/found":
                return web.json_response({"items": [{"metadata": {"name": "a"}}], "kind": "List"})
            case "/paged" if self.expires and "continue" in request.query:
                self.expires -= 1
                return web.json_response({"message": "expired"}, status=410)
            case "/paged":
                return web.json_response(self.page(request.query.get("continue", "")))
            case "/taken":
                return web.json_response({"message": "exists"}, status=409)
            case "/forbidden":
                return web.json_response({"message": "no right"}, status=403)
            case "/broken":
                return web.Response(text="<html>", status=502)
            case "/nonsense":
                return web.Response(text="<html>")
            case _:
                return web.json_response({"message": "not here"}, status=404)


@pytest.fixture
async def apiserver() -> AsyncIterator[Apiserver]:
    server = Apiserver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(apiserver: Apiserver) -> AsyncIterator[KubeClient]:
    tokens = iter(["Bearer one", "Bearer two"])
    made = KubeClient(lambda: Credentials(apiserver.address, {"Authorization": next(tokens)}))
    yield made
    await made.aclose()


async def test_what_is_not_there_is_none_and_a_list_of_nothing(client: KubeClient) -> None:
    assert await client.get("/missing") is None
    assert await client.list("/missing") == []
    await client.delete("/missing")


async def test_a_list_gives_its_items_and_asks_by_label(client: KubeClient, apiserver: Apiserver) -> None:
    assert await client.list("/found", labels="a=b,c=d") == [{"metadata": {"name": "a"}}]
    assert apiserver.asked[-1][1] == "/found?limit=100&labelSelector=a=b,c=d"


async def test_a_list_comes_by_pages_of_which_only_what_is_read_is_kept(
    client: KubeClient, apiserver: Apiserver
) -> None:
    assert await client.list("/paged", read=lambda body: body["metadata"]["name"]) == ["n0", "n1", "n2"]
    assert [path for _, path, _, _ in apiserver.asked] == [
        "/paged?limit=100",
        "/paged?limit=100&continue=1",
        "/paged?limit=100&continue=2",
    ]


async def test_a_list_that_expired_between_its_pages_begins_anew(
    client: KubeClient, apiserver: Apiserver
) -> None:
    apiserver.expires = 1
    names = await client.list("/paged", read=lambda body: body["metadata"]["name"])
    assert names == ["n0", "n1", "n2"]
    apiserver.expires = 100
    with pytest.raises(KubeError, match="expire"):
        await client.list("/paged")


async def test_a_patch_is_a_merge_patch(client: KubeClient, apiserver: Apiserver) -> None:
    await client.merge("/found", {"spec": {"replicas": 2}})
    assert apiserver.asked[-1] == (
        "PATCH",
        "/found",
        "application/merge-patch+json",
        '{"spec": {"replicas": 2}}',
    )


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/taken", KubeConflict, "exists"),
        ("/forbidden", KubeForbidden, "no right"),
        ("/broken", KubeError, "<html>"),
        ("/nonsense", KubeAway, "JSONDecodeError"),
    ],
)
async def test_an_error_has_its_kind_and_the_servers_words(
    client: KubeClient, path: str, kind: type[KubeError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await client.create(path, {})


async def test_nobody_there_is_away() -> None:
    client = KubeClient(lambda: Credentials("http://127.0.0.1:9"))
    with pytest.raises(KubeAway):
        await client.get("/found")
    await client.aclose()


async def test_a_token_that_is_no_longer_taken_is_read_anew(client: KubeClient, apiserver: Apiserver) -> None:
    await client.get("/found")
    apiserver.token = "Bearer two"
    with pytest.raises(KubeForbidden):
        await client.get("/found")
    assert await client.get("/found") is not None


async def test_a_token_is_read_anew_each_minute(apiserver: Apiserver) -> None:
    now, read = [0.0], []

    def log_in() -> Credentials:
        read.append(now[0])
        return Credentials(apiserver.address, {"Authorization": apiserver.token})

    clock: Callable[[], float] = lambda: now[0]  # noqa: E731 - a clock is a value here
    client = KubeClient(log_in, monotonic=clock)
    for now[0] in (10.0, 50.0, 61.0, 100.0):
        await client.get("/found")
    assert read == [0.0, 61.0]
    await client.aclose()
