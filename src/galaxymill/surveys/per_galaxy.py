"""Services over HTTP, most of them asked galaxy by galaxy."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from galaxymill.surveys.base import Cutout, Service, ServiceSettings, Target
from galaxymill.surveys.mosaics.mosaic import Plane
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.http import Http
from galaxymill.web.network import Network


class HttpService(Service):
    """A service with a client, ``_http``, which is closed with it; ``options`` are of `Http`."""

    def __init__(self, settings: ServiceSettings, network: Network, **options: Any) -> None:
        self._settings = settings
        self._http = Http(network, getattr(settings, "server", ""), **options)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class PerGalaxyService(HttpService):
    """Ask for each galaxy by itself, as many at once as there are connections."""

    def __init__(self, settings: ServiceSettings, network: Network) -> None:
        # With all its headers a cutout is far smaller.
        most_bytes = 2 * settings.payload_bytes(settings.size) + 1_000_000
        super().__init__(settings, network, max_bytes=most_bytes)

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        bytes_each = self._settings.payload_bytes(self._settings.size)
        return self._http.map_bounded(self._cutout, targets, bytes_each)

    @abstractmethod
    def _cutout(self, target: Target) -> Cutout:
        """Ask for one galaxy, and judge what comes."""


def fetch_bands(
    requests: Mapping[str, Callable[..., Answer]], read: Callable[[bytes, str], Plane | None]
) -> tuple[dict[str, Plane], Answer, str]:
    """Make the ``requests`` of one galaxy, by band, up to the first that fails or is invalid.

    ``read`` makes a plane of an answer's bytes, None when they are empty here, and raises
    PayloadError when they are not what was asked for. Returns the planes, the last answer, and
    the reason, with its band, when that is no good; else an empty one.
    """
    planes: dict[str, Plane] = {}
    for band, request in requests.items():

        def judge(answer: Answer, band: str = band) -> Verdict:
            if (plane := read(answer.payload, band)) is not None:
                planes[band] = plane
            return Verdict("ok")

        answer = request(judge=judge)
        if answer.verdict.status not in ("ok", "no_coverage"):
            return planes, answer, f"band {band}: {answer.verdict.reason}"
    return planes, answer, ""
