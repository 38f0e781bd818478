"""What has been fetched so far: one record a galaxy, in the order of the answers."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from galaxymill.storage.records import RecordFile, open_records
from galaxymill.surveys.base import Cutout, Target

_LOOK_S = 0.05


class PartFile:
    """Cutouts of one partition, kept as they come; see `open_part`."""

    def __init__(self, records: RecordFile) -> None:
        self._records = records
        self._places: dict[str, tuple[int, str, str]] = {}
        for place, plain, _ in records.records():
            if not self._count(place, plain):
                records.cut(place)

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def statuses(self) -> Iterator[str]:
        """Status of each galaxy that is here."""
        return (status for _, status, _ in self._places.values())

    def outcomes(self) -> Iterator[tuple[str, str, str]]:
        """Galaxy, status and reason of all that are here."""
        return ((key, status, why) for key, (_, status, why) in self._places.items())

    def add(self, cutout: Cutout) -> None:
        """Keep one cutout, at once; raises UserError when the disk is full."""
        # Not dataclasses.asdict: its deep copies took a seventh of the stage's time.
        time = cutout.fetched_at
        plain = vars(cutout) | {
            "target": vars(cutout.target),
            "payload": None,
            "fetched_at": time and time.isoformat(),
            "empty": cutout.payload is None,
        }
        place = self._append({"cutout": plain}, cutout.payload or b"")
        self._places[cutout.target.object_id] = (place, cutout.status, cutout.reason)

    def forget(self, object_ids: Iterable[str]) -> None:
        """Ask for these galaxies again when the work is resumed."""
        kept = [key for key in object_ids if self._places.pop(key, None)]
        if kept:
            self._append({"forget": kept}, b"")

    def read(self, object_id: str) -> Cutout:
        """Read one cutout back."""
        plain, payload = self._records.read(self._places[object_id][0])
        values = dict(plain["cutout"])
        values["payload"] = None if values.pop("empty") else payload
        values["target"] = Target(**values["target"])
        if values["fetched_at"]:
            values["fetched_at"] = datetime.fromisoformat(values["fetched_at"])
        return Cutout(**values)

    def _append(self, plain: Mapping[str, Any], payload: bytes) -> int:
        return self._records.append(plain, payload, kept=f"{len(self)} galaxies are kept")

    def _count(self, place: int, plain: Mapping[str, Any]) -> bool:
        """Count the record at ``place``; False when it is neither a cutout nor a list of some."""
        match plain:
            case {
                "cutout": {
                    "target": {"object_id": str(object_id)},
                    "status": str(status),
                    "reason": str(reason),
                }
            }:
                self._places[object_id] = (place, status, reason)
            case {"forget": list(object_ids)}:
                for object_id in object_ids:
                    self._places.pop(object_id, None)
            case _:
                return False
        return True


@contextmanager
def open_part(product: Path, key: Mapping[str, Any]) -> Iterator[PartFile]:
    """Open the part file of a product, as `open_records` does."""
    with open_records(product, key) as records:
        yield PartFile(records)


class _AbandonedError(Exception):
    """The product is not to be finished."""


@contextmanager
def write_meanwhile(
    write: Callable[[Iterable[Cutout]], None], part: PartFile, targets: Iterable[Target]
) -> Iterator[None]:
    """Run ``write`` on the cutouts of ``targets``, in their order, while the block fetches them.

    The network is slower than a disk. The product is finished only if the block ends well.
    """
    over = threading.Event()
    complete = False

    def cutouts() -> Iterator[Cutout]:
        for target in targets:
            while target.object_id not in part:
                if over.wait(_LOOK_S) and not complete:
                    raise _AbandonedError
            yield part.read(target.object_id)
        # All are there, but whether they are a product is still to be judged.
        over.wait()
        if not complete:
            raise _AbandonedError

    with ThreadPoolExecutor(1, "write") as pool:
        product = pool.submit(write, cutouts())
        try:
            yield
            complete = True
        finally:
            over.set()
        product.result()
