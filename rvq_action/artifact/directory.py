"""The artefact directory: what a tokenizer looks like on disk. No pickle is ever read.

config.json             shape of the model, with the format version
model.safetensors       weights and codebooks
statistics.json         per embodiment
embodiments.json        per embodiment: layout, frame rate, mapping
metadata.json           provenance: split, settings, figures; calibration
processor_config.json   for transformers' AutoProcessor, with processing_rvq.py beside it
README.md               model card
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from rvq_action.artifact import hub
from rvq_action.artifact.model_card import model_card
from rvq_action.artifact.processor_files import (
    CODE,
    SETTINGS,
    ProcessorSettings,
    write_processor_files,
)
from rvq_action.artifact.replaceable import check_replaceable
from rvq_action.artifact.tensor_store import save_tensors
from rvq_action.config import ONE_PATH, TokenizerConfig
from rvq_action.embodiment import Embodiment
from rvq_action.housekeeping.json_file import read_json, write_json
from rvq_action.model import PER_PATH, TokenizerModel
from rvq_action.statistics import load_statistics, save_statistics

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer

CONFIG, WEIGHTS, STATISTICS = "config.json", "model.safetensors", "statistics.json"
EMBODIMENTS, METADATA, CARD = "embodiments.json", "metadata.json", "README.md"
REQUIRED = (CONFIG, WEIGHTS, STATISTICS, EMBODIMENTS, METADATA)
FILES = (*REQUIRED, CARD, SETTINGS, CODE)
OURS = (STATISTICS, EMBODIMENTS)
"""What no other model's folder holds."""
PART = "tokenizer"
"""Where the folder of a run keeps its artefact."""
USUAL = ProcessorSettings()


def save(tokenizer: ActionTokenizer, path: Path, settings: ProcessorSettings = USUAL) -> None:
    """Write beside the target, then swap: a reader sees the old artefact or the new one.

    Raises:
        ValueError: The path is a file, or a directory that holds anything but an artefact.
    """
    path = path.resolve()
    check_replaceable(path, FILES, OURS, "tokenizer")
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    staging, old = workplace / "new", workplace / "old"
    try:
        staging.mkdir()
        _write(tokenizer, staging, settings)
        if path.exists():
            path.rename(old)
        staging.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(workplace, ignore_errors=True)


def _write(tokenizer: ActionTokenizer, path: Path, settings: ProcessorSettings) -> None:
    tokenizer.config.save(path / CONFIG)
    weights = {name: tensor.cpu() for name, tensor in tokenizer.model.state_dict().items()}
    save_tensors(weights, path / WEIGHTS)
    known = tokenizer.embodiments
    save_statistics({name: e.statistics for name, e in known.items()}, path / STATISTICS)
    write_json({name: e.to_dict() for name, e in known.items()}, path / EMBODIMENTS)
    write_json(tokenizer.metadata, path / METADATA)
    write_processor_files(path, settings)
    (path / CARD).write_text(model_card(tokenizer), encoding="utf-8")


def load(path: Path) -> tuple[TokenizerModel, dict[str, Embodiment], dict]:
    """Read an artefact directory; strict.

    Raises:
        ValueError: A file is missing, damaged, foreign, or of another format version.
    """
    missing = [name for name in REQUIRED if not (path / name).is_file()]
    if missing:
        fix = (
            f"Its tokenizer is {path / PART}: give that."
            if (path / PART / CONFIG).is_file()
            else "Export one with `rvq-train export`, or give the directory that holds config.json."
        )
        raise ValueError(f"{path} is no tokenizer artefact: {missing} missing. {fix}")
    config, embodiments = TokenizerConfig.load(path / CONFIG), _load_embodiments(path)
    one_path = read_json(path / CONFIG)["format_version"] == ONE_PATH
    if one_path:
        config = replace(config, path_slots=(config.num_slots,) * len(embodiments))
    model = TokenizerModel(config)
    try:
        weights = safetensors.torch.load_file(path / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{path / WEIGHTS} is damaged ({error}); copy it again.") from error
    if one_path:
        weights = _one_for_each(weights, len(embodiments))
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"{path / WEIGHTS} does not fit {CONFIG}; export the tokenizer again. {error}"
        ) from error
    return model.eval(), embodiments, read_json(path / METADATA)


def _one_for_each(weights: dict[str, Tensor], robots: int) -> dict[str, Tensor]:
    """Weights with one linear path that all robots share -> with the same one for each of them."""
    return {
        name: tensor.expand(robots, *tensor.shape) if name in PER_PATH else tensor
        for name, tensor in weights.items()
    }


def _load_embodiments(path: Path) -> dict[str, Embodiment]:
    statistics = load_statistics(path / STATISTICS)
    described = read_json(path / EMBODIMENTS)
    if set(statistics) != set(described):
        raise ValueError(
            f"{path}: {STATISTICS} knows {sorted(statistics)}, {EMBODIMENTS} {sorted(described)}. "
            "Export the tokenizer again; statistics are never made up."
        )
    embodiments = {}
    for name, entry in described.items():
        try:
            embodiments[name] = Embodiment.from_dict(entry, statistics[name])
        except KeyError as error:
            raise ValueError(f"{path / EMBODIMENTS}: {name!r} lacks {error}.") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path / EMBODIMENTS}: {name!r}: {error}") from error
    return embodiments


def locate(
    path: str | Path, revision: str | None, files: Sequence[str] = FILES, **options: Any
) -> Path:
    """A local directory, or the hub's copy of a repository id.

    Args:
        path: Either.
        revision: Of the repository.
        files: Patterns of what is needed of it.
        options: More for the hub's client (`cache_dir`, `token` ...).

    Raises:
        ValueError: It is neither, or the hub cannot be reached.
        ImportError: It may be an id, but the hub's client is not installed.
    """
    if Path(path).is_dir():
        return Path(path)
    name = str(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"{name!r} is neither a directory nor a hub id of the form owner/name.")
    try:
        return hub.download(name, files, revision, **options)
    except ImportError as error:
        raise ImportError(
            f"{name!r} is no local directory; to load it from the hub install rvq-action[hub]."
        ) from error
    except ValueError as error:
        raise ValueError(f"{name!r} is no directory here, and {error}") from error


def push(
    tokenizer: ActionTokenizer,
    repo_id: str,
    private: bool,
    settings: ProcessorSettings = USUAL,
    token: str | bool | None = None,
    **options: Any,
) -> str:
    """Upload the artefact to a repository of the hub; `options` go with the upload."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError("Pushing to the hub needs rvq-action[hub].") from error
    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _write(tokenizer, Path(folder), settings)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **options))
