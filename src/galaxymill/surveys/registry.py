"""Services by name. A new service is one module and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from galaxymill.surveys.base import Service, ServiceSettings
from galaxymill.surveys.services import (
    euclid,
    files,
    hips2fits,
    hsc,
    legacy,
    observed,
    panstarrs,
    sdss,
    sia,
    simulated,
    synthetic,
    tiles,
)
from galaxymill.web.network import Network


@dataclass(frozen=True)
class Entry:
    """A registered service: its settings, and what makes it from these and the network limits."""

    settings: type[ServiceSettings]
    open: Callable[[Any, Network], Service]


SERVICES: dict[str, Entry] = {
    "euclid": Entry(euclid.EuclidSettings, euclid.EuclidService),
    "files": Entry(files.FilesSettings, lambda settings, _: files.FilesService(settings)),
    "hips2fits": Entry(hips2fits.Hips2FitsSettings, hips2fits.Hips2FitsService),
    "hsc": Entry(hsc.HscSettings, hsc.HscService),
    "legacy": Entry(legacy.LegacySettings, legacy.LegacyService),
    "observed": Entry(
        observed.ObservedSettings, lambda settings, _: observed.ObservedService(settings)
    ),
    "panstarrs": Entry(panstarrs.PanstarrsSettings, panstarrs.PanstarrsService),
    "sdss": Entry(sdss.SdssSettings, sdss.SdssService),
    "sia": Entry(sia.SiaSettings, sia.SiaService),
    "simulated": Entry(simulated.SimulatedSettings, simulated.SimulatedService),
    "synthetic": Entry(
        synthetic.SyntheticSettings, lambda settings, _: synthetic.SyntheticService(settings)
    ),
    "tiles": Entry(tiles.TilesSettings, lambda settings, _: tiles.TilesService(settings)),
}
