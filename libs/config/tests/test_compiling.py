import pytest

from sipgw.api.config.v1 import config_pb2 as pb
from sipgw.config import SealKey, builtin_documents, compile_config, load_documents, unseal_password

KEY = SealKey(b"k" * 32)

# Fields that the registry sets, and fields that only a cluster or a later part sets.
NOT_FROM_DOCUMENTS = {"epoch", "version"}


def unset_fields(message: object, path: str = "") -> list[str]:
    """Paths of fields at their zero value, anywhere below."""
    unset = []
    for field in message.DESCRIPTOR.fields:  # type: ignore[attr-defined]
        value = getattr(message, field.name)
        here = f"{path}{field.name}"
        if field.containing_oneof is not None and not message.HasField(field.name):  # type: ignore[attr-defined]
            continue
        if not value and field.name not in NOT_FROM_DOCUMENTS:
            unset.append(here)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            several = value if hasattr(value, "__len__") and not hasattr(value, "DESCRIPTOR") else [value]
            for index, one in enumerate(several):
                unset += unset_fields(one, f"{here}[{index}].")
    return unset


def test_every_field_of_the_config_can_be_said_in_documents(example: str):
    config = compile_config(load_documents(example), seal_key=KEY)
    del config.routes[1:]
    assert unset_fields(config) == [
        "trunks[0].digest[0].username",
        "trunks[0].digest[0].sealed_password",
        "trunks[0].digest[0].algorithms",
        "trunks[1].source_cidrs",
        "trunks[1].calls_per_second",
        "trunks[1].media[0].networks",
        "trunks[1].numbers[0].country_code",
        "trunks[1].numbers[0].national_prefix",
        "trunks[1].numbers[0].international_prefix",
        "routes[0].bots[0].tls",
    ]


@pytest.mark.parametrize("written", ["off", '"off"', "'off'"])
def test_symmetric_off_may_stand_without_quotes(written: str):
    trunk = f"""
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {{name: carrier}}
spec: {{media: {{symmetric: {written}}}}}
"""
    (compiled,) = compile_config(load_documents(trunk)).trunks
    assert compiled.media.symmetric == pb.SYMMETRIC_MEDIA_OFF


def test_the_example_compiles_to_what_it_says(example: str):
    config = compile_config(load_documents(example), seal_key=KEY)
    assert config.gateway == pb.GatewaySettings(
        name="sipgw",
        codecs=[pb.AUDIO_CODEC_PCMU, pb.AUDIO_CODEC_PCMA],
        ptime_ms=20,
        max_calls=1000,
        max_call_seconds=14400,
        recording_directory="/var/lib/sipgw/recordings",
        advertised_addresses={"node-a": "198.51.100.8"},
        drain_deadline_seconds=60,
        drain_grace_seconds=600,
    )
    assert [(trunk.name, list(trunk.source_cidrs)) for trunk in config.trunks] == [
        ("carrier", ["203.0.113.0/24", "2001:db8:5::/48"]),
        ("office", []),
    ]
    assert config.trunks[0].media == pb.TrunkMedia(
        symmetric=pb.SYMMETRIC_MEDIA_OFF, networks=["203.0.113.0/24", "198.51.100.64/26"]
    )
    assert config.trunks[1].media == pb.TrunkMedia(symmetric=pb.SYMMETRIC_MEDIA_AUTO)
    assert config.trunks[0].calls_per_second == 50
    assert config.trunks[0].numbers == pb.NumberPlan(
        country_code="49", national_prefix="0", international_prefix="00"
    )
    assert not config.trunks[1].HasField("numbers")
    assert config.trunks[1].digest.username == "office-pbx"
    assert list(config.trunks[1].digest.algorithms) == [pb.DIGEST_ALGORITHM_SHA256]
    assert unseal_password(config.trunks[1], KEY) == b"correct horse battery staple"
    route = config.routes[0]
    assert (route.name, route.priority) == ("support-de", 10)
    assert (route.answer, route.playout) == (pb.ANSWER_MODE_IMMEDIATE, pb.PLAYOUT_LIVE)
    assert (route.on_bot_finished, route.protocol) == (pb.ON_BOT_FINISHED_KEEP, pb.BOT_PROTOCOL_TRUNK)
    assert route.audio == pb.BotAudio(codec=pb.BOT_CODEC_PCM16, rate_hz=16000, frame_ms=20)
    assert (route.bot_ready_timeout_ms, route.bot_silent_after_ms, route.bot_reconnect_limit_ms) == (
        3000,
        15000,
        20000,
    )
    assert route.on_bot_lost == pb.ON_BOT_LOST_END
    assert (route.early_media, route.record, route.no_bot_status) == (True, True, 503)
    assert list(route.headers_to_bot) == ["X-Customer"]
    assert route.max_calls == 200
    assert list(route.fallback_bots) == [
        pb.BotTarget(endpoint="overflow-bot.bots.svc:9090", weight=1, tls=True)
    ]
    assert route.match.to.prefix == "+49"
    assert getattr(route.match, "from").regex == r"\+?\d{5,15}"
    assert route.match.headers[0] == pb.HeaderMatch(name="X-Queue", value=pb.StringMatch(exact="support"))


def test_the_defaults_are_stated_in_the_config():
    (route,) = compile_config(builtin_documents()).routes
    assert (route.answer, route.playout) == (pb.ANSWER_MODE_BOT_READY, pb.PLAYOUT_QUEUED)
    assert (route.on_bot_finished, route.protocol) == (pb.ON_BOT_FINISHED_HANGUP, pb.BOT_PROTOCOL_UNSPECIFIED)
    assert route.audio == pb.BotAudio(codec=pb.BOT_CODEC_PCMU, rate_hz=8000, frame_ms=20)
    assert (route.bot_ready_timeout_ms, route.bot_silent_after_ms, route.bot_reconnect_limit_ms) == (
        5000,
        0,
        10_000,
    )
    assert route.no_bot_status == 480


def route_text(name: str, priority: int) -> str:
    return (
        f"---\napiVersion: sipgw.io/v1alpha1\nkind: BotRoute\nmetadata: {{name: {name}}}\n"
        f"spec: {{priority: {priority}, bots: [{{endpoint: 'b:1'}}]}}\n"
    )


def test_routes_are_in_match_order_whatever_the_order_of_the_documents():
    routes = [("c", 0), ("a", 0), ("low", -5), ("high", 7), ("b", 0)]
    forward = compile_config(load_documents("".join(route_text(*route) for route in routes)))
    backward = compile_config(load_documents("".join(route_text(*route) for route in reversed(routes))))
    assert [route.name for route in forward.routes] == ["high", "a", "b", "c", "low"]
    assert forward == backward


def test_equal_documents_give_equal_configs_with_passwords_too(example: str):
    first, second = (compile_config(load_documents(example), seal_key=KEY) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_no_password_is_in_the_config(example: str):
    config = compile_config(load_documents(example), seal_key=KEY)
    assert b"correct horse" not in config.SerializeToString()


def test_a_password_needs_a_key(example: str):
    with pytest.raises(ValueError, match="'office' has a password"):
        compile_config(load_documents(example))


def test_the_address_that_documents_say_comes_before_the_one_found(example: str):
    found = {"node-a": "10.0.0.1", "node-b": "10.0.0.2"}
    config = compile_config(load_documents(example), seal_key=KEY, addresses=found)
    assert dict(config.gateway.advertised_addresses) == {"node-a": "198.51.100.8", "node-b": "10.0.0.2"}
