"""A how-to as a test runs it: its files, its commands in order, and the output that it shows.

A `yaml` block that begins with `# name.yaml` is that file. A `sh` block is run as it stands; one that begins
with `sipgw up` is left running. A `text` block right after a command shows lines of its output, each of them
another line: spaces don't matter, "…" is anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path

HOW_TOS = Path(__file__).parents[3] / "docs" / "how-to"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^## (.*)\n", re.MULTILINE)
UP = ".venv/bin/sipgw up"


@dataclass(frozen=True)
class Step:
    """A command, and the lines of output that the page shows."""

    section: str
    command: str
    shown: tuple[str, ...]

    def check(self, output: str) -> None:
        """Check that every line shown is in the output, each as a line of its own."""
        printed = [" ".join(line.split()) for line in output.splitlines()]
        for line in self.shown:
            pattern = ".*".join(re.escape(part.strip()) for part in " ".join(line.split()).split("…"))
            found = next((one for one in printed if re.search(pattern, one)), None)
            assert found is not None, f"no {line!r} in:\n{output}"
            printed.remove(found)


@dataclass(frozen=True)
class HowTo:
    """One document."""

    files: dict[str, str]
    steps: tuple[Step, ...]

    @classmethod
    def read(cls, name: str) -> "HowTo":
        text = (HOW_TOS / f"{name}.md").read_text("utf-8")
        files: dict[str, str] = {}
        steps: list[Step] = []
        for block in _BLOCK.finditer(text):
            language, content = block.groups()
            sections = _SECTION.findall(text, 0, block.start())
            if language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", content)):
                files[named[1]] = content
            elif language == "sh":
                steps.append(Step(sections[-1] if sections else "", content, ()))
            elif language == "text":
                last = steps.pop()
                steps.append(Step(last.section, last.command, (*last.shown, *content.splitlines())))
        return cls(files, tuple(steps))

    def steps_of(self, *sections: str) -> list[Step]:
        """Return the steps of these sections in order; none if the document has no such section."""
        return [step for step in self.steps if step.section in sections]

    def write(self, directory: Path) -> None:
        for name, content in self.files.items():
            (directory / name).write_text(content, "utf-8")
