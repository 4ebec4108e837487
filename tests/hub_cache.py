"""A repository of the hub as its client keeps it on disk, for tests without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


def keep(folder: Path, home: Path, name: str) -> dict[str, str]:
    """Put a folder where a download of the repository would have left it.

    hub/models--owner--name/refs/main              the revision
    hub/models--owner--name/snapshots/REVISION/    links by the files' names
    hub/models--owner--name/blobs/                 their contents

    Args:
        folder: What the repository holds.
        home: The client's folder, HF_HOME.
        name: owner/name.

    Returns:
        The environment in which the client looks there, and nowhere else.
    """
    kept = home / "hub" / f"models--{name.replace('/', '--')}"
    for part in ("refs", "blobs"):
        (kept / part).mkdir(parents=True, exist_ok=True)
    (kept / "refs/main").write_text(REVISION)
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        blob = kept / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = kept / "snapshots" / REVISION / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
