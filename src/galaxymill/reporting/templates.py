"""Jinja templates of the package, read in one way."""

from jinja2 import Environment, PackageLoader


def read_templates(package: str, autoescape: bool) -> Environment:
    """Open a package's templates; with ``autoescape`` for HTML, in which users' names are text."""
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
