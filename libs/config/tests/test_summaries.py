import json

import pytest

from sipgw.config import load_documents
from sipgw.config.summaries import auth_in_words, bots_in_words, match_in_words


def test_the_columns_of_the_example_say_what_it_does(example: str):
    documents = load_documents(example)
    support, rest = documents.routes
    assert match_in_words(support) == r"trunk carrier, to +49*, from ~\+?\d{5,15}, X-Queue support"
    assert bots_in_words(support) == "support-bot.bots.svc:9090 90%, support-bot-canary.bots.svc:9090 10%"
    assert (match_in_words(rest), bots_in_words(rest)) == ("any call", "builtin:echo")
    assert [auth_in_words(trunk) for trunk in documents.trunks] == [
        "203.0.113.0/24, 2001:db8:5::/48",
        "digest office-pbx",
    ]


@pytest.mark.parametrize(
    ("cidrs", "words"), [([], "any source"), (["::1", "::2", "::3", "::4"], "::1, ::2 and 2 more")]
)
def test_many_sources_are_counted(cidrs: list[str], words: str):
    head = "apiVersion: sipgw.io/v1alpha1\nkind: SipTrunk\nmetadata: {name: a}\n"
    (trunk,) = load_documents(f"{head}spec: {{sourceCidrs: {json.dumps(cidrs)}}}\n").trunks
    assert auth_in_words(trunk) == words
