"""A Lua script as a value: its source and the digest that EVALSHA takes."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A script for `Store.run`. Only commands of Redis 6.2; all keys under one hash tag."""

    name: str
    source: str
    is_repeatable: bool = False
    """Whether running it twice does what running it once does: then a lost connection is no reason to give
    up.
    """
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)
