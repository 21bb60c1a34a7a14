"""The size of batches at which work goes fastest, found while the work is done."""

from __future__ import annotations

_FIRST, _TRIES, _SLOWER = 4, 3, 1.2


class Pace:
    """Sizes double from 4 up to `most`, each tried three times, until they are clearly slower.

    On a CPU the fastest batch is one whose activations stay in its cache, on a GPU a large one. No
    trial is lost work: each is a batch that has to be computed anyway.
    """

    def __init__(self, most: int) -> None:
        self.size = min(_FIRST, most)
        """How many samples the next batch should have."""
        self._most = most
        self._settled = False
        self._tries: dict[int, list[float]] = {}
        """Seconds a sample, of each size."""

    def took(self, count: int, seconds: float) -> None:
        """Hear how long a batch of `count` samples took."""
        if self._settled or count != self.size:
            return
        tries = self._tries.setdefault(count, [])
        tries.append(seconds / count)
        if len(tries) == _TRIES:
            self._go_on()

    def _go_on(self) -> None:
        # The quickest of a size's tries: the first one also warms up.
        times = {size: min(tries) for size, tries in self._tries.items()}
        best = min(times, key=lambda size: times[size])
        self._settled = 2 * self.size > self._most or times[self.size] > _SLOWER * times[best]
        self.size = best if self._settled else 2 * self.size
