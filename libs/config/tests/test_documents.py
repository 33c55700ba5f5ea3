from pathlib import Path

import pytest

from sipgw.config import BUILTIN_ECHO, ConfigError, ConfigProblem, builtin_documents, complete, load_documents

ROUTE = """\
apiVersion: sipgw.io/v1alpha1
kind: BotRoute
metadata: {name: sales}
spec:
  bots: [{endpoint: "bot:9090"}]
"""
TRUNK = """\
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {name: carrier}
"""


def problems_of(*sources: Path | str) -> tuple[ConfigProblem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_documents(*sources)
    return caught.value.problems


def problem_of(text: str) -> ConfigProblem:
    (problem,) = problems_of(text)
    return problem


def test_a_small_route_has_the_defaults():
    documents = load_documents(ROUTE)
    (route,) = documents.routes
    assert (route.metadata.name, route.spec.answer, route.spec.playout) == ("sales", "bot-ready", "queued")
    assert route.spec.bots[0].weight == 1
    assert documents.gateway.spec.sip.port == 5060
    assert documents.trunks == ()


def test_the_example_of_the_reference_loads_and_says_everything(example: str):
    documents = load_documents(example)
    assert documents.gateway.spec.limits.max_calls == 1000
    assert [trunk.metadata.name for trunk in documents.trunks] == ["carrier", "office"]
    support, rest = documents.routes
    assert support.spec.match.from_ is not None
    assert support.spec.match.from_.regex == r"\+?\d{5,15}"
    assert support.spec.model_fields_set == set(type(support.spec).model_fields)
    assert rest.spec.bots[0].endpoint == BUILTIN_ECHO


def test_documents_come_from_several_files(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(f"---\n{ROUTE}---\n", "utf-8")
    (tmp_path / "b.yaml").write_text(f"# nothing\n---\n{TRUNK}", "utf-8")
    documents = load_documents(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert (len(documents.routes), len(documents.trunks)) == (1, 1)


def test_what_kubernetes_adds_is_passed_over():
    grown = ROUTE.replace(
        "{name: sales}", "{name: sales, namespace: x, uid: 1-2, labels: {a: b}, generation: 3}"
    )
    assert load_documents(grown + "status: {conditions: []}\n").routes


def test_nothing_at_all_is_every_call_to_the_echo_bot():
    documents = builtin_documents()
    assert [trunk.spec.source_cidrs for trunk in documents.trunks] == [[]]
    assert [route.spec.bots[0].endpoint for route in documents.routes] == [BUILTIN_ECHO]
    assert not documents.routes[0].spec.record
    recorded = builtin_documents("127.0.0.1:7000", recording_directory="/r")
    assert recorded.routes[0].spec.record
    assert recorded.routes[0].spec.bots[0].endpoint == "127.0.0.1:7000"
    assert recorded.gateway.spec.recording.directory == "/r"


def test_completing_adds_only_kinds_that_are_missing():
    documents = complete(load_documents(ROUTE), "127.0.0.1:7000")
    assert [route.metadata.name for route in documents.routes] == ["sales"]
    assert [trunk.metadata.name for trunk in documents.trunks] == ["any"]
    documents = complete(load_documents(TRUNK), "127.0.0.1:7000")
    assert [trunk.metadata.name for trunk in documents.trunks] == ["carrier"]
    assert documents.routes[0].spec.bots[0].endpoint == "127.0.0.1:7000"


def test_a_problem_reads_as_one_line_with_place_cause_and_cure(tmp_path: Path):
    path = tmp_path / "gateway.yaml"
    path.write_text(ROUTE + "  answer: bot_ready\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_documents(path)
    assert str(caught.value) == (
        f"{path}:6: spec.answer: found 'bot_ready'; allowed: bot-ready, immediate (did you mean bot-ready?)"
    )


@pytest.mark.parametrize(
    ("more", "line", "field", "found", "allowed", "hint"),
    [
        (
            "  anser: immediate",
            6,
            "spec.anser",
            "an unknown field",
            "priority, match",
            "did you mean answer?",
        ),
        (
            "  early_media: true",
            6,
            "spec.early_media",
            "an unknown field",
            "priority",
            "did you mean earlyMedia?",
        ),
        ("  playout: 5", 6, "spec.playout", "5 (a number)", "queued, live", ""),
        ("  record: 'yes'", 6, "spec.record", "'yes'", "true or false", ""),
        ("  record: 'true'", 6, "spec.record", "'true'", "true or false", "without quotes"),
        ("  priority: high", 6, "spec.priority", "'high'", "a whole number from -1000000 to 1000000", ""),
        ("  priority: 1.5", 6, "spec.priority", "1.5 (a number)", "a whole number", ""),
        ("  priority: true", 6, "spec.priority", "true (true or false)", "a whole number", ""),
        ("  priority:", 6, "spec.priority", "nothing", "a whole number", ""),
        ("  fallback: {status: 486}", 6, "spec.fallback.status", "486 (a number)", "480, 503", ""),
        ("  limits: 5", 6, "spec.limits", "5 (a number)", "fields maxCalls", ""),
        (
            "  limits:\n    botReadyTimeoutMs: 99",
            7,
            "spec.limits.botReadyTimeoutMs",
            "99",
            "from 100 to 60000",
            "",
        ),
        (
            "  match:\n    to: {}",
            7,
            "spec.match.to",
            "none of them",
            "exactly one of exact, prefix, regex",
            "",
        ),
        (
            "  match: {to: {exact: a, prefix: b}}",
            6,
            "spec.match.to",
            "exact and prefix",
            "exactly one of",
            "",
        ),
        (
            "  match: {to: {exact: 4930}}",
            6,
            "spec.match.to.exact",
            "4930 (a number)",
            "text",
            "put it in quotes",
        ),
        (
            "  match: {to: {exact: +49}}",
            6,
            "spec.match.to.exact",
            "+49 (a number)",
            "text",
            "put it in quotes",
        ),
        (
            "  match: {to: {exact: 2026-01-02}}",
            6,
            "spec.match.to.exact",
            "2026-01-02",
            "text",
            "put it in quotes",
        ),
        (
            "  match: {to: {regex: '(a+)+x'}}",
            6,
            "spec.match.to.regex",
            "too long",
            "a regular expression",
            "",
        ),
        (
            "  match: {to: {regex: '(a'}}",
            6,
            "spec.match.to.regex",
            "'(a': missing )",
            "a regular expression",
            "",
        ),
        ("  match: {to: [a]}", 6, "spec.match.to", "a list of 1", "fields exact, prefix, regex", ""),
        (
            "  match:\n    headers:\n    - value: {exact: a}",
            8,
            "spec.match.headers[0].name",
            "nothing",
            "header",
            "required",
        ),
        ("  headersToBot: [X-A, 'X B']", 6, "spec.headersToBot[1]", "'X B'", "a SIP header name", ""),
        ("  headersToBot: X-A", 6, "spec.headersToBot", "'X-A'", "a list of at most 32", ""),
        ("  audio: {rateHz: 16000}", 6, "spec.audio", "PCMU at 16000 Hz", "or codec PCM16", ""),
        ("  audio: {codec: OPUS}", 6, "spec.audio.codec", "'OPUS'", "PCMU, PCMA, PCM16", ""),
        (
            "  answer: immediate\n  answer: bot-ready",
            7,
            "spec.answer",
            "second time",
            "(first in line 6)",
            "",
        ),
        ("  ? [a]\n  : b", 6, "spec", "a key that is not text", "text", ""),
        ("  playout: !!python/name:os.system x", 6, "spec.playout", "tagged", "plain values", ""),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(
    more: str, line: int, field: str, found: str, allowed: str, hint: str
):
    problem = problems_of(f"{ROUTE}{more}\n")[0]
    assert (problem.line, problem.field) == (line, field)
    assert found in problem.found
    assert allowed in problem.allowed
    assert hint in problem.hint
    assert bool(hint) == bool(problem.hint)


@pytest.mark.parametrize(
    "endpoint",
    ["bot", "bot:0", "bot:70000", "bot:", ":9090", "http://bot:9090", "bot:9090/x", "builtin:ech", "[::1]"],
)
def test_what_is_no_endpoint_is_refused(endpoint: str):
    problem = problem_of(ROUTE.replace("bot:9090", endpoint))
    assert problem.field == "spec.bots[0].endpoint"
    assert "host:port" in problem.allowed


@pytest.mark.parametrize(
    "endpoint", ["bot:9090", "a.b-c.svc:1", "127.0.0.1:65535", "[::1]:9090", BUILTIN_ECHO]
)
def test_endpoints(endpoint: str):
    assert load_documents(ROUTE.replace("bot:9090", endpoint)).routes[0].spec.bots[0].endpoint == endpoint


@pytest.mark.parametrize("name", ["Sales", "-a", "a-", "a_b", "a" * 64, "''", "a.b"])
def test_what_is_no_name_is_refused(name: str):
    assert problem_of(ROUTE.replace("sales", name)).field == "metadata.name"


@pytest.mark.parametrize("cidr", ["203.0.113.5/24", "1.2.3", "::/129", "host"])
def test_what_is_no_network_is_refused(cidr: str):
    problem = problem_of(f'{TRUNK}spec: {{sourceCidrs: [203.0.113.0/24, "{cidr}"]}}\n')
    assert (problem.line, problem.field) == (4, "spec.sourceCidrs[1]")


@pytest.mark.parametrize(
    ("text", "line", "field", "found"),
    [
        ("just text", 1, "", "no map"),
        ("- a\n- b", 1, "", "no map"),
        ("\nkind: BotRoot", 2, "kind", "'BotRoot'"),
        ("\napiVersion: sipgw.io/v1alpha1", 2, "kind", "nothing"),
        ("kind: [BotRoute]", 1, "kind", "['BotRoute']"),
        ("a: [", 1, "", "not YAML"),
        ("a: b: c", 1, "", "not YAML"),
        ("a: \x00", 0, "", "not YAML"),
        ("a: *b", 1, "", "not YAML"),
    ],
)
def test_what_is_no_document_is_refused(text: str, line: int, field: str, found: str):
    problem = problem_of(text)
    assert (problem.line, problem.field) == (line, field)
    assert found in problem.found


def test_missing_parts_are_all_named():
    problems = problems_of("kind: BotRoute\n")
    assert [problem.field for problem in problems] == ["apiVersion", "metadata", "spec"]
    assert all(problem.found == "nothing" for problem in problems)


def test_problems_of_all_documents_and_files_come_at_once(tmp_path: Path):
    path = tmp_path / "b.yaml"
    path.write_text(f"{ROUTE}  anser: x\n  record: maybe\n---\n{TRUNK}spec: {{sourceCidrs: [x]}}\n", "utf-8")
    problems = problems_of("a: [", path, tmp_path / "absent.yaml")
    assert [(problem.file, problem.line) for problem in problems] == [
        ("<text>", 1),
        (str(path), 6),
        (str(path), 7),
        (str(path), 12),
        (str(tmp_path / "absent.yaml"), 0),
    ]


def test_a_file_of_other_bytes_is_a_problem_of_the_file(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\xff")
    (problem,) = problems_of(path)
    assert (problem.file, problem.allowed) == (str(path), "a file of UTF-8 text")


def test_names_are_unique_within_a_kind():
    same = ROUTE.replace("BotRoute", "SipTrunk").replace(
        '  bots: [{endpoint: "bot:9090"}]\n', "  sourceCidrs: []\n"
    )
    assert load_documents(f"{ROUTE}---\n{same}")
    problem = problem_of(f"{ROUTE}---\n{ROUTE}")
    assert (problem.line, problem.found) == (9, "a second BotRoute 'sales'")
    assert "first in <text>:3" in problem.allowed


def test_there_is_one_gateway():
    gateway = "apiVersion: sipgw.io/v1alpha1\nkind: SipGateway\nmetadata: {name: %s}\n"
    problem = problem_of(f"{gateway % 'one'}---\n{gateway % 'two'}")
    assert (problem.line, problem.found, problem.allowed) == (
        6,
        "a second SipGateway",
        "one SipGateway (one is there)",
    )


def test_a_route_names_trunks_that_there_are():
    route = f"{ROUTE}  match: {{trunks: [carrier, carier]}}\n"
    problem = problem_of(f"{route}---\n{TRUNK}")
    assert (problem.line, problem.field, problem.hint) == (6, "spec.match.trunks[1]", "did you mean carrier?")
    assert "there is no SipTrunk" in problems_of(route)[0].allowed


def test_documents_that_can_not_be_read_make_no_names_unknown():
    problem = problem_of(f"{ROUTE}  match: {{trunks: [carrier]}}\n---\n{TRUNK}spec: {{sourceCidrs: 5}}\n")
    assert problem.field == "spec.sourceCidrs"


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "a: &a [*a]",
        "[" * 30 + "]" * 30,
        "[" * 5000,
        "x" * 1_000_001,
    ],
)
def test_a_document_that_expands_without_end_is_refused(bomb: str):
    assert problem_of(bomb).allowed


def test_bots_need_a_weight():
    problem = problem_of(ROUTE.replace('"bot:9090"', '"bot:9090", weight: 0'))
    assert (problem.field, problem.found) == ("spec", "bots of weight 0 only")


def test_media_ports_need_an_order():
    head = "apiVersion: sipgw.io/v1alpha1\nkind: SipGateway\nmetadata: {name: a}\n"
    text = f"{head}spec:\n  rtp: {{firstPort: 30000}}\n"
    problem = problem_of(text)
    assert (problem.line, problem.field, problem.found) == (5, "spec.rtp", "30000 to 22399")


def test_relays_have_a_least_and_a_most():
    head = "apiVersion: sipgw.io/v1alpha1\nkind: SipGateway\nmetadata: {name: a}\nspec:\n"
    problem = problem_of(f"{head}  autoscaling: {{maxRelays: 1}}\n")
    assert (problem.field, problem.found) == ("spec.autoscaling", "minRelays 2, maxRelays 1")
    problem = problem_of(f"{head}  drain: {{deadlineSeconds: 700}}\n")
    assert (problem.field, problem.found) == ("spec.drain", "deadlineSeconds 700, graceSeconds 600")
