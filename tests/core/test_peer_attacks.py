"""Attacks beside those of other libraries, each in an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.environments import Environment
from tests.core.peer_attacks import EPS

pytestmark = [pytest.mark.slow, pytest.mark.network]

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("peer", "needs"),
    [
        ("torchattacks==3.5.1", ["requests", "scipy", "tqdm"]),
        ("foolbox==3.3.4", ["eagerpy", "GitPython", "requests", "scipy"]),
    ],
)
def test_other_libraries_find_the_same(peer: str, needs: list[str], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "peer", editable=True)
    # By itself: one of them pins a requests of years ago.
    environment.run("-m", "pip", "install", "--quiet", "--no-deps", peer)
    environment.run("-m", "pip", "install", "--quiet", *needs)
    name = peer.partition("==")[0]
    found = json.loads(environment.run("-m", "tests.core.peer_attacks", name, cwd=CHECKOUT))
    assert found.keys() == EPS.keys()
    for difference, moved in found.values():
        assert difference < 1e-5
        assert moved > 0.01
