"""The artefact directory: what a tokenizer looks like on disk. No pickle is ever read.

config.json         shape of the model, with the format version
model.safetensors   weights and codebooks
statistics.json     per embodiment
embodiments.json    per embodiment: layout, frame rate, mapping
metadata.json       provenance: split, settings, figures
README.md           model card
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
from safetensors import SafetensorError

from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment
from rvq_action.layout import ActionLayout
from rvq_action.model import TokenizerModel
from rvq_action.model_card import model_card
from rvq_action.statistics import load_statistics, save_statistics

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer

CONFIG, WEIGHTS, STATISTICS = "config.json", "model.safetensors", "statistics.json"
EMBODIMENTS, METADATA, CARD = "embodiments.json", "metadata.json", "README.md"
REQUIRED = (CONFIG, WEIGHTS, STATISTICS, EMBODIMENTS, METADATA)


def save(tokenizer: ActionTokenizer, path: Path) -> None:
    """Write beside the target, then swap: a reader sees the old artefact or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and any(path.iterdir()) and not (path / CONFIG).exists():
        raise ValueError(f"{path} holds other files; choose an empty directory.")
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write(tokenizer, staging)
        staging.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(tokenizer: ActionTokenizer, path: Path) -> None:
    tokenizer.config.save(path / CONFIG)
    weights = {name: t.contiguous().cpu() for name, t in tokenizer.model.state_dict().items()}
    safetensors.torch.save_file(weights, path / WEIGHTS)
    known = tokenizer.embodiments
    save_statistics({name: e.statistics for name, e in known.items()}, path / STATISTICS)
    embodiments = {
        name: {"layout": e.layout.to_dict(), "fps": e.fps, "mapping": e.mapping}
        for name, e in known.items()
    }
    (path / EMBODIMENTS).write_text(json.dumps(embodiments, indent=2) + "\n")
    (path / METADATA).write_text(json.dumps(tokenizer.metadata, indent=2) + "\n")
    (path / CARD).write_text(model_card(tokenizer))


def load(path: Path) -> tuple[TokenizerModel, dict[str, Embodiment], dict]:
    """Read an artefact directory; strict.

    Raises:
        ValueError: A file is missing, damaged, foreign, or of another format version.
    """
    missing = [name for name in REQUIRED if not (path / name).is_file()]
    if missing:
        raise ValueError(
            f"{path} is no tokenizer artefact: {missing} missing. Export one with "
            "`rvq-train export`, or give the directory that holds config.json."
        )
    config = TokenizerConfig.load(path / CONFIG)
    model = TokenizerModel(config)
    try:
        weights = safetensors.torch.load_file(path / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{path / WEIGHTS} is damaged ({error}); copy it again.") from error
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path / WEIGHTS} does not fit {CONFIG}: {error}") from error
    return model.eval(), _load_embodiments(path, config), _json(path / METADATA)


def _load_embodiments(path: Path, config: TokenizerConfig) -> dict[str, Embodiment]:
    statistics = load_statistics(path / STATISTICS)
    described = _json(path / EMBODIMENTS)
    if set(statistics) != set(described):
        raise ValueError(
            f"{path}: {STATISTICS} knows {sorted(statistics)}, {EMBODIMENTS} {sorted(described)}. "
            "Export the tokenizer again; statistics are never made up."
        )
    if len(described) != config.num_embodiments:
        raise ValueError(
            f"{path}: {len(described)} embodiments for a model of {config.num_embodiments}."
        )
    embodiments = {}
    for name, entry in described.items():
        try:
            layout = ActionLayout.from_dict(entry["layout"])
            mapping, fps = entry["mapping"], float(entry["fps"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path / EMBODIMENTS}: {name!r} lacks {error}.") from error
        if layout.width > config.width:
            raise ValueError(
                f"{path}: {name!r} has {layout.width} channels, the model takes at most "
                f"{config.width}."
            )
        embodiments[name] = Embodiment(layout, statistics[name], fps, mapping)
    return embodiments


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); export it again.") from error


def locate(path: str | Path, revision: str | None) -> Path:
    """A local directory, or the hub's copy of a repository id."""
    if Path(path).is_dir():
        return Path(path)
    name = str(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"{name!r} is neither a directory nor a hub id of the form owner/name.")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{name!r} is no local directory; to load it from the hub install rvq-action[hub]."
        ) from error
    return Path(snapshot_download(name, revision=revision, allow_patterns=[*REQUIRED, CARD]))


def push(tokenizer: ActionTokenizer, repo_id: str, private: bool) -> str:
    """Upload the artefact to a repository of the hub."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError("Pushing to the hub needs rvq-action[hub].") from error
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _write(tokenizer, Path(folder))
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder))
