"""Jinja templates of the package, read in one way."""

from jinja2 import Environment, PackageLoader


def read_templates(package: str, autoescape: bool) -> Environment:
    """Open the templates that lie in a package.

    Parameters
    ----------
    package : str
        Such as ``galaxymill.reporting``.
    autoescape : bool
        Whether names are the users' and the result is HTML, in which they must be text.
    """
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
