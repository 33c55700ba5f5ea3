"""Every file, however broken, gives documents or a ConfigError with a message."""

import random

from sipgw.config import ConfigError, SealKey, compile_config, load_documents

WORDS = [
    "null",
    "true",
    "-1",
    "1e9",
    "[]",
    "{}",
    "''",
    "x",
    "*a",
    "&a x",
    "!!int x",
    "~",
    "0x1f",
    "\t",
    ":",
    "- ",
    "#",
    "é",
]


def mutate(text: str, chance: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                head, colon, _ = lines[at].partition(":")
                lines[at] = f"{head}{colon} {chance.choice(WORDS)}"
            case 3:
                lines[at] = " " * chance.randint(0, 3) + lines[at]
            case _:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice(WORDS) + lines[at][place:]
        lines = lines or [""]
    return "\n".join(lines)


def test_mutated_documents_raise_nothing_else(example: str):
    chance = random.Random(3)
    loaded, refused = 0, list[ConfigError]()
    for _ in range(400):
        try:
            compile_config(load_documents(mutate(example, chance)), seal_key=SealKey(b"k" * 32))
            loaded += 1
        except ConfigError as error:
            refused.append(error)
    assert 0 < loaded < 400
    assert all(error.problems for error in refused)
    assert all(problem.found and problem.allowed for error in refused for problem in error.problems)
