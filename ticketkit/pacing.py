"""The size of batches at which work goes fastest, found while the work is done."""

from __future__ import annotations

from statistics import median

_FIRST, _TRIES, _SLOWER = 4, 6, 1.2


class Pace:
    """Sizes 4, 8, 16, ... up to `most` are tried in turn; then the fastest one stays.

    On a CPU that is one whose activations stay in its cache, on a GPU a large one. No trial is lost
    work: each is a batch that has to be computed anyway. In turn, for a machine has better and
    worse moments; a larger size joins as long as the largest one is not clearly slower.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tries: dict[int, list[float]] = {min(_FIRST, most): []}
        """Seconds a sample, of each size."""
        self._turn = list(self._tries)
        self._settled = False

    @property
    def size(self) -> int:
        """How many samples the next batch should have."""
        return self._turn[0]

    def took(self, count: int, seconds: float) -> None:
        """Hear how long a batch of `count` samples took; another size than `size` tells nothing."""
        if self._settled or count != self.size:
            return
        self._tries[count].append(seconds / count)
        del self._turn[0]
        if not self._turn:
            self._turn = self._next_turn()

    def _next_turn(self) -> list[int]:
        # Not the mean of a size's tries: the first one also warms up.
        times = {size: median(tries) for size, tries in self._tries.items()}
        best, largest = min(times, key=lambda size: times[size]), max(times)
        if 2 * largest <= self._most and times[largest] <= _SLOWER * times[best]:
            self._tries[2 * largest] = []
        elif len(self._tries[largest]) >= _TRIES:
            self._settled = True
            return [best]
        return list(self._tries)
