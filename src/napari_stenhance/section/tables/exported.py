"""Small tables of text as R, Excel and others export them: every cell as it is written.

Separators, quotes around cells or whole lines, names of rows, marks of encodings and decimal commas
are told by the first line, as nobody who opens such a file again can see them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.section.tables.claims import COLUMNS_MOST, read_positions_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ROW_NAMES = ""
"""What the column of row names is called, which R and pandas leave without a name."""
_SEPARATORS = (",", ";", "\t")
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?\s*", re.IGNORECASE)
# 1,234 is one of them, or the other.
_DECIMAL_COMMA = r"[-+]?\d*,\d+"
_THOUSANDS = r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"
_SEP_LINE = re.compile(r"\s*sep=.\r?\n", re.IGNORECASE)
_MISSING = ("", "na", "nan", "null", "none")
_TRUTH = {"true": "1", "false": "0"}


def read_exported(path: Path) -> pd.DataFrame:
    """Read a table, all cells as text.

    Returns
    -------
    DataFrame
        Its columns are named by the header, or numbered where there is none.

    Raises
    ------
    ValueError
        If it is larger or wider than such tables are, or lines differ in length.
    """
    import pandas as pd

    content = read_positions_text(path, b",").getvalue()
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    # Excel's own line, which names the separator.
    text = _SEP_LINE.sub("", text, count=1) if _SEP_LINE.match(text) else text
    first = next(filter(str.strip, text.splitlines()), "")
    separator = _separator(first)
    if separator is None:
        # Excel quotes lines that it did not split.
        whole = (line.strip()[1:-1].replace('""', '"') for line in text.splitlines())
        text = "\n".join(whole)
        first = next(filter(str.strip, text.splitlines()), "")
        separator = _separator(first) or ","
    cells = next(csv.reader([first], delimiter=separator), [])
    if len(cells) >= COLUMNS_MOST:
        msg = f"its first line has more than {COLUMNS_MOST} columns"
        raise ValueError(msg)
    # Nothing but numbers behind an id: no line of names.
    header = not (len(cells) > 1 and all(_is_value(cell) for cell in cells[1:]))
    table = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=0 if header else None,
        dtype=str,
        skipinitialspace=True,
        keep_default_na=False,
    )
    if not isinstance(table.index, pd.RangeIndex):
        # R's write.table names one column less than there are.
        if table.index.nlevels > 1:
            msg = "lines have more fields than the first names"
            raise ValueError(msg)
        table = table.reset_index(names=ROW_NAMES)
    if not header:
        return table
    names = [ROW_NAMES if str(c).startswith("Unnamed: 0") else str(c).strip() for c in table]
    return table.set_axis(names, axis=1)


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Call columns by the names that they have elsewhere, whatever their case."""
    known = {name: names.get(str(name).lower(), name) for name in table.columns}
    wanted = list(known.values())
    # What has the name already is it.
    return table.rename(
        columns={
            old: new
            for old, new in known.items()
            if old == new or (new not in table.columns and wanted.count(new) == 1)
        }
    )


def numbers_in(column: pd.Series[str]) -> NDArray[np.float64]:
    """Read a column of numbers; TRUE and FALSE are 1 and 0, what is missing is NaN.

    A comma is that of decimals, or where no cell can be such and another is whole, of thousands.

    Raises
    ------
    ValueError
        If a cell is none, or nothing says which of both commas are.
    """
    import numpy as np

    words = {**dict.fromkeys(_MISSING, "nan"), **_TRUTH}
    values = column.astype(object).str.strip()
    values = values.where(~values.str.lower().isin(words), values.str.lower().map(words))
    commas = values[values.str.contains(",", regex=False, na=False)]
    if len(commas):
        if not commas.str.fullmatch(_THOUSANDS).all():
            values = values.str.replace(",", ".", regex=False)
        elif values.str.fullmatch(r"[-+]?\d{1,3}").any() or not (
            commas.str.fullmatch(_DECIMAL_COMMA).all()
        ):
            values = values.str.replace(",", "", regex=False)
        else:
            either = " or ".join(commas.iloc[0].replace(",", mark) for mark in (".", ""))
            msg = f"{commas.iloc[0]} may be {either}: write numbers without such commas"
            raise ValueError(msg)
    return np.asarray(values, dtype=np.float64)


def _separator(line: str) -> str | None:
    """Find what separates cells; None where a whole line is quoted as one."""
    bare = re.sub(r'"[^"]*"', "", line)
    counted = {separator: bare.count(separator) for separator in _SEPARATORS}
    if not any(counted.values()):
        return None if line.strip().startswith('"') and any(s in line for s in _SEPARATORS) else ","
    # Decimal commas are as many as semicolons at most.
    if counted[";"] and counted[";"] >= counted[","]:
        return ";"
    return max(_SEPARATORS, key=lambda separator: counted[separator])


def _is_value(cell: str) -> bool:
    bare = cell.strip().lower()
    return bare in {*_MISSING, *_TRUTH} or _NUMBER.fullmatch(bare) is not None
