"""Task `digits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_COUNT = 1797


@dataclass(frozen=True)
class Digits(ticketkit.Task):
    """scikit-learn's 1797 handwritten digits: which of ten is it?

    Their 8x8 pixels, white on black, are scaled to `size` x `size`, bilinearly. A permutation that
    the seed `split` draws has `labels` pictures to train on first (1437, four fifths, where that is
    none), and the rest is the test set.

    A `corruption` changes the pictures of both, each always in the same way, by a `severity` from 0
    to 1: `noise` is normal, of that standard deviation; `blur` is Gaussian, of a standard deviation
    of that many eighths of the side; `contrast` loses that share, towards grey; `occlusion` is a
    black square of that share of the side, somewhere. It needs ticketkit[demo].
    """

    name = "digits"
    classes = 10
    size: int = 16
    labels: int | None = None
    split: int = 0
    corruption: Literal["none", "noise", "blur", "contrast", "occlusion"] = "none"
    severity: float = 0.3

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "size", 8)
        ticketkit.check_whole(self, "split", 0)
        if self.labels is not None:
            ticketkit.check_whole(self, "labels", 1, _COUNT - 1)
        if not 0 <= self.severity <= 1:
            raise ticketkit.UsageError(
                f"digits: severity is a number from 0 to 1, found {self.severity!r}"
            )

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        import numpy as np
        import torch

        source = ticketkit.import_extra("sklearn.datasets", "demo").load_digits()
        pictures = torch.from_numpy(source.images / 16)[:, None]  # from 0 to 16
        scaled = torch.nn.functional.interpolate(pictures, (self.size,) * 2, mode="bilinear")
        changed = self._corrupted(scaled[:, 0].numpy())
        images = torch.from_numpy((255 * changed.clip(0, 1)).round().astype(np.uint8))[:, None]
        whole = ticketkit.Pictures(images, torch.from_numpy(source.target).long())
        order = np.random.RandomState(self.split).permutation(_COUNT).tolist()  # for all time
        labels = _COUNT * 4 // 5 if self.labels is None else self.labels
        return {"train": whole.subset(order[:labels]), "test": whole.subset(order[labels:])}

    def _corrupted(self, pictures: Any) -> Any:
        """Pictures in [0, 1], shape (n, size, size), as the corruption changes them."""
        import numpy as np

        lots = np.random.RandomState(0)
        if self.corruption == "noise":
            return pictures + self.severity * lots.standard_normal(pictures.shape)
        if self.corruption == "blur":
            ndimage = ticketkit.import_extra("scipy.ndimage", "demo")
            sigma = self.severity * self.size / 8
            return ndimage.gaussian_filter(pictures, (0, sigma, sigma), mode="constant")
        if self.corruption == "contrast":
            return 0.5 + (1 - self.severity) * (pictures - 0.5)
        if self.corruption == "occlusion":
            side = round(self.severity * self.size)
            corners = lots.randint(self.size - side + 1, size=(2, _COUNT, 1))
            behind = np.arange(self.size) - corners
            rows, columns = (behind >= 0) & (behind < side)
            return pictures * ~(rows[:, :, None] & columns[:, None, :])
        return pictures


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Digits
