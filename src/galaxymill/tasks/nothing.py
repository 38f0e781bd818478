"""The task of an encoder alone: there is nothing to learn or to predict, only embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.tasks.released import ColumnGroup, ReleaseText
from galaxymill.tasks.task import Floats, HeadSettings, Task, Values

if TYPE_CHECKING:
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent


@dataclass(frozen=True)
class NoTask(Task):
    """Nothing: no label, no column, a head without outputs."""

    kind: ClassVar[str] = "nothing"
    sample_column: ClassVar[str] = "samples"
    groups: ClassVar[Mapping[str, ColumnGroup]] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def label_fields(self) -> list[pa.Field]:
        """None."""
        return []

    def sample_width(self) -> tuple[int, str]:
        """Samples hold nothing."""
        return 0, "nothing"

    def summary_fields(self) -> list[pa.Field]:
        """None."""
        return []

    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Give no column."""
        return {}

    def release_text(self) -> ReleaseText:
        """Say that nothing is predicted."""
        return ReleaseText("nothing: an encoder alone gives embeddings only")

    def head(self, features: int, settings: HeadSettings) -> "Head":
        """Make a head without outputs."""
        from galaxymill.tasks.heads import NoHead

        return NoHead(0, 0.0)

    def report(self, data: "EvaluationData") -> "ReportContent":
        """Refuse: there is nothing to compare."""
        raise UserError("an encoder alone predicts nothing that can be compared with labels")

    def difference(self, one: Values, other: Values) -> float:
        """Largest difference of features, as a share of their length."""
        length = np.linalg.norm(one, axis=-1)
        return float((np.linalg.norm(one - other, axis=-1) / np.maximum(length, 1e-30)).max())

    def to_dict(self) -> dict[str, Any]:
        """Plain form: the kind."""
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], place: str) -> Self:
        """Build it from its plain form."""
        return cls()
