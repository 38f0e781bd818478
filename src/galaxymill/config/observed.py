"""Surveys that show galaxies elsewhere: what they take from another, what cannot be shown."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from galaxymill.errors import unknown_name
from galaxymill.surveys.base import PixelScale, ServiceSettings
from galaxymill.surveys.observe.optics import sky_sigma
from galaxymill.surveys.services.observed import ObservedSettings
from galaxymill.surveys.services.synthetic import SyntheticSettings
from galaxymill.surveys.telescope import Telescope

if TYPE_CHECKING:
    from galaxymill.config.config import Config

_TOLERANCE = 1.01
_ARCSEC = 1.0
_TAKEN = ("catalog", "partitions")


def with_sources(plain: Any) -> Any:
    """Give observed surveys of a config, as read, the catalogue and partitions of their source.

    What is given stays: `observed_refusals` says what may differ.
    """
    surveys = plain.get("surveys") if isinstance(plain, Mapping) else None
    if not isinstance(surveys, Mapping):
        return plain
    filled = {name: _filled(name, survey, surveys) for name, survey in surveys.items()}
    return {**plain, "surveys": filled}


def _filled(name: str, survey: Any, surveys: Mapping[str, Any]) -> Any:
    if not _is_observed(survey):
        return survey
    key, shown = f"surveys.{name}.cutouts", survey["cutouts"].get("survey", name)
    if shown not in surveys:
        raise ValueError(str(unknown_name(key, shown, surveys, "survey")))
    if _is_observed(surveys[shown]):
        raise ValueError(
            f"{key}.survey: {shown} is itself observed; name the survey that was photographed"
        )
    if not isinstance(surveys[shown], Mapping):
        return survey
    return {**{key: surveys[shown][key] for key in _TAKEN if key in surveys[shown]}, **survey}


def _is_observed(survey: Any) -> bool:
    cutouts = survey.get("cutouts") if isinstance(survey, Mapping) else None
    return isinstance(cutouts, Mapping) and cutouts.get("service") == "observed"


def observed(config: "Config") -> dict[str, ObservedSettings]:
    """Settings of the surveys that are observed, by name."""
    chosen = {name: survey.cutouts.settings for name, survey in config.surveys.items()}
    return {name: one for name, one in chosen.items() if isinstance(one, ObservedSettings)}


def pixels(config: "Config", survey: str) -> tuple[PixelScale, int]:
    """Arcsec per pixel of a survey's cutouts, and pixels across; 0 where that is not known.

    An observed survey has those of its source where it names none, and as many as are covered then.
    """
    settings = config.surveys[survey].cutouts.settings
    if not isinstance(settings, ObservedSettings):
        return settings.pixel_scale, settings.size
    source = config.surveys[settings.survey].cutouts.settings
    scale = settings.pixel_scale or source.pixel_scale
    if settings.size or settings.redshift is not None:
        return scale, settings.size
    if isinstance(scale, float) and isinstance(source.pixel_scale, float):
        return scale, int(source.size * source.pixel_scale / (settings.farther * scale or 1) + 1e-6)
    return scale, int(source.size / settings.farther) if scale == source.pixel_scale else 0


def synthetic(config: "Config") -> dict[str, SyntheticSettings]:
    """Settings of the surveys of simulated images, by name."""
    chosen = {name: survey.cutouts.settings for name, survey in config.surveys.items()}
    return {name: one for name, one in chosen.items() if isinstance(one, SyntheticSettings)}


def observed_refusals(config: "Config") -> Iterator[tuple[str, str]]:
    """What cannot be shown by what the config alone says."""
    for name, one in observed(config).items():
        key = f"surveys.{name}.cutouts"
        if config.surveys[name].telescope is not None:
            yield f"surveys.{name}.telescope", "is that of its cutouts: give seeing and depth there"
        yield from _of_catalogue(config, name, one)
        yield from _of_source(config, one, key)
        yield from _not_better(config, one, key)
    for name, into in synthetic(config).items():
        yield from _of_target(config, into, f"surveys.{name}.cutouts")


def _of_target(config: "Config", one: SyntheticSettings, key: str) -> Iterator[tuple[str, str]]:
    """The survey that simulated images are to be of must say what it makes of them."""
    if one.into not in config.surveys:
        yield "", str(unknown_name(f"{key}.into", one.into, config.surveys, "survey"))
        return
    for name in ("seeing", "depth"):
        lacking = [band for band in one.bands if band not in getattr(one.target, name)]
        if lacking:
            yield (
                f"surveys.{one.into}.telescope.{name}",
                f"band {', '.join(lacking)}: needed to show simulated images as that survey does",
            )
    if not one.pixel_scale:
        yield f"{key}.pixel_scale", f"{one.into} has no one pixel scale; give it in arcsec"


def _of_catalogue(config: "Config", name: str, one: ObservedSettings) -> Iterator[tuple[str, str]]:
    """Partitions are read one by one: both surveys must have the same."""
    ours, theirs = config.surveys[name], config.surveys[one.survey]
    of_rows = ("path", "object_id", "ra", "dec", "positions", "select", "hdu")
    differing = [
        key for key in of_rows if getattr(ours.catalog, key) != getattr(theirs.catalog, key)
    ]
    for key in differing:
        yield (
            f"surveys.{name}.catalog.{key}",
            f"differs from that of {one.survey}, whose cutouts are shown partition by partition; "
            "leave catalog away, or give the same",
        )
    if ours.partitions != theirs.partitions:
        key = f"surveys.{name}.partitions"
        yield key, f"differ from those of {one.survey}; leave them away"
    if one.redshift is not None and ours.catalog.own_redshift is None:
        yield (
            f"surveys.{name}.cutouts.redshift",
            "needs the galaxies' own redshifts; name their column: catalog.own_redshift",
        )


def _of_source(config: "Config", one: ObservedSettings, key: str) -> Iterator[tuple[str, str]]:
    """The source must have fluxes, the bands, and a known seeing."""
    source = config.surveys[one.survey]
    settings = source.cutouts.settings
    if settings.sends_pictures or settings.zero_point is None:
        what = "pictures" if settings.sends_pictures else "fluxes of no known zero point"
        yield f"{key}.survey", f"{one.survey} has {what}; only fluxes can be shown elsewhere"
    for band in one.bands:
        if band not in settings.bands:
            allowed = ",".join(settings.bands)
            yield f"{key}.bands", f"{one.survey} has no band {band!r}; allowed: {allowed}"
        elif band not in one.source.seeing:
            yield (
                f"surveys.{one.survey}.telescope.seeing",
                f"band {band}: the FWHM of point sources (arcsec) is needed to show it elsewhere; "
                f"give it there, or in {key}.source.seeing",
            )
    for name in ("seeing", "depth"):
        for band in getattr(one, name):
            if band not in one.bands:
                allowed = ",".join(one.bands)
                yield f"{key}.{name}", f"no band {band!r}; allowed: {allowed}, as in bands"


def _not_better(config: "Config", one: ObservedSettings, key: str) -> Iterator[tuple[str, str]]:
    """Bands in which the source, once it is shrunk, is worse than what it is to show.

    With a redshift each galaxy shrinks by its own factor: that is told of each then.
    """
    if one.redshift is not None:
        return
    target, source, times = one.target, one.source, one.farther
    for band in one.bands:
        if band not in source.seeing:
            continue
        fwhm, wanted = source.seeing[band] / times, target.seeing[band]
        if fwhm > _TOLERANCE * wanted:
            yield (
                f"{key}.seeing",
                f"band {band}: point sources of {one.survey} are {fwhm:.3g} arcsec wide there, "
                f"more than the {wanted:.3g} wanted; nothing makes an image sharper",
            )
        if band in source.depth and band in target.depth:
            # Of an arcsec that has become smaller, flux and area shrink alike.
            ours, theirs = (_noise(telescope, band) for telescope in (source, target))
            if ours / times > _TOLERANCE * theirs:
                yield (
                    f"{key}.depth",
                    f"band {band}: {one.survey} has a noise of {ours / times:.3g} nanomaggies in a "
                    f"square arcsec there, more than the {theirs:.3g} of depth "
                    f"{target.depth[band]:g}; nothing makes an image deeper",
                )
    pixel = config.surveys[one.survey].cutouts.settings.pixel_scale
    if (
        isinstance(pixel, float)
        and one.pixel_scale
        and pixel / times > _TOLERANCE * one.pixel_scale
    ):
        yield (
            f"{key}.pixel_scale",
            f"{one.pixel_scale:g} arcsec, but the pixels of {one.survey} have {pixel / times:.3g} "
            "there; give larger ones",
        )


def _noise(telescope: Telescope, band: str) -> float:
    depth, fwhm = telescope.depth[band], telescope.seeing[band]
    return sky_sigma(depth, fwhm, telescope.beta, _ARCSEC)


def add_sources(config: "Config") -> None:
    """Give observed and synthetic surveys the telescope of the one that they name."""
    for name, one in observed(config).items():
        telescope = config.surveys[one.survey].telescope
        if telescope is not None:
            _update(config, name, one, {"source": telescope})
    for name, into in synthetic(config).items():
        target = config.telescope(into.into) if into.into in config.surveys else None
        if target is not None:
            theirs = config.surveys[into.into].cutouts.settings.pixel_scale
            scale = into.pixel_scale or (theirs if isinstance(theirs, float) else 0.0)
            _update(config, name, into, {"target": target, "pixel_scale": scale})


def _update(config: "Config", name: str, one: ServiceSettings, taken: Mapping[str, Any]) -> None:
    survey = config.surveys[name]
    settings = one.model_copy(update=taken)
    cutouts = survey.cutouts.model_copy(update={"settings": settings})
    config.surveys[name] = survey.model_copy(update={"cutouts": cutouts})
