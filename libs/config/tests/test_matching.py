from collections import Counter

import pytest

from sipgw.api.config.v1 import config_pb2 as pb
from sipgw.config import choose_bot, match_route, match_trunk, rank_bots
from sipgw.config.matching import shadowed_routes, vouched_networks


class Headers:
    def __init__(self, **values: list[str]) -> None:
        self._values = values

    def get_all(self, name: str) -> list[str]:
        return self._values.get(name.lower().replace("-", "_"), [])


NO_HEADERS = Headers()


def trunks(**cidrs: list[str]) -> pb.GatewayConfig:
    return pb.GatewayConfig(trunks=[pb.Trunk(name=name, source_cidrs=nets) for name, nets in cidrs.items()])


def trunk_of(config: pb.GatewayConfig, source: str) -> str | None:
    trunk = match_trunk(config, source)
    return trunk.name if trunk else None


@pytest.mark.parametrize(
    ("source", "trunk"),
    [
        ("203.0.113.9", "narrow"),
        ("203.0.113.200", "wide"),
        ("203.0.114.1", "rest"),
        ("::ffff:203.0.113.9", "narrow"),
        ("2001:db8::7", "six"),
        ("2001:db9::7", "rest"),
        ("no-address", "rest"),
    ],
)
def test_the_longest_network_wins_and_a_trunk_without_takes_the_rest(source: str, trunk: str):
    config = trunks(
        rest=[], wide=["198.51.100.0/24", "203.0.113.0/24"], narrow=["203.0.113.0/28"], six=["2001:db8::/32"]
    )
    assert trunk_of(config, source) == trunk


