"""The interface of tasks: kinds of labels that a model learns and predicts.

A new kind is a subclass in an imported module; it is registered by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import UserError, unknown_name
from galaxymill.storage.columns import field
from galaxymill.tasks.released import ColumnGroup, Panel, ReleaseText

if TYPE_CHECKING:
    from galaxymill.tasks.checks import CheckSettings, Dropped
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]


class HeadSettings(Protocol):
    """What a head needs of the settings of training."""

    @property
    def dropout(self) -> float:
        """Share of features that are dropped."""

    @property
    def concentrations(self) -> tuple[float, ...]:
        """Range of Dirichlet concentrations."""


class Task(ABC):
    """One kind of labels and predictions.

    Attributes
    ----------
    kind : str
        Its name in ``model.yaml`` and in the labels product.
    pooled : bool
        Whether its head takes the encoder's pooled features (n, f); else their map (n, f, h, w),
        of one view of each image.
    adds_up : bool
        Whether the labels of a galaxy in several files add up; else they must agree.
    sample_column : str
        Column that holds every sample of the posterior.
    sample_group : ColumnGroup
        Description of that column in a release.
    groups : mapping of str to ColumnGroup
        Descriptions of the summary columns, by what follows their last underscore.
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Task"]]] = {}
    pooled: ClassVar[bool] = True
    adds_up: ClassVar[bool] = False
    sample_column: ClassVar[str]
    sample_group: ClassVar[ColumnGroup] = ColumnGroup(
        "posterior samples", "every sample of the posterior, sample after sample", "stat.param"
    )
    groups: ClassVar[Mapping[str, ColumnGroup]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Register a kind by its name."""
        super().__init_subclass__(**options)
        if "kind" in vars(cls):
            Task.kinds[cls.kind] = cls

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the label columns."""

    @property
    def handed(self) -> str:
        """Question with other answers in a mirror, as clockwise is anticlockwise; empty: none."""
        return ""

    @abstractmethod
    def label_fields(self) -> list[pa.Field]:
        """Label columns of the product of labels, in the order of ``columns``."""

    def read_labels(self, table: pa.Table) -> Floats:
        """Take the labels (n, …) from a product of labels; by default a column each."""
        columns = [table[name].to_numpy().astype(np.float64) for name in self.columns]
        return np.column_stack(columns)

    @abstractmethod
    def sample_width(self) -> tuple[int, str]:
        """Length of one sample of a galaxy's posterior, and what its values are."""

    @abstractmethod
    def summary_fields(self) -> list[pa.Field]:
        """Columns that sum up a posterior: numbers, or lists of a fixed number of them."""

    @abstractmethod
    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Compute every column of ``summary_fields`` for samples (n, s, …) of the posterior.

        Arrays of shape (n,), or (n, …) for a column of lists.
        """

    def panels(self) -> list[Panel]:
        """List what the pictures of a release show; by default nothing."""
        return []

    @abstractmethod
    def release_text(self) -> ReleaseText:
        """Describe what is predicted, for the README of a release."""

    @abstractmethod
    def head(self, features: int, settings: "HeadSettings") -> "Head":
        """Make the part of the network that predicts, for an encoder of so many features."""

    @abstractmethod
    def report(self, data: "EvaluationData") -> "ReportContent":
        """Compare predictions with labels, for the page of an evaluation."""

    def scores(self, samples: Values, labels: Floats) -> dict[str, float]:
        """Sum up how far samples (n, s, …) are from labels (n, …), in a few numbers by name.

        A learning curve shows them; by default it has the loss alone.
        """
        return {}

    @abstractmethod
    def difference(self, one: Values, other: Values) -> float:
        """Largest difference between two computations of the same samples (n, s, …).

        Of a fraction or a probability; of a number in units of its standard deviation.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain form, with ``kind``, as `parse_task` reads it."""

    @classmethod
    @abstractmethod
    def from_dict(cls, plain: Mapping[str, Any], place: str) -> Self:
        """Build a task from its plain form; ``place`` names it in errors."""

    def has_label(self, labels: Floats) -> npt.NDArray[np.bool_]:
        """Tell which galaxies have a label (n, …) to learn from or compare with; shape (n,)."""
        return np.asarray(np.isfinite(labels).all(axis=tuple(range(1, labels.ndim))))

    def check(
        self, object_ids: Sequence[str], labels: Floats, settings: "CheckSettings"
    ) -> "tuple[Floats, list[Dropped]]":
        """Leave out labels (n, …) that cannot be, and say which; by default all can."""
        return labels, []

    def log_labels(self, labels: pa.Table) -> None:  # noqa: B027 - most have nothing to log
        """Log what the product of labels holds, beyond the numbers of galaxies."""

    def joined(self, others: Sequence["Task"], place: str) -> "Task":
        """Give the task of a model that learns this and others, or say why there is none."""
        raise UserError(f"{place}: only votes can be learned jointly, not labels of {self.kind}")

    def sample_field(self, draws: int) -> pa.Field:
        """Column of every sample of the posterior."""
        width, what = self.sample_width()
        described = f"{what}, {draws} samples × {width} values"
        return field(self.sample_column, pa.list_(pa.float32(), draws * width), described)


def parse_task(plain: Any, place: str) -> Task:
    """Build a task from its plain form; ``place`` names it in errors."""
    import galaxymill.tasks  # noqa: F401 - registers the kinds

    kind = plain.get("kind") if isinstance(plain, Mapping) else None
    if kind not in Task.kinds:
        raise unknown_name(f"{place}: kind", str(kind), Task.kinds, "kind")
    return Task.kinds[kind].from_dict(plain, place)


def join_tasks(tasks: Sequence[Task], place: str) -> Task:
    """Give the one task of several labelled sets; a UserError when they have none."""
    first, *others = tasks
    return first if all(task == first for task in others) else first.joined(others, place)
