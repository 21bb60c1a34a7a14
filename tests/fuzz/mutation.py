"""One mutant of a sample: the same for the same random numbers."""

from __future__ import annotations

from random import Random

from tests.fuzz.bytewise import mutate_bytes
from tests.fuzz.corpus import Sample
from tests.fuzz.formwise import mutate_form


def mutant(sample: Sample, seed: int, number: int) -> Sample:
    """The sample with one of its files damaged: by what it is, in its bytes, or both.

    The same three arguments give the same mutant, in whatever process.
    """
    random = Random(f"{seed} {sample.name} {number}")
    files = dict(sample.files)
    name = random.choice(sorted(files))
    if len(files) > 1 and random.random() < 0.05:
        del files[name]
        return Sample(sample.name, files)
    data = files[name]
    kind = random.random()
    if kind < 0.7:
        data = _by_form(random, data)
    if kind > 0.6:
        for _ in range(random.choice((1, 1, 2, 3))):
            data = mutate_bytes(random, data) if data else b"\0"
    return Sample(sample.name, {**files, name: data})


def _by_form(random: Random, data: bytes) -> bytes:
    try:
        return mutate_form(random, data)
    except Exception:  # noqa: BLE001  a file of the corpus that is damaged itself, in any way
        return mutate_bytes(random, data) if data else b"\0"
