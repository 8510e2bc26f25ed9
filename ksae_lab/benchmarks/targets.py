"""The table of targets: how many times as fast as PyTorch, how many products a step; met or not."""

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

    def __str__(self) -> str:
        sign, times = ("≤", "") if self.at_most else ("≥", " ×")
        aim = f"{sign} {self.target:g}{times}"
        if self.measured is None:
            return f"{NOT_MEASURED} ({aim})"
        return f"{self.measured:.2f}{times} ({aim}{'' if self.met else ', **not met**'})"


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
    def missed(self) -> bool:
        """Whether a target was measured and is not met."""
        return any(
            each and each.met is False for each in (self.dense, self.strongest, self.product)
        )


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
        own, times = times[engine], times
        rivals = [way for way in RIVALS if way in times]
        rival = min(rivals, key=lambda way: times[way], default=None)
        found = {way: times[way] / own if way in times else None for way in (*RIVALS, rival)}
        product = None
        if line.product is not None:
            measured = own / times[ways.PRODUCT] if ways.PRODUCT in times else None
            product = Found(measured, line.product, at_most=True)
        dense, named = (
            Found(found[ways.DENSE], line.dense),
            Found(found[ways.AUTOCAST], line.strongest),
        )
        result.append(
            Verdict(line, engine, rival, dense, named, Found(found[rival], line.strongest), product)
        )
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
    lines += ["", *(roofline(each, rows, result["machine"]) for each in found if each.missed)]
    return "\n".join(lines).rstrip() + "\n"


def roofline(verdict: Verdict, rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    """What a step at that size must multiply and move at least, in a sentence with its times.

    Chapter 17.
    """
    line = verdict.line
    times = _medians(rows, line)
    row = next(row for row in _at(rows, line) if row["way"] == verdict.engine)
    moved = row["update_bytes"]
    update = 1e3 * moved / (machine["gbs_copy"] * 1e9)
    screened = verdict.engine == ways.SCREENED
    product = "" if screened else f"the product takes {times[ways.PRODUCT]:.2f} ms, and "
    return (
        f"At n = {line.n:,} the step takes {times[verdict.engine]:.2f} ms: {product}the update "
        f"moves {moved / 1e6:,.0f} MB, which takes {update:.2f} ms at the "
        f"{machine['gbs_copy']:.1f} GB/s of a copy."
    )


def _at(rows: Sequence[Row], line: Line) -> list[Row]:
    size = (line.n, line.k, line.batch, speed.D)
    return [row for row in rows if (row["n"], row["k"], row["batch"], row["d"]) == size]


def _medians(rows: Sequence[Row], line: Line) -> dict[str, float]:
    return {row["way"]: row["median_ms"] for row in _at(rows, line)}
