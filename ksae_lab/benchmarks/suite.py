"""The benchmarks by their names, and what a run of them comes to: a card of the machine and rows.

A benchmark is a module with one function, `rows(quick)`, that yields rows as they are measured, and
`COLUMNS`, what the table on the screen shows of them beside `FIELDS`. A row has at least these
fields; what it does not measure is None.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ksae_lab.benchmarks import machine
from ksae_lab.data.paths import content
from ksae_lab.experiments import archive

Row = dict[str, Any]

FIELDS = ("benchmark", "n", "k", "d", "batch", "way", "median_ms", "ratio_to_product")
MODULES = {
    name: f"ksae_lab.benchmarks.{name}"
    for name in ("speed", "scale", "quality", "memory", "convergence", "inference")
}


def chosen(names: Sequence[str]) -> list[str]:
    """The benchmarks of these names, or all.

    Raises `ValueError` for a name that is none.

    Chapter 17.
    """
    if wrong := [name for name in names if name not in MODULES]:
        raise ValueError(f"There is no benchmark {wrong[0]!r}; choose from {', '.join(MODULES)}.")
    return list(dict.fromkeys(names)) or list(MODULES)


def run(
    names: Sequence[str], quick: bool, done: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Measure on one thread: {"machine": …, "rows": …}; `done` is handed it after each row.

    So what was measured is there, whatever happens next. `machine["quick"]` says whether the sizes
    are the small ones, `machine["finished"]` which benchmarks have all their rows.

    Raises what the benchmarks raise, and `ValueError` for a row that lacks one of `FIELDS`.

    Chapter 17.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        finished: list[str] = []
        card = machine.card() | {"quick": quick, "finished": finished}
        result: dict[str, Any] = {"machine": card, "rows": []}
        for name in names:
            for row in _rows(name, quick):
                result["rows"].append(row)
                done(result)
            finished.append(name)
            done(result)
    return result


def write(result: dict[str, Any], path: Path) -> None:
    """Put what `run` gives in a file of JSON, in place of an earlier one, a line for each row.

    Raises `OSError` if the disk refuses.

    Chapter 17.
    """
    card = json.dumps(result["machine"], indent=1, ensure_ascii=False)
    rows = ",\n".join(
        json.dumps(row, allow_nan=False, ensure_ascii=False) for row in result["rows"]
    )
    archive.put(path, f'{{"machine": {card},\n"rows": [\n{rows}\n]}}\n'.encode())


def read(path: Path) -> dict[str, Any]:
    """What `write` has written.

    Raises `ValueError` for a file that it has not.

    Chapter 17.
    """
    try:
        result = json.loads(content(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}; give one of `benchmark`.") from None
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}); give a file that `benchmark` wrote."
        ) from None
    except ValueError:
        result = None
    if not isinstance(result, dict) or result.keys() != {"machine", "rows"}:
        raise ValueError(f"{path} holds no machine and rows; give a file that `benchmark` wrote.")
    return result


def table(name: str, rows: Sequence[Row]) -> str:
    """The rows of the benchmark of that name in columns; those that are empty are left out.

    Chapter 17.
    """
    columns = [*FIELDS[1:], *import_module(MODULES[name]).COLUMNS]
    columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _rows(name: str, quick: bool) -> Iterator[Row]:
    for row in import_module(MODULES[name]).rows(quick):
        if missing := [field for field in FIELDS if field not in row]:
            raise ValueError(f"A row of {name} lacks {', '.join(missing)}: {row}.")
        yield row


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " ".join(_cell(each) or "–" for each in value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
