"""Common corruptions that are noise, by their moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ticketkit.noises import Array, Lots, gaussian_noise, impulse_noise, shot_noise


def grey(level: float, count: int = 4) -> tuple[Array, Lots]:
    lots = [np.random.default_rng(index) for index in range(count)]
    return np.full((count, 3, 50, 50), level, np.float32), lots


@pytest.mark.parametrize("scale", [0.04, 0.38])
def test_gaussian_noise_is_normal_and_of_its_standard_deviation(scale: float) -> None:
    noise = gaussian_noise(*grey(0.5), scale) - 0.5
    assert stats.kstest(noise.ravel() / scale, "norm").pvalue > 0.01


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("photons", [3, 60])
def test_shot_noise_counts_photons_whose_variance_is_their_mean(level: float, photons: int) -> None:
    counts = shot_noise(*grey(level), photons) * photons
    assert np.allclose(counts, np.rint(counts), atol=1e-9)
    mean, error = level * photons, 5 * np.sqrt(level * photons / counts.size)
    assert counts.mean() == pytest.approx(mean, abs=error)
    assert counts.var() == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("share", [0.01, 0.27])
def test_impulse_noise_is_salt_and_pepper_in_equal_parts(share: float) -> None:
    pictures, lots = grey(0.5)
    found = impulse_noise(pictures, lots, share)
    error = 5 * np.sqrt(share / found.size)
    assert (found == 1).mean() == pytest.approx(share / 2, abs=error)
    assert (found == 0).mean() == pytest.approx(share / 2, abs=error)
    assert ((found == 0.5) | (found == 0) | (found == 1)).all()
    assert (pictures == 0.5).all()
    # Channels of a pixel are hit by themselves.
    hit = found != 0.5
    assert hit.all(1).mean() == pytest.approx(share**3, abs=error)
