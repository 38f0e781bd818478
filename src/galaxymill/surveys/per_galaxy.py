"""What services have in common that are asked over HTTP, most of them galaxy by galaxy."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from galaxymill.surveys.base import Cutout, ServiceSettings, Target
from galaxymill.web.http import Http
from galaxymill.web.network import Network


class HttpService:
    """A service with a client, ``_http``, which is closed with it; ``options`` are of `Http`."""

    def __init__(self, settings: ServiceSettings, network: Network, **options: Any) -> None:
        self._settings = settings
        self._http = Http(network, getattr(settings, "server", ""), **options)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class PerGalaxyService(HttpService, ABC):
    """Ask for each galaxy by itself, as many at once as there are connections."""

    def __init__(self, settings: ServiceSettings, network: Network) -> None:
        super().__init__(settings, network, max_bytes=settings.most_bytes())

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        bytes_each = self._settings.payload_bytes(self._settings.size)
        return self._http.map_bounded(self._cutout, targets, bytes_each)

    @abstractmethod
    def _cutout(self, target: Target) -> Cutout:
        """Ask for one galaxy, and judge what comes."""