@pytest.mark.parametrize(
    ("cidrs", "is_any"),
    [
        ([], True),
        (["0.0.0.0/0"], True),
        (["::/0"], True),
        (["203.0.113.0/24", "0.0.0.0/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["203.0.113.0/24", "2001:db8::/32"], False),
        (["0.0.0.0/1"], False),
        (["::ffff:0:0/96"], False),
    ],
    ids=str,
)
def test_a_trunk_of_any_source_vouches_for_nobody(cidrs: list[str], is_any: bool):
    found = vouched_networks(trunks(it=cidrs, carrier=["198.51.100.7"]))
    assert sorted(found) == sorted(["198.51.100.7", *([] if is_any else cidrs)])


def test_a_trunk_with_a_password_vouches_for_no_network():
    config = trunks(pbx=[])
    config.trunks[0].digest.username = "alice"
    assert vouched_networks(config) == []


def test_an_unknown_source_has_no_trunk():
    assert trunk_of(trunks(carrier=["203.0.113.0/24"]), "192.0.2.1") is None
    assert trunk_of(trunks(carrier=["203.0.113.7"]), "203.0.113.7") == "carrier"
    assert trunk_of(pb.GatewayConfig(), "192.0.2.1") is None


def test_a_trunk_of_every_address_beats_one_without_networks():
    assert trunk_of(trunks(rest=[], all=["0.0.0.0/0"]), "192.0.2.1") == "all"
    assert trunk_of(trunks(first=[], second=[]), "192.0.2.1") == "first"


def routes(**matches: pb.RouteMatch) -> pb.GatewayConfig:
    return pb.GatewayConfig(routes=[pb.Route(name=name, match=match) for name, match in matches.items()])


def route_of(
    config: pb.GatewayConfig,
    to: str = "",
    from_: str = "",
    trunk: str = "carrier",
    headers: Headers = NO_HEADERS,
) -> str | None:
    route = match_route(config, pb.Trunk(name=trunk), to, from_, headers)
    return route.name if route else None


def test_the_first_route_that_holds_takes_the_call():
    config = routes(
        exact=pb.RouteMatch(to=pb.StringMatch(exact="100")),
        prefix=pb.RouteMatch(to=pb.StringMatch(prefix="1")),
        regex=pb.RouteMatch(to=pb.StringMatch(regex=r"2\d{2}")),
        all=pb.RouteMatch(),
    )
    assert [route_of(config, to) for to in ("100", "101", "200", "2000", "")] == [
        "exact",
        "prefix",
        "regex",
        "all",
        "all",
    ]


def test_every_condition_has_to_hold():
    config = routes(
        strict=pb.RouteMatch(
            trunks=["carrier", "pbx"],
            to=pb.StringMatch(prefix="1"),
            **{"from": pb.StringMatch(exact="alice")},
        )
    )
    assert route_of(config, "1", "alice") == "strict"
    assert route_of(config, "1", "alice", trunk="pbx") == "strict"
    assert route_of(config, "1", "alice", trunk="other") is None
    assert route_of(config, "2", "alice") is None
    assert route_of(config, "1", "bob") is None


def test_one_header_of_several_is_enough_and_all_names_are_needed():
    config = routes(
        both=pb.RouteMatch(
            headers=[
                pb.HeaderMatch(name="X-Queue", value=pb.StringMatch(exact="a")),
                pb.HeaderMatch(name="X-Lang", value=pb.StringMatch(regex="(?i)de(-.*)?")),
            ]
        )
    )
    assert route_of(config, headers=Headers(x_queue=["b", "a"], x_lang=["DE-at"])) == "both"
    assert route_of(config, headers=Headers(x_queue=["b"], x_lang=["de"])) is None
    assert route_of(config, headers=Headers(x_queue=["a"])) is None


def test_a_call_of_no_trunk_takes_only_routes_for_any():
    config = routes(some=pb.RouteMatch(trunks=["carrier"]), any=pb.RouteMatch())
    route = match_route(config, None, "", "", NO_HEADERS)
    assert route is not None
    assert route.name == "any"


def bots(**weights: int) -> pb.Route:
    return pb.Route(bots=[pb.BotTarget(endpoint=name, weight=weight) for name, weight in weights.items()])


def chosen(route: pb.Route, seed: str) -> str:
    bot = choose_bot(route, seed)
    assert bot is not None
    return bot.endpoint


def test_shares_follow_the_weights():
    counts = Counter(chosen(bots(a=1, b=3, c=6, off=0), f"call-{number}") for number in range(10_000))
    assert {name: pytest.approx(count, rel=0.1) for name, count in counts.items()} == {
        "a": 1000,
        "b": 3000,
        "c": 6000,
    }


def test_the_choice_is_the_calls_and_not_the_processes():
    assert [chosen(bots(a=1, b=1), seed) for seed in ("0f", "1e", "2d", "3c")] == [
        chosen(bots(b=1, a=1), seed) for seed in ("0f", "1e", "2d", "3c")
    ]


def test_a_bot_that_goes_moves_only_its_own_calls():
    for number in range(500):
        before = chosen(bots(a=1, b=2, c=3), f"call-{number}")
        if before != "b":
            assert chosen(bots(a=1, c=3), f"call-{number}") == before


def test_the_rank_names_the_next_bots():
    ranked = [bot.endpoint for bot in rank_bots(bots(a=1, b=2, c=3, off=0), "call")]
    assert sorted(ranked) == ["a", "b", "c"]
    without = [
        bot.endpoint
        for bot in rank_bots(bots(**{name: "abc".index(name) + 1 for name in ranked[1:]}), "call")
    ]
    assert without == ranked[1:]
    assert choose_bot(bots(off=0), "call") is None


def header(name: str, **value: str) -> pb.HeaderMatch:
    return pb.HeaderMatch(name=name, value=pb.StringMatch(**value))


TO_100, TO_1 = {"exact": "100"}, {"prefix": "1"}


@pytest.mark.parametrize(
    ("first", "second", "is_shadowed"),
    [
        ({}, {}, True),
        ({}, {"to": TO_100}, True),
        ({"to": TO_100}, {}, False),
        ({"to": TO_100}, {"to": TO_100}, True),
        ({"to": TO_1}, {"to": TO_100}, True),
        ({"to": TO_1}, {"to": {"prefix": "12"}}, True),
        ({"to": TO_100}, {"to": TO_1}, False),
        ({"to": TO_1}, {"to": {"regex": "1.*"}}, False),
        ({"to": {"regex": "1.*"}}, {"to": {"regex": "1.*"}}, True),
        ({"to": TO_100}, {"from": TO_100}, False),
        ({"from": TO_1}, {"from": TO_100, "to": TO_1}, True),
        ({"trunks": ["a", "b"]}, {"trunks": ["b"]}, True),
        ({"trunks": ["a"]}, {"trunks": ["a", "b"]}, False),
        ({"trunks": ["a"]}, {}, False),
        ({"headers": [header("X-Q", exact="1")]}, {"headers": [header("x-q", exact="1")]}, True),
        ({"headers": [header("X-Q", exact="1")]}, {}, False),
        ({}, {"headers": [header("X-Q", exact="1")]}, True),
    ],
)
def test_a_route_whose_calls_another_takes_before_it_is_shadowed(
    first: dict[str, object], second: dict[str, object], is_shadowed: bool
):
    config = routes(first=route_match(**first), second=route_match(**second))
    assert shadowed_routes(config) == ({"second": "first"} if is_shadowed else {})


def route_match(**conditions: object) -> pb.RouteMatch:
    return pb.RouteMatch(
        **{  # type: ignore[arg-type]
            name: pb.StringMatch(**value) if isinstance(value, dict) else value
            for name, value in conditions.items()
        }
    )
