"""How a release may be used and is to be cited: ``LICENSE`` and ``CITATION.cff``."""

from pathlib import Path
from typing import Any

import yaml

from galaxymill.release.settings import Creator, ReleaseSettings

_TEXTS = {
    "CC-BY-4.0": (
        "Creative Commons Attribution 4.0 International",
        "https://creativecommons.org/licenses/by/4.0/legalcode",
    ),
    "CC0-1.0": (
        "CC0 1.0 Universal",
        "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    ),
}


def license_url(identifier: str) -> str:
    """Where the text of a licence is."""
    return _TEXTS.get(identifier, ("", f"https://spdx.org/licenses/{identifier}.html"))[1]


def write_license(path: Path, title: str, settings: ReleaseSettings) -> None:
    """Write ``LICENSE``: the notice that a Creative Commons licence asks for."""
    identifier = settings.license
    name = _TEXTS.get(identifier, (identifier, ""))[0]
    by = ", ".join(creator.name for creator in settings.creators) or "its creators"
    path.write_text(
        f"{title}\n© {by}\n\nThis catalogue is licensed under {name} ({identifier}).\n"
        f"The licence's text: {license_url(identifier)}\n\n"
        "The images that it was made from are their surveys'; so are their terms.\n",
        encoding="utf-8",
    )


def write_citation(path: Path, title: str, settings: ReleaseSettings) -> None:
    """Write ``CITATION.cff`` (format 1.2.0), of the type dataset."""
    creators = settings.creators or (Creator(name="The creators of this catalogue"),)
    entries: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this catalogue, please cite it as below.",
        "type": "dataset",
        "title": title,
        "version": settings.version,
        "license": settings.license,
        "authors": [_author(creator) for creator in creators],
        "abstract": settings.description,
        "doi": settings.doi,
        "url": settings.url,
        "date-released": settings.date,
    }
    plain = {key: value for key, value in entries.items() if value is not None}
    path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _author(creator: Creator) -> dict[str, str]:
    orcid = creator.orcid and f"https://orcid.org/{creator.orcid}"
    entries = {"name": creator.name, "orcid": orcid, "affiliation": creator.affiliation}
    return {key: value for key, value in entries.items() if value}
