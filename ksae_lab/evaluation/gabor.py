"""Gabor functions fitted to atoms: a grating under a bell, as in the visual cortex of a cat."""

from dataclasses import dataclass

import numpy as np

from ksae_lab.nn import inputs

STARTS = (1.5, 3.0)  # pixels: widths of the bell from which a fit begins


@dataclass(frozen=True)
class Gabor:
    """exp(−(u / along)² / 2 − (v / across)² / 2) cos(2π frequency u + phase), times a height.

    u and v are pixels from (x, y), the centre, u along the direction in which the grating changes.
    All are scalars: the centre in pixels from the upper left one, `orientation` of the stripes in
    radians from 0 to π, anticlockwise from the horizontal, `frequency` in cycles per pixel, `along`
    and `across`, the bell's standard deviations, in pixels, and `r2`, the share of the atom's
    squares that is explained.

    Source: Gabor (1946); Jones & Palmer (1987).
    Chapter 19.
    """

    x: float
    y: float
    orientation: float
    frequency: float
    along: float
    across: float
    phase: float
    r2: float

    @property
    def bandwidth(self) -> float:
        """The width of its spectrum at half its height, in octaves; infinite for a blob."""
        half = np.sqrt(2 * np.log(2)) / (2 * np.pi * self.along)
        if half >= self.frequency:
            return np.inf
        return float(np.log2((self.frequency + half) / (self.frequency - half)))


def fit(atom: np.ndarray) -> Gabor:
    """The Gabor function that is nearest to an atom (side, side), by least squares.

    It begins at the peak of the atom's spectrum and the centre of its squares, with two widths, and
    keeps the better end. The height is solved for at every step, so that it has no start.

    Raises `ValueError` for an atom that is not square, or has no length.

    Source: Jones & Palmer (1987).
    Chapter 19.
    """
    from scipy.optimize import least_squares

    atom = inputs.floats(atom, "atom").astype(float)
    if atom.ndim != 2 or atom.shape[0] != atom.shape[1]:
        raise ValueError(f"The atom has shape {atom.shape}; expected (side, side).")
    length = np.linalg.norm(atom)
    if not length:
        raise ValueError("The atom is zero; there is nothing to fit.")
    side, atom = len(atom), atom / length
    y, x = np.mgrid[:side, :side].astype(float)

    def height(shape: np.ndarray) -> float:
        squares = np.sum(shape**2)
        return float(np.sum(shape * atom) / squares) if squares > 1e-12 else 0.0

    def off(parameters: np.ndarray) -> np.ndarray:
        shape = _shape(parameters, x, y)
        return (height(shape) * shape - atom).ravel()

    centre = [np.sum(atom**2 * x), np.sum(atom**2 * y)]
    fx, fy = _peak(atom)
    lower = [-2, -2, -0.5, -0.5, np.log(0.5), np.log(0.5), -2 * np.pi]
    upper = [side + 1, side + 1, 0.5, 0.5, np.log(2 * side), np.log(2 * side), 2 * np.pi]
    # The frequencies are a vector, so that no angle has to turn round.
    starts = [
        [*centre, fx, fy, np.log(width), np.log(width), phase]
        for width in STARTS
        for phase in (0.0, np.pi / 2)
    ]
    ends = [least_squares(off, start, bounds=(lower, upper), max_nfev=200) for start in starts]
    best = min(ends, key=lambda end: float(end.cost))
    return _gabor(best.x, 1 - 2 * float(best.cost))


def _shape(parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x0, y0, fx, fy, along, across, phase = parameters
    frequency = np.hypot(fx, fy)
    c, s = (fx / frequency, fy / frequency) if frequency else (1.0, 0.0)
    u, v = c * (x - x0) + s * (y - y0), -s * (x - x0) + c * (y - y0)
    bell = np.exp(-((u / np.exp(along)) ** 2) / 2 - (v / np.exp(across)) ** 2 / 2)
    return bell * np.cos(2 * np.pi * frequency * u + phase)


def _peak(atom: np.ndarray) -> tuple[float, float]:
    """The frequency (across, down) at which the atom's spectrum is highest."""
    size = 4 * len(atom)
    power = np.abs(np.fft.rfft2(atom, (size, size)))
    row, column = np.unravel_index(power.argmax(), power.shape)
    return float(np.fft.rfftfreq(size)[column]), float(np.fft.fftfreq(size)[row])


def _gabor(parameters: np.ndarray, r2: float) -> Gabor:
    x0, y0, fx, fy, along, across, phase = (float(value) for value in parameters)
    # Stripes run across the frequency; rows count downwards.
    orientation = float(np.mod(np.arctan2(-fy, fx) + np.pi / 2, np.pi))
    widths = float(np.exp(along)), float(np.exp(across))
    return Gabor(x0, y0, orientation, float(np.hypot(fx, fy)), *widths, phase, r2)
