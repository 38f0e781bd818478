"""What services have in common that are asked over HTTP, most of them galaxy by galaxy."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from galaxymill.surveys.base import Cutout, ServiceSettings, Target
from galaxymill.web.http import Http
from galaxymill.web.network import Network


class HttpService:
    """A service with a client, ``_http``, which is closed with it."""

    _http: Http

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class PerGalaxyService(HttpService, ABC):
    """Ask for each galaxy by itself, as many at once as there are connections.

    Parameters
    ----------
    settings : ServiceSettings
        Tell which ``server`` is asked, and how large a cutout is.
    network : Network
        The limits.
    """

    def __init__(self, settings: ServiceSettings, network: Network) -> None:
        self._settings = settings
        server = getattr(settings, "server", "")
        self._http = Http(network, server, max_bytes=settings.most_bytes())

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        bytes_each = self._settings.payload_bytes(self._settings.size)
        return self._http.map_bounded(self._cutout, targets, bytes_each)

    @abstractmethod
    def _cutout(self, target: Target) -> Cutout:
        """Ask for one galaxy, and judge what comes."""
