"""The way of a teacher that is fitted: look at every frame once, fit, make features of the looks.

    videos -> looks, a file per episode -> what it is fitted to -> features, shard by shard

Each arrow goes on after a kill where it was, with nothing decoded again but the episode that was
cut off. In memory are the looks at one episode, or the sample that the teacher is fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tokenizer_training.features.index import STATE
from tokenizer_training.features.looking import Looking, progress
from tokenizer_training.features.looks import Looks
from tokenizer_training.features.moments import Moments
from tokenizer_training.features.state import State, load_state, of_camera, save_state
from tokenizer_training.features.teacher import FittedTeacher


class FittedExtraction:
    """Features of one dataset by a teacher that is fitted to it.

    Args:
        teacher: The teacher.
        looking: The same before the dataset's pictures.

    Raises:
        ValueError: What it was fitted to before is damaged or of other pictures, or the disk has no
            room for the looks.
    """

    def __init__(self, teacher: FittedTeacher, looking: Looking) -> None:
        self.teacher, self.looking = teacher, looking
        self.folder, self.index = looking.writer.folder, looking.writer.index
        self.moments = Moments(self.index, teacher.fit_frames)
        self.looks = Looks(self.folder, self.moments, teacher.look_width)
        begun = self.index.done > 0 or (self.folder / STATE).is_file()
        self.state = load_state(self.folder, self.index) if begun else None
        self.needed = range(self.index.done if begun else 0, len(self.index.lengths))
        self.looks.check_room(self.needed)

    def features(self) -> Iterator[Tensor]:
        """[rows, cameras, W] of every episode that has none yet, in order.

        Raises:
            FileNotFoundError: A video is missing.
            ValueError: A video, or what was looked at before, is damaged; names the file.
        """
        self._look()
        state = self.state
        if state is None:
            state = self._fit()
            save_state(state, self.folder, self.index)
        yield from self._project(state)

    def _look(self) -> None:
        missing = self.looks.missing(self.needed)
        total, left = self.moments.count(self.needed), self.moments.count(missing)
        with progress(f"{self.index.name}: look", total, total - left) as bar:
            for episode in missing:
                numbers = self.moments.looked_at(episode)
                self.looks.save(episode, self.looking.at(episode, numbers, bar))

    def _fit(self) -> State:
        """What the teacher is fitted to, one camera after the other."""
        state = {}
        for place, camera in enumerate(self.index.cameras):
            sample = torch.cat([self._sampled(episode, place) for episode in self.index.train])
            fitted = self.teacher.fit(sample)
            state |= {f"{camera}/{name}": tensor for name, tensor in fitted.items()}
        return state

    def _sampled(self, episode: int, place: int) -> Tensor:
        """[M, P]: the looks at an episode through a camera that the teacher is fitted on."""
        rows = self._rows(episode, self.moments.fitted_on(episode))
        return self.looks.load(episode)[rows, place]

    def _project(self, state: State) -> Iterator[Tensor]:
        rows, done = self.index.first_rows, self.index.done
        states = [of_camera(state, camera) for camera in self.index.cameras]
        with progress(f"{self.index.name}: project", rows[-1], rows[done]) as bar:
            for episode in range(done, len(self.index.lengths)):
                looks = self.looks.load(episode)
                featured = self._rows(episode, self.moments.featured(episode))
                batches = featured.split(self.looking.batch_size)
                yield torch.cat([self._features(looks[batch], states) for batch in batches])
                bar.update(len(featured))

    def _features(self, looks: Tensor, states: list[State]) -> Tensor:
        """[N, cameras, P] -> [N, cameras, W]."""
        views = zip(looks.unbind(1), states, strict=True)
        return torch.stack([self.teacher.project(view, state) for view, state in views], dim=1)

    def _rows(self, episode: int, numbers: np.ndarray) -> Tensor:
        """Places of frames among those of the episode that were looked at."""
        return torch.from_numpy(np.searchsorted(self.moments.looked_at(episode), numbers))
