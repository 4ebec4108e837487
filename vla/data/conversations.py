"""Conversations about pictures, in the formats that LLaVA and Qwen's fine-tuning read.

    {"image": "cat.jpg",                       a path or a list, relative to the file; may be absent
     "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"},
                       {"from": "gpt", "value": "A cat."}]}

    {"images": ["cat.jpg"],
     "messages": [{"role": "user", "content": "<image>What is it?"},
                  {"role": "assistant", "content": "A cat."}]}

A `content` may also be a list of {"type": "text", "text": ...} and {"type": "image", "image": ...}.
A `.jsonl` file has one per line, a `.json` file a list of them. Pictures come before the words,
wherever `<image>` stood; a leading system message gives way to the policy's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACEHOLDER = "<image>"
ASKS, ANSWERS, SYSTEM = {"human", "user"}, {"gpt", "assistant"}, {"system"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One entry of a file.

    Attributes:
        images: Files of its pictures, which exist.
        turns: Questions and answers, oldest first; at least one.
        kind: What sort of question it is, where the file says so; else empty.
        group: The recording it is about, where the file says so (`dataset` and `episode`), else
            itself: entries of one group are not independent.
        where: File and line, for messages.
    """

    images: tuple[Path, ...]
    turns: tuple[tuple[str, str], ...]
    kind: str
    group: str
    where: str


def read_conversations(path: str | Path) -> list[Conversation]:
    """All conversations of a file, checked: none is found wanting in the middle of a run.

    Args:
        path: A `.json` or `.jsonl` file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds none, or one is damaged or lacks a picture; names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} of conversations.")
    found = [parse_conversation(row, path.parent, where) for where, row in _rows(path)]
    if not found:
        raise ValueError(f"{path} holds no conversation. Leave it out, or fill it.")
    return found


def parse_conversation(row: Any, folder: Path, where: str) -> Conversation:
    """Check one entry.

    Args:
        row: The entry.
        folder: What its paths are relative to.
        where: File and line, for messages.

    Raises:
        ValueError: It is damaged or lacks a picture.
    """
    given = [key for key in ("conversations", "messages") if isinstance(row, dict) and key in row]
    if len(given) != 1:
        keys = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"{where} must have `conversations` or `messages`, has {keys}.")
    named = [key for key in ("image", "images") if row.get(key)]
    if len(named) > 1:
        raise ValueError(f"{where} has both `image` and `images`. Keep one of them.")
    images = row[named[0]] if named else []
    paths = [images] if isinstance(images, str) else images
    if not isinstance(paths, list) or not all(isinstance(p, str) and p for p in paths):
        raise ValueError(f"{where}: `{named[0]}` must be a path or a list of them, got {paths!r}.")
    said = _said(row[given[0]], where)
    words = [(who, _words(content, paths, where)) for who, content in said]
    return Conversation(
        tuple(_existing(folder / p, where) for p in paths),
        _turns(words, len(paths), where),
        str(row.get("kind") or ""),
        f"{row['dataset']}/{row['episode']}" if {"dataset", "episode"} <= set(row) else where,
        where,
    )


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            entries = json.loads(text)
            if not isinstance(entries, list):
                raise ValueError(f"{path} must hold a list of conversations. Or name it .jsonl.")
            yield from ((f"{path}, entry {n}", entry) for n, entry in enumerate(entries, 1))
            return
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid JSON: {error}.") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield where, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where} is no valid JSON: {error}.") from error


def _said(messages: Any, where: str) -> list[tuple[str, Any]]:
    """(who, what) of every message but the system's."""
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError(f"{where}: the messages must be a list of objects, got {messages!r}.")
    said = [(m.get("from", m.get("role")), m.get("value", m.get("content", ""))) for m in messages]
    unknown = [who for who, _ in said if who not in ASKS | ANSWERS | SYSTEM]
    if unknown:
        known = sorted(ASKS | ANSWERS | SYSTEM)
        raise ValueError(f"{where}: {unknown[0]!r} says something; only {known} may.")
    return said[1:] if said and said[0][0] in SYSTEM else said


def _words(content: Any, paths: list[str], where: str) -> str:
    """A message as text with placeholders; pictures that it names itself join `paths`."""
    if isinstance(content, str):
        return content
    words = ""
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            words += part["text"]
        elif kind == "image":
            words += PLACEHOLDER
            paths += [part["image"]] if isinstance(part.get("image"), str) else []
        else:
            raise ValueError(f"{where}: a message holds {part!r}, neither text nor an image.")
    return words


def _turns(words: list[tuple[str, str]], images: int, where: str) -> tuple[tuple[str, str], ...]:
    """Questions and answers without placeholders, which stand for all pictures or for none."""
    asked, answered = words[::2], words[1::2]
    orderly = all(w in ASKS for w, _ in asked) and all(w in ANSWERS for w, _ in answered)
    if not words or len(words) % 2 or not orderly:
        order = [who for who, _ in words]
        raise ValueError(f"{where} must ask and answer by turns and end with an answer: {order}.")
    places = sum(text.count(PLACEHOLDER) for _, text in asked)
    if places not in (0, images):
        raise ValueError(f"{where} has {places} {PLACEHOLDER} for {images} pictures.")
    turns = tuple(
        (question.replace(PLACEHOLDER, "").strip(), answer.strip())
        for (_, question), (_, answer) in zip(asked, answered, strict=True)
    )
    if not all(question and answer for question, answer in turns):
        raise ValueError(f"{where} has an empty question or answer.")
    return turns


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        raise ValueError(
            f"{where}: there is no picture {path}. Paths are relative to the file's folder; copy "
            "the picture there, or take the entry out."
        )
    return path
