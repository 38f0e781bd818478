"""What goes wrong at the demo's cutout service: chosen by chance, the same at every run."""

from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.simulation.galaxies import tangent_plane
from galaxymill.simulation.sky import generator

SAME_OBJECT_ARCSEC = 5.0
"""A cutout centred this near to an object is that object's."""


@dataclass(frozen=True)
class Verdict:
    """How the service treats the cutouts of one object.

    ``index`` is its row in the truth table, -1 for empty sky. ``empty_bands`` hold zeros alone,
    every answer takes ``delay_s`` longer, and the first one has the HTTP status ``first_status``
    (0: it is the image).
    """

    index: int = -1
    covered: bool = True
    empty_bands: str = ""
    delay_s: float = 0.0
    first_status: int = 0


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on all objects, found by position."""

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    by_index: dict[int, Verdict] = field(default_factory=dict)

    def at(self, ra: float, dec: float) -> Verdict:
        """Verdict on a cutout centred at ``ra``, ``dec`` (degrees)."""
        if self.by_index:
            distance = np.hypot(*tangent_plane(self.ra, self.dec, ra, dec))
            nearest = int(np.argmin(distance))
            if distance[nearest] <= SAME_OBJECT_ARCSEC:
                return self.by_index.get(nearest, Verdict(nearest))
        return Verdict()


@dataclass(frozen=True)
class Faults:
    """Shares of the objects that each fault strikes; defaults are the demo's.

    ``off_footprint``: FITS cutouts end in a 500, JPEGs are blank. ``empty_z``, a number of objects:
    the z plane is all zeros. ``slow``: every answer takes 0.3 to 1 s longer. ``throttled``: the
    first answer is a 429 with ``Retry-After: 1``. ``unavailable``: it is a 503.
    """

    off_footprint: float = 0.004
    empty_z: int = 1
    slow: float = 0.01
    throttled: float = 0.02
    unavailable: float = 0.01

    @classmethod
    def none(cls) -> "Faults":
        """Nothing goes wrong."""
        return cls(off_footprint=0, empty_z=0, slow=0, throttled=0, unavailable=0)

    def judge(self, truth: pa.Table, seed: int) -> Verdicts:
        """Choose whom each fault strikes.

        Objects stand in the order of a hash of ``seed`` and ``object_id``; off the footprint are
        the first of that order, so their number is exact and no object has two faults.
        """
        ids = truth["object_id"].to_pylist()
        lots = [generator(seed, object_id, "faults").random(2) for object_id in ids]
        order = iter(sorted(range(len(ids)), key=lambda index: lots[index][0]))
        struck = [Verdict(i, empty_bands="z") for i in islice(order, self.empty_z)]
        for share, fault in (
            (self.off_footprint, Verdict(covered=False)),
            (self.throttled, Verdict(first_status=429)),
            (self.unavailable, Verdict(first_status=503)),
        ):
            struck += [replace(fault, index=i) for i in islice(order, round(share * len(ids)))]
        for index in islice(order, round(self.slow * len(ids))):
            struck.append(Verdict(index, delay_s=0.3 + 0.7 * float(lots[index][1])))
        verdicts = {verdict.index: verdict for verdict in struck}
        return Verdicts(truth["ra"].to_numpy(), truth["dec"].to_numpy(), verdicts)
