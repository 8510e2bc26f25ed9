"""How a setting changes in training: functions of progress, from 0 at the start to 1 at the end."""

from collections.abc import Callable

from ksae_lab.nn import checks

Schedule = Callable[[float], float]


def linear(start: float, end: float, *, begin: float = 0.0, finish: float = 1.0) -> Schedule:
    """`start` until progress `begin`, then a straight line to `end` at `finish`, then `end`.

    The schedule takes a scalar between 0 and 1 and returns a scalar.

    Raises `ValueError` unless 0 ≤ begin < finish ≤ 1, and for ends that are not finite.

    Chapter 5.
    """
    for name, number in {"start": start, "end": end, "begin": begin, "finish": finish}.items():
        checks.finite(number, name)
    if not 0 <= begin < finish <= 1:
        raise ValueError(
            f"The line goes from {begin} to {finish}; expected 0 ≤ begin < finish ≤ 1."
        )

    def value(progress: float) -> float:
        share = min(max((progress - begin) / (finish - begin), 0.0), 1.0)
        return start + share * (end - start)

    return value


def geometric(start: float, end: float) -> Schedule:
    """From `start` to `end` by the same factor in every step, as temperatures are lowered.

    The schedule takes and returns a scalar.

    Raises `ValueError` unless both ends are above zero.

    Chapter 7.
    """
    checks.positive(start, "start")
    checks.positive(end, "end")
    return lambda progress: start * (end / start) ** progress


def k_curriculum(k_start: int, k: int, *, finish: float = 0.5) -> Schedule:
    """From many active units to few: `k_start` falls to `k` by progress `finish`, then stays.

    The schedule returns a scalar, a whole number.

    Raises `ValueError` if k_start is below k, for few to many is the wrong way round, or k below 0,
    and `TypeError` if one of them is no integer.

    Source: Makhzani & Frey (2013), section 4.2.1.
    Chapter 8.
    """
    if checks.whole(k_start, "k_start", 0) < checks.whole(k, "k", 0):
        raise ValueError(
            f"The curriculum would go up from {k_start} to {k}; start with as many units or more."
        )
    line = linear(k_start, k, finish=finish)
    return lambda progress: round(line(progress))
