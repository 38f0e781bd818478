"""What services that are asked galaxy by galaxy have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from galaxymill.surveys.base import Cutout, ServiceSettings, Target
from galaxymill.surveys.http import Http


class PerGalaxyService(ABC):
    """Ask for each galaxy by itself, as many at once as there are connections.

    Parameters
    ----------
    http : Http
        The client, closed with the service.
    settings : ServiceSettings
        Tell how large a cutout is.
    """

    def __init__(self, http: Http, settings: ServiceSettings) -> None:
        self._http = http
        self._bytes_each = settings.payload_bytes(settings.size)

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        return self._http.each(self._cutout, targets, self._bytes_each)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @abstractmethod
    def _cutout(self, target: Target) -> Cutout:
        """Ask for one galaxy, and judge what comes."""
