"""Each answer by itself, as ``answers.parquet`` has it, kept on disk while an export is read."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.labels.pseudonyms import pseudonym, volunteers_key

ROWS = 100_000
_KEPT = pa.schema(
    {
        "object_id": pa.string(),
        "volunteer": pa.string(),
        "answer": pa.int32(),
        "when": pa.timestamp("s", tz="UTC"),
    }
)


class IndividualAnswers:
    """Answers as they come; their file has no name and goes with the process."""

    def __init__(self, out: Path) -> None:
        self._key = volunteers_key(out)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._writer = pa.ipc.new_stream(
            self._file, _KEPT, options=pa.ipc.IpcWriteOptions(compression="lz4")
        )
        self._rows: list[tuple[str, str, int, str]] = []
        self._answers: dict[tuple[str, str], int] = {}

    def add(
        self, object_id: str, volunteer: str, answers: Iterable[tuple[str, str]], when: str
    ) -> None:
        """Add somebody's answers (question, answer) on a galaxy; who it is, is forgotten here."""
        name = pseudonym(volunteer, self._key)
        for answer in answers:
            place = self._answers.setdefault(answer, len(self._answers))
            self._rows.append((object_id, name, place, when))
        if len(self._rows) >= ROWS:
            self._flush()

    def tables(self, galaxies: Iterable[str]) -> Iterator[pa.Table]:
        """Give those on some galaxies, in the order in which they came; once."""
        self._flush()
        self._writer.close()
        self._file.seek(0)
        wanted = pa.array(galaxies, pa.string())
        questions, answers = (
            pa.array([pair[side] for pair in self._answers], pa.string()) for side in (0, 1)
        )
        for batch in pa.ipc.open_stream(self._file):
            rows = batch.filter(pc.is_in(batch["object_id"], wanted))
            names = [part.take(rows["answer"]) for part in (questions, answers)]
            columns = [rows["object_id"], rows["volunteer"], *names, rows["when"]]
            yield pa.Table.from_arrays(columns, schema=products.ANSWERS)

    def _flush(self) -> None:
        if self._rows:
            columns: list[Any] = list(zip(*self._rows, strict=True))
            columns[3] = _times(columns[3])
            arrays = [pa.array(c, kind) for c, kind in zip(columns, _KEPT.types, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=_KEPT))
            self._rows.clear()


def _times(texts: Iterable[str]) -> pa.Array:
    """Read times such as ``2017-02-23 14:32:43 UTC``; null where there is none."""
    plain = pc.replace_substring(pa.array(texts, pa.string()), "T", " ")
    plain = pc.replace_substring_regex(plain, r"[ Z]*(UTC)?[ Z]*$", "")
    plain = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(plain), 0, 19)
    return pc.strptime(plain, "%Y-%m-%d %H:%M:%S", "s", error_is_null=True).cast(_KEPT.types[3])


class SeenKeys:
    """A set of texts, as hashes: 13 to 27 bytes for each, where Python's takes a hundred.

    Of eight bytes: with ten million, three runs in a million take two texts for one.
    """

    def __init__(self) -> None:
        self._count = 0
        self._open(1 << 12)

    def add(self, *parts: str) -> bool:
        """Add some texts together; tell whether they are new."""
        return self._add(
            int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest())
        )

    def _add(self, key: int) -> bool:
        # Nought is an empty place.
        key = key or 1
        slots, mask = self._slots, self._mask
        place = key & mask
        while slots[place]:
            if slots[place] == key:
                return False
            place = (place + 1) & mask
        slots[place] = key
        self._count += 1
        if 5 * self._count > 3 * (mask + 1):
            self._grow()
        return True

    def _open(self, size: int) -> None:
        self._slots, self._mask = memoryview(np.zeros(size, dtype=np.uint64).data), size - 1

    def _grow(self) -> None:
        before = self._slots
        self._open(2 * len(before))
        self._count = 0
        for key in before:
            if key:
                self._add(key)
