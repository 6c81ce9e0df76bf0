"""Secrets planted in the environments of a cloud, and the search for them wherever somebody else could read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

NAMES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "WANDB_API_KEY")
API = ("/api/jobs/", "/nodes?view=summary", "/nodes?view=details", "/nodes?view=hostNameList", "/logical/actors",
       "/api/cluster_status", "/api/cluster_metadata", "/api/v0/logs", "/events", "/api/serve/applications/",
       *(f"/api/v0/{kind}?detail=1&limit=1000" for kind in ("actors", "jobs", "nodes", "workers", "tasks", "objects",
                                                            "placement_groups", "runtime_envs", "cluster_events")))
"""What a dashboard can be asked."""


class Planted:
    """Whose secrets there are, and where they were seen."""

    def __init__(self, *people: str) -> None:
        self.of = {whose: {name: f"planted{secrets.token_hex(8)}{whose}" for name in NAMES} for whose in people}
        self.seen: list[str] = []

    def search(self, where: str, content: bytes) -> None:
        """Note whether a secret stands there."""
        self.seen += [f"{whose}'s {name}: {where}" for whose, found in self.of.items()
                      for name, value in found.items() if value.encode() in content]

    def search_folder(self, whose: str, folder: Path) -> None:
        """Look into all files of a machine."""
        for place, _, names in os.walk(folder):
            for path in (Path(place) / name for name in names):
                with suppress(OSError):  # Ray removes files meanwhile.
                    if path.is_file() and not path.is_symlink():
                        self.search(f"{whose}:{path.relative_to(folder)}", path.read_bytes())
