"""Battery-electrode micrographs made from a seed: a stand-in for the paper's 3-phase SEM cross-sections.

Packed grains of active material, pores in the gaps between them, specks of carbon binder clinging to the pores, at
the area fractions of FRACTIONS on average. Difficulty is uneven within an image: where the section is well polished
the phases differ by grey level; in patches that are not, grains are finer, greys are the same, and the phases
differ by texture alone (lamellae in the grains, powder seen through the pores, fine specks of carbon), under more
noise. ``difficulty`` sets the strength of those patches, and their share unless ``hard_share`` does. Texture takes a
network with many filters at full resolution, grey level next to none: so there is something to route for.

No physics of electrons: every term is a picture of its effect, chosen by eye.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch

from ..config import DataConfig
from ..errors import ConfigError
from ..progress import Progress
from .splits import TRAIN_VAL_TEST, Part, Splits, shares_of, sizes

__all__ = ["FRACTIONS", "micrograph", "read"]

Field = npt.NDArray[np.float64]

DEFAULT_SIZE = (128, 128)
SMALLEST = 16  # fewer pixels hold no grain
FRACTIONS = {"binder": 0.037, "pore": 0.103, "active": 0.86}
BINDER, PORE, ACTIVE = range(3)
GREY = np.array([0.44, 0.2, 0.7])  # of the phases where the section is well polished
HARD_GREY = np.array([0.48, 0.48, 0.5])  # and where it is not: texture is what tells them apart


def read(config: DataConfig, progress: Progress) -> Splits:
    """Train, val and test micrographs, (N, 1, H, W), of 8-bit grey levels.

    Image i follows from seed, size, difficulty, hard_share and i, whatever the count.
    """
    height, width = config.size or DEFAULT_SIZE
    if min(height, width) < SMALLEST:
        raise ConfigError(f"[data] size = [{height}, {width}]: a micrograph needs {SMALLEST} px a side at least")
    share = 0.6 * config.difficulty if config.hard_share is None else config.hard_share
    images = np.empty((config.count, height, width), dtype=np.uint8)
    masks = np.empty_like(images)
    for index in range(config.count):
        rng = np.random.default_rng((config.seed, index))
        images[index], masks[index] = micrograph(height, width, config.difficulty, share, rng)
    names = [f"electrode-{index:05d}" for index in range(config.count)]
    pixels = torch.from_numpy(images).float().div(255)[:, None]
    ends = np.cumsum([0, *sizes(config.count, shares_of(config.holdout), TRAIN_VAL_TEST)]).tolist()
    train, val, test = (
        Part(pixels[start:end], torch.from_numpy(masks[start:end]), tuple(names[start:end]))
        for start, end in itertools.pairwise(ends)
    )
    return Splits(train, val, test, tuple(FRACTIONS))


def micrograph(
    height: int, width: int, difficulty: float, hard_share: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """One image and its mask, both (height, width)."""
    shape = (height, width)
    large = max(1.0, min(shape) / DEFAULT_SIZE[0])  # a larger image shows the same section, magnified
    place, powder, sprinkle, clump, drift, *warp = _smooth(
        rng, shape, (20 * large, 1.1, 2.2 * large, 6 * large, 12 * large, 5 * large, 5 * large)
    )
    strength = 0.5 + 0.5 * difficulty
    hard = strength * _share(place, hard_share)

    coarse = _grains(shape, 26 * large, [2.5 * large * one for one in warp], rng)
    fine = _grains(shape, 15 * large, [1.5 * large * one for one in warp], rng)
    grains = [np.where(hard > 0.3, one, other) for one, other in zip(fine, coarse, strict=True)]
    border, orientation, tone = grains

    mask = _phases(border + 0.16 * drift, sprinkle + 0.6 * clump, rng)

    rows, columns = np.mgrid[:height, :width]
    along = rows * np.cos(orientation) + columns * np.sin(orientation)
    lamellae = np.sin(2 * np.pi * along / 3.6)  # gone at half scale
    speck = _smooth(rng, shape, (0.6,))[0]
    easy = GREY[mask] + np.where(mask == ACTIVE, 0.05 * tone, 0.025 * powder)
    easy -= 0.1 * (mask == ACTIVE) * np.exp(-(((border - 0.02) / 0.03) ** 2))  # touching grains
    texture = np.choose(mask, [0.2 * speck, 0.16 * powder, 0.16 * lamellae + 0.03 * tone])
    rough = HARD_GREY[mask] + texture
    image = _blur(easy, 0.7) * (1 - hard) + _blur(rough, 0.7) * hard

    tilt = rng.normal(size=2)
    shading = tilt[0] * (rows / height - 0.5) + tilt[1] * (columns / width - 0.5)
    image = (image * (1 + 0.08 * shading)).clip(0.02, 1)
    noise = rng.standard_normal(shape)
    image = image + noise * np.sqrt(0.0012 * image * (1 + 0.5 * hard) + 0.015**2)
    return (image * 255).round().clip(0, 255).astype(np.uint8), mask


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigmas: tuple[float, ...]) -> Field:
    """(len(sigmas), height, width) normal random fields of unit variance, white noise under a Gaussian filter."""
    fields = rng.standard_normal((len(sigmas), *shape))
    fields = np.stack([_blur(field, sigma) for field, sigma in zip(fields, sigmas, strict=True)])
    unit: Field = (fields - fields.mean(axis=(1, 2), keepdims=True)) / fields.std(axis=(1, 2), keepdims=True)
    return unit


def _blur(field: Field, sigma: float) -> Field:
    """Gaussian filter of ``sigma`` pixels; the image is taken as periodic."""
    rows = np.fft.fftfreq(field.shape[0])[:, None]
    columns = np.fft.rfftfreq(field.shape[1])[None]
    gain = np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2))
    return np.fft.irfft2(np.fft.rfft2(field) * gain, s=field.shape)


def _share(field: Field, share: float) -> Field:
    """1 on the highest ``share`` of the field, 0 elsewhere, with a soft edge."""
    if share == 0:
        return np.zeros_like(field)
    return 1 / (1 + np.exp(-(field - np.quantile(field, 1 - share)) / 0.08))


def _grains(
    shape: tuple[int, int], pitch: float, warp: list[Field], rng: np.random.Generator
) -> tuple[Field, Field, Field]:
    """Packed grains: a Voronoi tessellation of jittered points, weighted by size, its borders bent by ``warp``.

    For each pixel: distance to the grain's border (0 at it, in pitches), orientation in radians, tone (normal).
    """
    cells = (int(shape[0] / pitch) + 5, int(shape[1] / pitch) + 5)
    point_row, point_column = rng.uniform(0.1, 0.9, (2, *cells))
    size = rng.uniform(0, 0.35, cells)
    turn, tone = rng.uniform(0, np.pi, cells), rng.standard_normal(cells)
    row = (np.arange(shape[0])[:, None] + warp[0]) / pitch + 2
    column = (np.arange(shape[1])[None] + warp[1]) / pitch + 2
    cell_row, cell_column = (np.floor(one).astype(int) for one in (row, column))
    nearest, second = np.full(shape, np.inf), np.full(shape, np.inf)
    owner = np.zeros(shape, dtype=int)
    for down, right in np.ndindex(3, 3):
        y = (cell_row + down - 1).clip(0, cells[0] - 1)
        x = (cell_column + right - 1).clip(0, cells[1] - 1)
        distance = np.hypot(y + point_row[y, x] - row, x + point_column[y, x] - column) - size[y, x]
        second = np.minimum(second, np.maximum(nearest, distance))
        owner = np.where(distance < nearest, y * cells[1] + x, owner)
        nearest = np.minimum(nearest, distance)
    return (second - nearest) / 2, turn.flat[owner], tone.flat[owner]


def _phases(openness: Field, carbon: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Phase of each pixel: voids where ``openness`` is lowest, binder where ``carbon`` is highest in a void."""
    void_share = FRACTIONS["binder"] + FRACTIONS["pore"]
    binder_share = FRACTIONS["binder"] / void_share  # of the voids
    void = openness < np.quantile(openness, rng.uniform(0.7, 1.3) * void_share)
    binder = void & (carbon > np.quantile(carbon[void], 1 - rng.uniform(0.7, 1.3) * binder_share))
    return np.where(binder, BINDER, np.where(void, PORE, ACTIVE)).astype(np.uint8)
