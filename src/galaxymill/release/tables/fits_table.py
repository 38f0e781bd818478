"""The release as FITS binary tables, for tools that read nothing else."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.decoding.decode import carried, ones_complement_sum
from galaxymill.products import RELEASED
from galaxymill.release.columns import Column
from galaxymill.units import in_fits

MOST_ROWS = 10_000_000
"""More than these are written as a file a tile."""

ROWS_AT_ONCE = 2048
"""A table is put together row by row, in the processor's cache."""

_BLOCK = 2880
_NULL = {"I": -(2**15), "J": -(2**31), "K": -(2**63)}
_DTYPES = {"L": "i1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_SPELT = str.maketrans(
    dict(zip("×–—−’“”µıłŁøØđĐ", 'x---\'""uilLoOdD', strict=True))
    | {"≤": "<=", "≥": ">=", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column is of texts, whose width is in the header of a FITS table."""
    return kind in (pa.string(), pa.large_string())


@contextmanager
def open_fits(
    path: Path, columns: Sequence[Column], widths: Mapping[str, int], rows: int, name: str
) -> Iterator["FitsTable"]:
    """Open a FITS binary table for writing; the checksums are written when the block ends well.

    Parameters
    ----------
    columns : sequence of Column
        None is a list.
    widths : mapping of str to int
        Most bytes of each column of texts.
    rows : int
        How many will be written.
    name : str
        Of the extension.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        table = FitsTable(file, columns, widths, rows, name)
        yield table
        table.finish()


class FitsTable:
    """A FITS file with one binary table, written some rows at a time; see `open_fits`.

    Nulls are NaN in columns of floats, TNULL in those of integers, 0 in those of booleans and
    empty in texts, as the standard (4.0, section 7.3) has it; it has no letters but ASCII's.
    """

    def __init__(
        self,
        file: BinaryIO,
        columns: Sequence[Column],
        widths: Mapping[str, int],
        rows: int,
        name: str,
    ) -> None:
        from astropy.io import fits

        self._file, self._columns = file, columns
        self._codes = [
            f"{max(widths[c.name], 1) if is_text(c.field.type) else ''}{RELEASED[c.field.type][1]}"
            for c in columns
        ]
        kinds = [(f"f{n}", _DTYPES.get(c, f"S{c[:-1]}")) for n, c in enumerate(self._codes)]
        together = np.zeros(ROWS_AT_ONCE, kinds)
        self._places = [together[name] for name, _ in kinds]
        self._bytes = together.view(np.uint8).reshape(ROWS_AT_ONCE, -1)
        primary = fits.PrimaryHDU().header
        _set_sums(primary, 0)
        file.write(primary.tostring().encode("ascii"))
        self._header = _header(columns, self._codes, rows, name)
        _set_sums(self._header, 0)
        self._start = file.tell()
        file.write(self._header.tostring().encode("ascii"))
        self._rows, self._sum, self._tail = rows, 0, b""

    def write(self, table: pa.Table) -> None:
        """Append rows of a table that has all columns, and maybe others."""
        values = [
            _values(table[column.name].combine_chunks(), code)
            for column, code in zip(self._columns, self._codes, strict=True)
        ]
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, table.num_rows)
            for place, column in zip(self._places, values, strict=True):
                place[: stop - start] = column[start:stop]
            data = self._bytes[: stop - start].ravel()
            self._file.write(data.data)
            self._add(data)
        self._rows -= table.num_rows

    def _add(self, data: npt.NDArray[np.uint8]) -> None:
        """Add to the checksum, which is over words of four bytes."""
        if self._tail:
            data = np.concatenate([np.frombuffer(self._tail, np.uint8), data])
        whole = len(data) - len(data) % 4
        self._sum = carried(self._sum + ones_complement_sum(data[:whole].data))
        self._tail = data[whole:].tobytes()

    def finish(self) -> None:
        """Fill the last block, and write the sums into the header.

        Raises
        ------
        RuntimeError
            When other than the promised rows were written.
        """
        if self._rows:
            raise RuntimeError(f"FITS table: {self._rows} rows of those promised are missing")
        self._sum = carried(self._sum + ones_complement_sum(self._tail))
        self._file.write(bytes(-self._file.tell() % _BLOCK))
        _set_sums(self._header, self._sum)
        self._file.seek(self._start)
        self._file.write(self._header.tostring().encode("ascii"))


def _set_sums(header: Any, data: int) -> None:
    """Set DATASUM, and CHECKSUM so that the HDU adds up to -0."""
    header["DATASUM"] = str(data)
    header["CHECKSUM"] = "0" * 16
    total = ones_complement_sum(header.tostring().encode("ascii"))
    header["CHECKSUM"] = _encode(0xFFFFFFFF - carried(total + data))


def _encode(value: int) -> str:
    """Spell 32 bits as 16 ASCII characters that add up to them (FITS standard 4.0, appendix J).

    Each byte becomes four characters that add up to it; pairs are moved apart, one up and one
    down, until none is punctuation.
    """
    excluded = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
    spelt = [0] * 16
    for byte in range(4):
        quotient, remainder = divmod(value >> 8 * (3 - byte) & 0xFF, 4)
        four = [quotient + remainder + 0x30, *[quotient + 0x30] * 3]
        while excluded.intersection(four):
            for pair in (0, 2):
                if excluded.intersection(four[pair : pair + 2]):
                    four[pair] += 1
                    four[pair + 1] -= 1
        for place, character in enumerate(four):
            spelt[4 * place + byte] = character
    # The value of the card starts in its twelfth column: one to the right.
    return bytes([*spelt[-1:], *spelt[:-1]]).decode("ascii")


def _header(columns: Sequence[Column], codes: Sequence[str], rows: int, name: str) -> Any:
    from astropy.io import fits

    fields = [
        fits.Column(column.name, code, in_fits(column.unit) or None, null=_NULL.get(code))
        for column, code in zip(columns, codes, strict=True)
    ]
    header = fits.BinTableHDU.from_columns(fields, nrows=0, name=name).header
    header["NAXIS2"] = rows
    for number, column in enumerate(columns, 1):
        if column.ucd:
            header[f"TUCD{number}"] = column.ucd
        # One that FITS does not know, such as nat, stands in the comment instead.
        unit = f" [{column.unit}]" if in_fits(column.unit) != column.unit else ""
        if column.description or unit:
            header[f"TCOMM{number}"] = ascii_only(column.description + unit)
    return header


def ascii_only(text: str) -> str:
    """Spell a text in the letters that FITS may hold: without accents, ``?`` for what remains,
    line breaks among them (FITS standard 4.0, section 4.2.1: ASCII from 32 to 126).

    Never longer than the text in UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    apart = unicodedata.normalize("NFD", text.translate(_SPELT))
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return re.sub("[^ -~]", "?", plain)


def _values(column: pa.Array, code: str) -> npt.NDArray[Any]:
    if code.endswith("A"):
        texts = pc.fill_null(column, "").to_pylist()
        return np.array([ascii_only(text).encode() for text in texts], f"S{code[:-1]}")
    if code == "L":
        letters = np.where(pc.fill_null(column, False), ord("T"), ord("F"))
        return np.where(column.is_null(), 0, letters)
    if code in _NULL:
        filled: npt.NDArray[Any] = pc.fill_null(column.cast(pa.int64()), _NULL[code]).to_numpy()
        return filled
    floats: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return floats
