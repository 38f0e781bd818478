"""Upload a manifest's subjects to a subject set, each exactly once, whenever it is broken off.

Between the server's making a subject and the line that says so here, a kill or a lost answer leaves
a doubt. Each subject carries its galaxy's name and its set's, both hidden from volunteers: where
there is doubt, the server's own list is asked for them before anything is made.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill.errors import UserError
from galaxymill.progress import Advance, progress
from galaxymill.rounds.upload import OBJECT_ID, RECEIPTS
from galaxymill.rounds.upload.manifest import Subject, read_manifest
from galaxymill.rounds.upload.patience import RefusedError, UnsureError, again, retries
from galaxymill.rounds.upload.receipts import Receipts, open_receipts
from galaxymill.rounds.upload.zooniverse import PAGE, Zooniverse, connect, without_secrets
from galaxymill.storage.atomic import exclusive

SUBJECT_SET = "#subject_set"
_THREADS = 4

logger = logging.getLogger("galaxymill")


def upload_subjects(manifest: Path, project: str, name: str, endpoint: str) -> str:
    """Upload what is not there yet; give the identifier of the subject set.

    Parameters
    ----------
    manifest : Path
        ``manifest.csv``; receipts are kept beside it, in ``receipts.csv``.
    project, name : str
        Number of the project, and name of its subject set, which is made where there is none.
    endpoint : str
        Address of the API's server.

    Raises
    ------
    UserError
        When manifest, account, project or set are no good, the account's limit is too low, or the
        server no longer answers; what was uploaded by then stays, and the next run goes on.
    """
    if not project.isdigit() or not name.strip():
        raise UserError(
            f"--project {project!r} --subject-set {name!r}: a project's number, as in its address "
            "in the Lab, and a name are needed"
        )
    subjects = read_manifest(manifest)
    place = manifest.with_name(RECEIPTS)
    endpoint = endpoint.rstrip("/")
    with exclusive(place), open_receipts(place) as receipts:
        with without_secrets():
            zooniverse = connect(endpoint)
        with without_secrets(zooniverse):
            address = f"{endpoint}/api/subject_sets/"
            return Upload(zooniverse, receipts, subjects, project, name, address).run()


@dataclass
class Upload:
    """One upload; ``address`` is that of all subject sets."""

    zooniverse: Zooniverse
    receipts: Receipts
    subjects: Sequence[Subject]
    project: str
    name: str
    address: str
    set_id: str = ""
    since: str = ""
    """When the set was made; its subjects are younger."""
    doubts: bool = False
    """Whether a subject may have been made that no answer told of."""

    def run(self) -> str:
        """See `upload_subjects`."""
        room = self._room()
        found = self._find_set()
        if found:
            self._take(found)
            self._take_up()
        todo = [row for row in self.subjects if row.object_id not in self.receipts.subjects]
        if len(todo) > room:
            raise UserError(
                f"{len(todo)} subjects are to be uploaded, but the account may upload {room:.0f} "
                "more: choose fewer (budget), or ask Zooniverse for a higher limit "
                "(https://www.zooniverse.org/about/contact)"
            )
        if not found:
            self._make_set()
        with progress("upload", len(self.subjects), "subjects") as advance:
            advance(len(self.subjects) - len(todo))
            self._make(todo, advance)
        left = [row.object_id for row in self.subjects if row.object_id not in self.receipts.linked]
        if left and (found or self.doubts):
            self._remove_doubles()
        self._link(left)
        return self.set_id

    def _find_set(self) -> dict[str, Any] | None:
        known = self.receipts.subject_set
        if known and not known.startswith(self.address):
            raise UserError(
                f"{self.receipts.path}: is of {known}; move it away to upload elsewhere"
            )
        try:
            self.zooniverse.get(f"/projects/{self.project}")
        except RefusedError as error:
            raise UserError(
                f"--project {self.project}: {error}; see its number in the Lab, and that the "
                "account is a collaborator"
            ) from None
        rows = list(self.zooniverse.all("subject_sets", project_id=self.project))
        if known:
            rows = [row for row in rows if self.address + str(row["id"]) == known]
            if not rows or rows[0]["display_name"] != self.name:
                what = f"named {rows[0]['display_name']!r}" if rows else "not in this project"
                raise UserError(
                    f"{self.receipts.path}: is of {known}, which is {what}; give that one as "
                    "--project and --subject-set, or move the file away to upload once more"
                )
        rows = [row for row in rows if row["display_name"] == self.name]
        if len(rows) > 1:
            raise UserError(
                f"--subject-set {self.name!r}: the project has {len(rows)} of this name; rename "
                "all but one in the Lab, or name another"
            )
        return rows[0] if rows else None

    def _take(self, found: dict[str, Any]) -> None:
        self.set_id, self.since = str(found["id"]), str(found.get("created_at") or "")
        self.receipts.subject_set = self.address + self.set_id

    def _make_set(self) -> None:
        plain = {"display_name": self.name, "links": {"project": self.project}}

        def make() -> dict[str, Any]:
            # Asked first each time: an answer may have been lost, not the set.
            if found := self._find_set():
                return found
            answer, _ = self.zooniverse.ask("POST", "/subject_sets", {"subject_sets": plain})
            made: dict[str, Any] = answer["subject_sets"][0]
            return made

        self._take(again(make))
        logger.info("upload: subject set %s is made", self.set_id)

    def _room(self) -> float:
        """Ask how many subjects the account may yet upload."""
        account = self.zooniverse.get("/me")[0]["users"][0]
        limit = account.get("subject_limit", account.get("max_subjects"))
        done = account.get("uploaded_subjects_count")
        if account.get("upload_whitelist") or None in (limit, done):
            return math.inf
        logger.info("upload: the account has uploaded %d of %d subjects", done, limit)
        return float(max(limit - done, 0))

    def _take_up(self) -> None:
        """Learn what is there: from the set, from receipts, and where there is doubt, by a search.

        Lists may lag behind: what is missing in them is made again, and doubles are removed later.
        """
        receipts = self.receipts
        doubted = set(receipts.begun)
        wanted = {row.object_id: row for row in self.subjects}
        if not receipts.subjects and not doubted:
            doubted = set(wanted)
        for row in self.zooniverse.all("subjects", subject_set_id=self.set_id):
            key = _name(row)
            if key in wanted and key not in receipts.linked:
                receipts.write(key, str(row["id"]), linked=True)
        loose = [key for key in receipts.subjects if key not in receipts.linked]
        for start in range(0, len(loose), PAGE):
            ids = {receipts.subjects[key]: key for key in loose[start : start + PAGE]}
            there = self.zooniverse.subjects_of(list(ids))
            for subject_id, key in ids.items():
                if subject_id not in there:
                    receipts.forget(key)
                    doubted.add(key)
                elif self._is_in(there[subject_id]):
                    receipts.write(key, subject_id, linked=True)
        doubted -= receipts.subjects.keys()
        if doubted:
            self.doubts = True
            for row in self._unlinked():
                key = _name(row)
                if key in doubted and key in wanted and key not in receipts.subjects:
                    _, place = self.zooniverse.place_again(str(row["id"]))
                    self.zooniverse.put_image(place, wanted[key].read())
                    receipts.write(key, str(row["id"]))

    def _unlinked(self, newer_than: int = 0) -> Iterator[dict[str, Any]]:
        """Walk through the subjects that were made for this set and are in none, from the newest.

        The list of the project has no order that is promised: where pages are in order, those that
        are older than the set, or not newer than a subject, are left out; else all are read.
        """
        _, number = self.zooniverse.page("subjects", 1, project_id=self.project)
        ordered, above = True, 0
        while number:
            rows, _ = self.zooniverse.page("subjects", number, project_id=self.project)
            ids = [int(row["id"]) for row in rows]
            ordered &= ids == sorted(ids) and (not above or not ids or ids[-1] < above)
            for row in rows:
                mine = _metadata(row).get(SUBJECT_SET) == self.set_id
                if mine and not _sets(row):
                    yield row
            if ordered and rows:
                above = ids[0]
                older = self.since and str(rows[0].get("created_at") or "") < self.since
                if older or above <= newer_than:
                    return
            number -= 1

    def _make(self, todo: Sequence[Subject], advance: Advance) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                for done in as_completed([pool.submit(self._make_one, row) for row in todo]):
                    done.result()
                    advance()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _make_one(self, subject: Subject) -> None:
        image = subject.read()
        metadata = {**subject.metadata, SUBJECT_SET: self.set_id}
        newest = max(map(int, list(self.receipts.subjects.values())), default=0)
        self.receipts.write(subject.object_id)
        for attempt in retries():
            with attempt:
                rows = self._unlinked(newest) if attempt.num > 1 else ()
                found = next((row for row in rows if _name(row) == subject.object_id), None)
                try:
                    subject_id, place = (
                        self.zooniverse.place_again(str(found["id"]))
                        if found
                        else self.zooniverse.make_subject(self.project, metadata)
                    )
                except UnsureError:
                    self.doubts = True
                    raise
        self.zooniverse.put_image(place, image)
        self.receipts.write(subject.object_id, subject_id)

    def _remove_doubles(self) -> None:
        """Remove subjects that a server made after all, when it had been taken to have not."""
        for row in list(self._unlinked()):
            kept = self.receipts.subjects.get(_name(row))
            if kept and kept != str(row["id"]):
                logger.info("upload: subject %s was made twice; %s is removed", kept, row["id"])
                self.zooniverse.remove(str(row["id"]))

    def _link(self, keys: Sequence[str]) -> None:
        """Link subjects to the set, once, in batches."""
        receipts = self.receipts
        for start in range(0, len(keys), PAGE):
            batch = {receipts.subjects[key]: key for key in keys[start : start + PAGE]}
            for attempt in retries(stale=True):
                with attempt:
                    left = list(batch)
                    if attempt.num > 1:
                        there = self.zooniverse.subjects_of(left)
                        left = [one for one in left if not self._is_in(there.get(one))]
                    if left:
                        path = f"/subject_sets/{self.set_id}/links/subjects"
                        self.zooniverse.ask("POST", path, json={"subjects": left})
            for subject_id, key in batch.items():
                receipts.write(key, subject_id, linked=True)
            logger.info("upload: %d of %d subjects linked", start + len(batch), len(keys))

    def _is_in(self, subject: dict[str, Any] | None) -> bool:
        return subject is not None and self.set_id in _sets(subject)


def _name(subject: dict[str, Any]) -> str:
    return str(_metadata(subject).get(OBJECT_ID))


def _metadata(subject: dict[str, Any]) -> dict[str, Any]:
    return subject.get("metadata") or {}


def _sets(subject: dict[str, Any]) -> list[str]:
    return [str(one) for one in subject.get("links", {}).get("subject_sets") or []]
