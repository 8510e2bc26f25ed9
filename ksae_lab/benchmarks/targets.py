"""The table of targets: how many times as fast as PyTorch, how many products a step; met or not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksae_lab.benchmarks import speed, ways

Row = dict[str, Any]

ENGINES = (ways.ENGINE, ways.SCREENED)
RIVALS = (ways.DENSE, ways.AUTOCAST, ways.BY_HAND)
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Line:
    """What was to be reached at one size; None where there is no target.

    `dense` and `strongest` are how many times as long the rivals are to take, `product` how many
    encoder's products a step may take.

    Chapter 17.
    """

    n: int
    k: int
    batch: int
    dense: float
    strongest: float
    product: float | None


TARGETS = tuple(
    Line(*size, *target)
    for size, target in zip(
        speed.SIZES,
        (
            (2.0, 2.0, None),
            (2.5, 1.2, None),
            (3.8, 1.5, 2.0),
            (6.0, 2.4, 1.25),
            (10.0, 4.0, 0.75),
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Found:
    """A number that a target is held against, the target, and whether it is met.

    `measured` is None, and `met`, where nobody took that way.

    Chapter 17.
    """

    measured: float | None
    target: float
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.measured is None:
            return None
        return self.measured <= self.target if self.at_most else self.measured >= self.target

    @property
    def asked(self) -> float:
        """The share of the step's time, a scalar, that would just be enough."""
        assert self.measured is not None
        return self.target / self.measured if self.at_most else self.measured / self.target

    def __str__(self) -> str:
        sign, times = ("≤", "") if self.at_most else ("≥", " ×")
        aim = f"{sign} {self.target:g}{times}"
        if self.measured is None:
            return f"{NOT_MEASURED} ({aim})"
        # Rounded against us: 1.199 is not 1.20 where 1.2 is asked for.
        shown = (math.ceil if self.at_most else math.floor)(round(100 * self.measured, 6)) / 100
        return f"{shown:.2f}{times} ({aim}{'' if self.met else ', **not met**'})"


@dataclass(frozen=True)
class Verdict:
    """What was found at one size, by which of the engine's ways and against which rival.

    Chapter 17.
    """

    line: Line
    engine: str
    rival: str | None
    dense: Found
    named: Found
    strongest: Found
    product: Found | None

    @property
    def parts(self) -> list[Found]:
        """What there are targets for: `named` is told beside the fastest rival, and is none."""
        return [each for each in (self.dense, self.strongest, self.product) if each]

    @property
    def missed(self) -> bool:
        """Whether a target was measured and is not met."""
        return any(each.met is False for each in self.parts)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """A verdict for each line of the table of which the rows of `speed` have the engine's time.

    The engine's faster way counts. The strongest rival is the fastest one that took its turns; the
    one that the targets were written against, autocast and bags, is told beside it.

    Chapter 17.
    """
    result = []
    for line in TARGETS:
        times = _medians(rows, line)
        engines = [way for way in ENGINES if way in times]
        if not engines:
            continue
        engine = min(engines, key=lambda way: times[way])
        own = times[engine]
        rivals = [way for way in RIVALS if way in times]
        rival = min(rivals, key=lambda way: times[way], default=None)
        found = {way: times[way] / own if way in times else None for way in (*RIVALS, rival)}
        product = None
        if line.product is not None:
            measured = own / times[ways.PRODUCT] if ways.PRODUCT in times else None
            product = Found(measured, line.product, at_most=True)
        dense = Found(found[ways.DENSE], line.dense)
        named, strongest = (Found(found[way], line.strongest) for way in (ways.AUTOCAST, rival))
        result.append(Verdict(line, engine, rival, dense, named, strongest, product))
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """The table, from what `suite.run` gives, and below it the roofline of each line that misses.

    Raises `ValueError` if there is no row of `speed` at any of the sizes.

    Chapter 17.
    """
    rows = [row for row in result["rows"] if row["benchmark"] == "speed"]
    found = verdicts(rows)
    if not found:
        raise ValueError("No row is of the sizes of the targets; run `benchmark speed`, not quick.")
    heads = ("n, k", "dense PyTorch", "PyTorch, autocast and bags", "fastest PyTorch", "products")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for each in found:
        rival = f"{each.strongest}" + (f", {each.rival}" if each.rival else "")
        cells = (
            f"{each.line.n:,}, {each.line.k}",
            each.dense,
            each.named,
            rival,
            each.product or "–",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    missed = [each for each in found if each.missed]
    lines += ["", *(f"- {roofline(each, rows, result['machine'])}" for each in missed)]
    return "\n".join(lines).rstrip() + "\n"


def roofline(verdict: Verdict, rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    """What a step of the engine must do, by the machine's speeds, and if it forbids the target.

    Of a screened step only the update's bytes are counted, not the product of few bits.

    Chapter 17.
    """
    line = verdict.line
    times = _medians(rows, line)
    own = times[verdict.engine]
    # Each part of the table says how many times as fast as now its target is.
    asked = min(own * found.asked for found in verdict.parts if found.met is False)
    row = next(row for row in _at(rows, line) if row["way"] == verdict.engine)
    moved = row["update_bytes"]
    memory = machine["gbs_in_place"]
    least = 1e3 * moved / (memory * 1e9)
    parts = f"the update moves {moved / 1e6:,.0f} MB at the {memory:.1f} GB/s of memory"
    if verdict.engine != ways.SCREENED:
        least += times[ways.PRODUCT]
        parts = f"the product takes {times[ways.PRODUCT]:.2f} ms and {parts}"
    return (
        f"At n = {line.n:,} the step takes {own:.2f} ms and the targets ask for {asked:.2f} ms; "
        f"{parts}, in all {least:.2f} ms, "
        f"which {'forbids it' if least > asked else 'does not forbid it'}."
    )


def _at(rows: Sequence[Row], line: Line) -> list[Row]:
    size = (line.n, line.k, line.batch, speed.D)
    return [row for row in rows if (row["n"], row["k"], row["batch"], row["d"]) == size]


def _medians(rows: Sequence[Row], line: Line) -> dict[str, float]:
    return {row["way"]: row["median_ms"] for row in _at(rows, line)}
