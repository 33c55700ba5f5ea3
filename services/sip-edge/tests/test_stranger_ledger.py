"""Budgets and bans of strangers, in virtual time."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip_edge.guard.bans import Ban, BanList
from sipgw.sip_edge.guard.budgets import Rate, SourceBudget
from sipgw.sip_edge.guard.ledger import Kind, StrangerLedger
from sipgw.sip_edge.guard.sources import Networks, read_source, source_of
from sipgw.sip_edge.limits import BanLimits, StrangerLimits

STRANGER = "203.0.113.7"


class Ledger(StrangerLedger):
    """A ledger with a config, and the bans that it announced."""

    def __init__(self, limits: StrangerLimits | None = None, trusted: tuple[str, ...] = ()) -> None:
        self.announced: list[tuple[Ban, Kind]] = []
        super().__init__(
            limits or StrangerLimits(), Networks(trusted), lambda *ban: self.announced.append(ban)
        )
        self.take_trunks((), 0.0, asks_passwords=False)


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("what", "what"),
    ],
)
def test_a_source_is_an_ipv4_address_or_a_64_of_ipv6(host: str, source: str) -> None:
    assert source_of(host) == source


@pytest.mark.parametrize("text", ["203.0.113.7", "203.0.113.7/32", "2001:db8:1:2::9", "2001:db8:1:2::/64"])
def test_a_source_is_read_as_an_address_or_as_it_is_shown(text: str) -> None:
    assert read_source(text) == source_of(text.partition("/")[0])


@pytest.mark.parametrize("text", ["203.0.113.0/24", "2001:db8::/48", "pbx", "", "1.2.3.4/x"])
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_source(text)


ADDRESSES = st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None)


@given(ADDRESSES, st.lists(st.tuples(ADDRESSES, st.integers(0, 32)), max_size=4))
def test_networks_hold_what_is_in_one_of_them(address, parts) -> None:
    networks = [ipaddress.ip_network(part, strict=False) for part in parts]
    assert (address in Networks(map(str, networks))) == any(address in network for network in networks)


def test_the_31st_request_within_two_seconds_bans_and_the_30_before_do_not() -> None:
    ledger = Ledger()
    assert all(ledger.note(STRANGER, Kind.INVITE, number * 0.06) for number in range(30))
    assert ledger.ban_of(STRANGER, 1.79) is None
    assert not ledger.note(STRANGER, Kind.OPTIONS, 1.8)
    ban = ledger.ban_of(STRANGER, 1.8)
    assert ban is not None
    assert (ban.since, ban.until) == (1.8, 61.8)
    assert "30 in 2 s" in ban.reason
    assert "OPTIONS" in ban.reason
    assert [(one.source, kind) for one, kind in ledger.announced] == [(STRANGER, Kind.OPTIONS)]


def test_fifteen_a_second_go_on_for_ever() -> None:
    ledger = Ledger()
    assert all(ledger.note(STRANGER, Kind.INVITE, number / 15 + 1e-6 * number) for number in range(10_000))


def test_one_source_never_costs_another() -> None:
    ledger = Ledger()
    for _ in range(31):
        ledger.note(STRANGER, Kind.INVITE, 0.0)
    assert ledger.ban_of(STRANGER, 0.0) is not None
    assert ledger.ban_of("203.0.113.8", 0.0) is None
    assert ledger.note("203.0.113.8", Kind.INVITE, 0.0)


def test_addresses_of_one_64_share_a_budget_and_a_ban() -> None:
    ledger = Ledger()
    for number in range(31):
        ledger.note(f"2001:db8:1:2::{number:x}", Kind.INVITE, 0.0)
    assert ledger.ban_of("2001:db8:1:2:ffff::1", 0.0) is not None
    assert ledger.ban_of("2001:db8:1:3::1", 0.0) is None


def test_a_trusted_address_is_not_banned_with_its_64() -> None:
    ledger = Ledger(trusted=("2001:db8:1:2::1/128",))
    for _ in range(31):
        ledger.note("2001:db8:1:2::2", Kind.INVITE, 0.0)
    assert ledger.ban_of("2001:db8:1:2::3", 0.0) is not None
    assert ledger.ban_of("2001:db8:1:2::1", 0.0) is None


def test_a_ban_doubles_up_to_the_longest_and_is_forgotten_after_a_while() -> None:
    limits = BanLimits(first_s=60, longest_s=200, forgotten_s=1000)
    bans, now, lengths = BanList(limits), 0.0, []
    for _ in range(4):
        ban = bans.ban(STRANGER, "", now)
        lengths.append(ban.until - ban.since)
        assert bans.of(STRANGER, ban.until - 0.001) is ban
        assert bans.of(STRANGER, ban.until) is None
        now = ban.until + 999
    assert lengths == [60, 120, 200, 200]
    again = bans.ban(STRANGER, "", now + 1)
    assert again.until - again.since == 60


def test_what_is_lifted_begins_anew() -> None:
    ledger = Ledger()
    for _ in range(31):
        ledger.note(STRANGER, Kind.INVITE, 0.0)
    assert ledger.lift(STRANGER, 1.0)
    assert not ledger.lift(STRANGER, 1.0)
    assert all(ledger.note(STRANGER, Kind.INVITE, 1.0) for _ in range(30))
    assert not ledger.note(STRANGER, Kind.INVITE, 1.0)
    ban = ledger.ban_of(STRANGER, 1.0)
    assert ban is not None
    assert ban.until - ban.since == 60


def test_trusted_networks_and_those_of_trunks_are_exempt_and_nobody_else() -> None:
    ledger = Ledger(trusted=("127.0.0.1", "::1"))
    ledger.take_trunks(["203.0.113.0/24", "2001:db8:1:2::9"], 0.0, asks_passwords=False)
    for host in ("127.0.0.1", "::1", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8:1:2::9"):
        assert ledger.is_exempt(host, 0.0), host
    for host in ("127.0.0.2", "198.51.100.7", "2001:db8:1:2::8"):
        assert not ledger.is_exempt(host, 0.0), host


def test_a_source_that_comes_into_a_trunk_is_no_longer_banned_and_one_that_leaves_is_exempt_no_more() -> None:
    ledger = Ledger()
    for _ in range(31):
        ledger.note(STRANGER, Kind.INVITE, 0.0)
    ledger.take_trunks(["203.0.113.0/24"], 1.0, asks_passwords=False)
    assert ledger.is_exempt(STRANGER, 1.0)
    assert ledger.ban_of(STRANGER, 1.0) is None
    ledger.take_trunks([], 2.0, asks_passwords=False)
    assert not ledger.is_exempt(STRANGER, 2.0)


def test_nobody_is_judged_before_the_config_says_who_is_known() -> None:
    ledger = StrangerLedger(StrangerLimits(), Networks(), lambda *_: None)
    assert ledger.is_exempt(STRANGER, 0.0)
    ledger.take_trunks([], 0.0, asks_passwords=False)
    assert not ledger.is_exempt(STRANGER, 0.0)


def test_a_right_password_exempts_its_source_for_ten_minutes_and_lifts_its_ban() -> None:
    ledger = Ledger()
    for _ in range(31):
        ledger.note(STRANGER, Kind.INVITE, 0.0)
    ledger.note_proof(STRANGER, 5.0)
    assert ledger.is_exempt(STRANGER, 5.0 + 599.9)
    assert not ledger.is_exempt(STRANGER, 5.0 + 600)
    assert not ledger.is_exempt("203.0.113.8", 5.0)
    assert ledger.ban_of(STRANGER, 605.0) is None


def test_strays_have_a_budget_of_their_own() -> None:
    """An honest caller that is refused sends an ACK for each INVITE."""
    ledger = Ledger()
    for _ in range(30):
        assert ledger.note(STRANGER, Kind.INVITE, 0.0)
        assert ledger.note(STRANGER, Kind.STRAY, 0.0)
    assert all(ledger.note(STRANGER, Kind.STRAY, 0.0) for _ in range(90))
    assert not ledger.note(STRANGER, Kind.STRAY, 0.0)


def test_strangers_together_are_a_crowd_above_their_rate() -> None:
    ledger = Ledger(StrangerLimits(together_per_s=100))
    for number in range(100):
        assert not ledger.is_crowded(0.0)
        ledger.note(f"198.51.100.{number}", Kind.INVITE, 0.0)
    assert ledger.is_crowded(0.0)
    assert not ledger.is_crowded(0.02)


def test_200_000_sources_take_no_more_room_than_there_is() -> None:
    limits = StrangerLimits(most_sources=1000, bans=BanLimits(most=500), together_per_s=1e9)
    ledger = Ledger(limits)
    for number in range(200_000):
        host = f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1"
        ledger.is_exempt(host, 0.0)
        ledger.note(host, Kind.MALFORMED, 0.0)
        ledger.note(host, Kind.STRAY, 0.0)
        if number % 20 == 0:
            ledger.note_proof(host, 0.0)
            ledger.bans.ban(host, "", 0.0)
    held = (ledger._hosts, ledger._requests, ledger._strays, ledger._proofs)
    assert sum(len(one) for one in held) <= 16_384 + 3 * 1000
    assert len(ledger.bans.in_force(0.0)) == 500


def test_the_sources_heard_last_are_those_remembered() -> None:
    budget = SourceBudget(count=2, period_s=2.0, most_sources=2)
    for source in ("a", "b", "a", "c"):
        assert budget.spend(source, 0.0)
    assert not budget.spend("a", 0.0)
    assert budget.spend("b", 0.0)


@given(st.lists(st.floats(0, 1), max_size=200))
def test_a_budget_is_exact(pauses: list[float]) -> None:
    """The budget allows as many as an oracle that counts all times of the last period."""
    budget, now, kept = SourceBudget(count=5, period_s=2.0, most_sources=1), 0.0, list[float]()
    for pause in pauses:
        now += pause
        kept = [at for at in kept if at > now - 2.0] + [now]
        assert budget.spend("a", now) == (len(kept) <= 5)
        if len(kept) > 5:
            kept = []


@given(st.lists(st.floats(0, 1), max_size=300))
def test_a_rate_gives_its_burst_and_then_no_more_than_its_rate(pauses: list[float]) -> None:
    rate, now, taken = Rate(10, 20), 0.0, 0
    for pause in pauses:
        now += pause
        taken += rate.take(now)
    assert taken <= 20 + 10 * now + 1e-6
