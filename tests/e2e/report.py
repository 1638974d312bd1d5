"""The figures of a run on a cluster, as a page: `build/cluster-report-<overlay>.md`."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.support import ROOT


class Report:
    """Collects figures, a table for each section."""

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._sections: dict[str, list[tuple[str, dict[str, float]]]] = {}

    def add(self, section: str, what: str, **figures: float) -> None:
        """Add a row to a section's table."""
        self._sections.setdefault(section, []).append((what, figures))

    def text(self) -> str:
        """The page."""
        lines = [f"# {self._cluster.overlay}, {datetime.date.today()}", "", self._versions(), ""]
        for section, rows in self._sections.items():
            names = list(rows[0][1])
            lines += [f"| {section} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
            lines += [f"| {what} | {' | '.join(f'{figures[n]:.3g}' for n in names)} |" for what, figures in rows]
            lines.append("")
        return "\n".join(lines)

    def _versions(self) -> str:
        version = json.loads(self._cluster.kubectl("version", "--output", "json").stdout)["serverVersion"]["gitVersion"]
        knative = self._cluster.get("configmap", "config-network", namespace="knative-serving")
        ingress = knative.get("data", {}).get("ingress-class", "the default one")
        return f"Kubernetes {version}, networking layer {ingress}, {os.cpu_count()} cores, Linux {platform.release()}."

    def write(self) -> Path:
        """Write the page."""
        path = ROOT / "build" / f"cluster-report-{self._cluster.overlay}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.text())
        return path
