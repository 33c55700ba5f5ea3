"""The table that the run ends with: case, calls, lost, worst gap. Written to out/e2e/report.md."""

from dataclasses import dataclass, field
from pathlib import Path

from clusterkit.callers import Findings
from clusterkit.release import ROOT

PATH = ROOT / "out" / "e2e" / "report.md"


@dataclass
class Report:
    """Rows in the order in which cases ended."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, case: str, findings: Findings | None = None, note: str = "") -> None:
        if findings is None:
            self.rows.append((case, "", "", "", note))
        else:
            gap = f"{findings.worst_gap_ms:.0f} ms"
            self.rows.append((case, str(findings.calls), str(findings.lost), gap, note))

    def text(self) -> str:
        head = ("case", "calls", "lost", "worst gap", "note")
        widths = [max(len(row[i]) for row in [head, *self.rows]) for i in range(5)]
        lines = [head, tuple("-" * width for width in widths), *self.rows]
        return "".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
            for line in lines
        )

    def write(self, path: Path = PATH) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text())
