"""Service ``simulated``: a made sky behind a local server that speaks the Legacy protocol.

The server starts inside the process that asks and ends with it, so that the demo runs the real
fetch on any machine without a network. Neither its port nor its URL is kept anywhere.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.services.legacy import LegacyService, LegacySettings
from galaxymill.web.network import Network


class SimulatedSettings(ServiceSettings):
    """Settings of the service ``simulated``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"truth"}
    files: ClassVar[frozenset[str]] = ServiceSettings.files | {"truth"}

    truth: Path = Field(description="truth table of the simulated sky, made by `simulate`")


class SimulatedService(LegacyService):
    """The Legacy service, asking a server of its own."""

    def __init__(self, settings: SimulatedSettings, network: Network) -> None:
        import pyarrow.parquet as pq

        from galaxymill.simulation.faults import Faults
        from galaxymill.simulation.server import serve

        read_record(settings.truth, "simulate")
        self._server = serve(pq.read_table(settings.truth), faults=Faults())
        server = self._server.__enter__()
        plain = settings.model_dump(exclude={"truth"})
        legacy = LegacySettings(layer="simulated", server=server, **plain)
        super().__init__(legacy, network)

    def close(self) -> None:
        """End the server."""
        super().close()
        self._server.__exit__(None, None, None)
