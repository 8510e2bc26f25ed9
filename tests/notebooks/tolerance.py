"""How far a printed number may move, which the tags of its cell and its own digits decide.

Only these tags let a number with a decimal point move:

- `nbval-near`: by one unit in its last printed digit, `nbval-near:3` by three;
- `nbval-rtol:5e-2`: by that share of itself, and in any case by one unit;
- `nbval-timing`: by any amount, as integers may, and a figure by all but its size: for seconds,
  which belong to a machine. Words are compared there, too.

Without the last one no number moves by more than a quarter of itself. So a zero stays a zero, and
one unit is too much for 0.02 or for a label like 0.1. What varies needs another digit.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

# A number stands alone: not part of a name (W1), of a version (1.0.4) or of a size (28x28).
NUMBER = re.compile(r"(?<![\w.])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\w|\.\d)")

WIDEST = Decimal("0.25")  # of the number itself
KNOWN = "nbval-near, nbval-near:3, nbval-rtol:5e-2 (at most a quarter) or nbval-timing"


@dataclass(frozen=True)
class Tolerance:
    """What the tags of a cell allow: units in a last digit, a share, or with `timing` anything."""

    units: Decimal = Decimal(1)
    rtol: Decimal = Decimal(0)
    timing: bool = False

    @classmethod
    def from_tags(cls, tags: Iterable[str]) -> Self | None:
        """Read the tags that begin with `nbval-`; None means that nothing may move.

        Raises ValueError naming a tag that is not known.
        """
        limits = {}
        wanted = [tag for tag in tags if tag.startswith("nbval-")]
        for tag in wanted:
            match tag.removeprefix("nbval-").split(":"):
                case ["near"]:
                    continue
                case ["near", units] if units.isdecimal():
                    limits["units"] = Decimal(units)
                case ["rtol", share] if NUMBER.fullmatch(share) and 0 < Decimal(share) <= WIDEST:
                    limits["rtol"] = Decimal(share)
                case ["timing"]:
                    limits["timing"] = True
                case _:
                    raise ValueError(f"The tag {tag!r} is not known; use {KNOWN}.")
        return cls(**limits) if wanted else None

    def slack(self, stored: str, fresh: str) -> Decimal:
        """How far a stored float may be from one that is printed with as many digits as `fresh`."""
        # Of two precisions the finer one counts: 0.5 and 0.5412 are not one unit apart.
        unit = min(last_digit(stored), last_digit(fresh))
        size = abs(Decimal(stored))
        return min(max(self.units * unit, self.rtol * size), WIDEST * size)

    def allows(self, stored: str, fresh: str) -> bool:
        """Tell whether two printed numbers agree; integers agree only when they are equal."""
        if stored == fresh or self.timing:
            return True
        if not (is_float(stored) and is_float(fresh)):
            return False
        return abs(Decimal(stored) - Decimal(fresh)) <= self.slack(stored, fresh)


def is_float(number: str) -> bool:
    """Tell a float from an integer by how it is printed."""
    return bool(re.search("[.eE]", number))


def last_digit(number: str) -> Decimal:
    """One unit in the last printed digit; 0 where none stands after a point (5., 1e3)."""
    digits = re.search(r"\.\d", number)
    return Decimal(1).scaleb(Decimal(number).as_tuple().exponent) if digits else Decimal(0)
