"""Settings of a search."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from galaxymill.settings import Names, Settings, spell

QUERIES = ("to", "table", "image", "position")


def _listed(value: Any) -> Any:
    """Make a list of one; names that YAML has read as whole numbers are texts again."""
    some = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) if isinstance(one, int) else one for one in some)


def _arcsec(value: Any) -> Any:
    """Read ``2arcsec`` as 2."""
    return re.sub(r"\s*(arcsec|\")$", "", value) if isinstance(value, str) else value


class SearchSettings(Settings):
    """What is looked for, by one of `QUERIES`, and what of it is written."""

    to: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description="galaxies to be like, by object_id; several are their mean"
    )
    table: Path | None = Field(
        None, description="or a table of such galaxies, with a column object_id"
    )
    image: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = Field(
        (), description="or images from elsewhere to be like: JPEG, PNG, WebP or FITS files"
    )
    position: tuple[float, float] | None = Field(
        None, description="or the galaxy at [ra, dec], in degrees; at most 5 arcsec away"
    )
    count: int = Field(1000, ge=1, le=1_000_000, description="galaxies that are found")
    where: str = Field(
        "", description="SQL condition over the columns of the predictions, such as flags = 0"
    )
    whiten: bool = Field(
        False,
        description="count each component alike: finds rarities, and blurs the rest",
    )
    distinct: Annotated[float, BeforeValidator(_arcsec)] = Field(
        0.0, ge=0, le=3600, description="arcsec within which two galaxies count as one; 0: none"
    )
    columns: Names = Field(
        (),
        description="columns that are written too: of the predictions, features, images or "
        "catalogue",
    )

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        given = [name for name in QUERIES if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"say what to look for by one of {', '.join(QUERIES)} (given: "
                f"{' and '.join(given) or 'none'})"
            )
        if self.position and not (0 <= self.position[0] <= 360 and abs(self.position[1]) <= 90):
            raise ValueError("position: ra is 0 to 360 and dec -90 to 90, in degrees")
        return self

    def to_flags(self, option: str = "") -> str:
        """Spell what was chosen as the options of ``galaxymill similar``, quoted for a shell."""
        words: list[str] = []
        for name, value in self.model_dump(exclude_defaults=True).items():
            if name in ("to", "image", "columns"):
                words += [f"--{name.removesuffix('s')}={one}" for one in value]
            elif name == "position":
                words += ["--position", *map(spell, value)]
            elif name == "whiten":
                words.append("--whiten")
            else:
                words.append(f"--{name}={spell(value)}")
        return shlex.join(words)

    def input_files(self) -> list[Path]:
        """Files that are read: the table, or the images."""
        return [self.table] if self.table else list(self.image)

    def asked(self) -> str:
        """Say what is looked for, in a few words."""
        if self.position:
            return "{:g} {:g}".format(*self.position)
        some = [self.table.name] if self.table else [*self.to, *(one.name for one in self.image)]
        few = ", ".join(some[:3])
        return few if len(some) <= 3 else f"{few} and {len(some) - 3} others"
