"""Words around the tokens: what the VL Expert reads.

    system      You control the robot so101 at 30 Hz.
    user        front: <picture>  wrist: <picture>  put the cube in the box  State: 120 - 87 ...
    assistant   action tokens <|im_end|>

in Qwen's chat format. The state is the normalised proprio in 256 bins over ±1.5, `-` where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

STATE_BINS, STATE_RANGE = 256, 1.5
HELPFUL = "You are a helpful assistant."
BEGIN, END = "<|im_start|>", "<|im_end|>"


class Prompter:
    """Turns what is said into ids.

    Args:
        text: The backbone's text tokenizer.
        image_id: Id of the places of pictures.
        proprio_id: Id of the place of the projected state.

    Attributes:
        end_id: Ends what is said.
        answer_ids: Words, and the end: what an answer may be made of.
    """

    def __init__(self, text: Any, image_id: int, proprio_id: int) -> None:
        self.text, self.proprio_id = text, proprio_id
        self.image_token = text.convert_ids_to_tokens(image_id)
        self.special = sorted(text.get_added_vocab())
        self.end_id = int(text.convert_tokens_to_ids(END))
        foreign = set(text.get_added_vocab().values()) - {self.end_id}
        self.answer_ids = [number for number in range(len(text)) if number not in foreign]

    def robot(
        self,
        robot: str,
        fps: float,
        views: Sequence[tuple[str, int]],
        instruction: str,
        state: str | None,
        with_token: bool,
    ) -> list[int]:
        """What comes before a robot's action tokens and flow slots.

        Args:
            robot: Its name.
            fps: Of its actions [Hz].
            views: (camera, tokens of its picture).
            instruction: What to do.
            state: The state as text, or None.
            with_token: Whether a projected token of the state follows.

        Raises:
            ValueError: The instruction is empty or holds a special token.
        """
        self.check(instruction, "instruction")
        pictures = "".join(f"{camera}: {self._picture(n)}\n" for camera, n in views)
        told = "" if state is None else f"\nState: {state}"
        system = f"You control the robot {robot} at {fps:g} Hz."
        head = self._ids(self._turns(system, f"{pictures}{instruction}{told}"))
        token = [self.proprio_id] if with_token else []
        return head + token + self._ids(self._answer_begins())

    def question(
        self, views: Sequence[int], question: str, before: Sequence[tuple[str, str]] = ()
    ) -> list[int]:
        """What comes before an answer.

        Args:
            views: Tokens of every picture; they come first.
            question: What is asked.
            before: Questions and answers of the same talk, oldest first.

        Raises:
            ValueError: A question or an answer is empty or holds a special token.
        """
        talk = ""
        for asked, answered in before:
            self.check(asked, "question")
            self.check(answered, "answer")
            talk += f"{asked}{self._answer_begins()}{answered}{END}\n{BEGIN}user\n"
        self.check(question, "question")
        pictures = "".join(self._picture(tokens) for tokens in views)
        user = f"{pictures}{talk}{question}"
        return self._ids(self._turns(HELPFUL, user) + self._answer_begins())

    def answer(self, answer: str) -> list[int]:
        """A text answer with its end.

        Raises:
            ValueError: It is empty or holds a special token.
        """
        self.check(answer, "answer")
        return [*self._ids(answer), self.end_id]

    def read(self, ids: Sequence[int]) -> str:
        """Ids of text -> the text."""
        return self.text.decode(ids, skip_special_tokens=True)

    def check(self, words: str, what: str) -> None:
        """Refuse words that say nothing, or that would stand for something else.

        Raises:
            ValueError: They are empty, or hold a special token of the language model.
        """
        if not isinstance(words, str) or not words.strip():
            raise ValueError(f"The {what} must say something, got {words!r}.")
        inside = [token for token in self.special if token in words]
        if inside:
            raise ValueError(f"The {what} holds special tokens {inside}: {words!r}. Take them out.")

    def _ids(self, text: str) -> list[int]:
        return self.text(text, add_special_tokens=False)["input_ids"]

    def _picture(self, tokens: int) -> str:
        return f"<|vision_start|>{self.image_token * tokens}<|vision_end|>"

    def _turns(self, system: str, user: str) -> str:
        return f"{BEGIN}system\n{system}{END}\n{BEGIN}user\n{user}"

    def _answer_begins(self) -> str:
        return f"{END}\n{BEGIN}assistant\n"


def state_text(proprio: Tensor, mask: Tensor) -> str:
    """The state in words: normalised proprio [D] in bins, `-` where its mask [D] is False."""
    share = (proprio.clamp(-STATE_RANGE, STATE_RANGE) + STATE_RANGE) / (2 * STATE_RANGE)
    bins = torch.round(share * (STATE_BINS - 1)).int().tolist()
    return " ".join(str(b) if known else "-" for b, known in zip(bins, mask.tolist(), strict=True))
