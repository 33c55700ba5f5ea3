"""A Lua script as a value: its source and the digest that EVALSHA takes."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A script for `Store.run`. Only commands of Redis 6.2; all keys under one hash tag."""

    name: str
    source: str
    is_repeatable: bool = False
    """Whether running it twice equals running it once: then it may be sent again after a lost connection."""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)
