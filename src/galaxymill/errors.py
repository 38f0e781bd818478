"""Errors a user can mend: each says what, where, the value, and the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in a config, a command or an input file.

    The command line prints its message alone and ends with exit code 2; anything
    else that is raised is a fault of the program or the machine and keeps its traceback.
    """


def unknown_name(place: str, value: str, allowed: Iterable[str], kind: str) -> UserError:
    """Describe a name that is not in a registry.

    Parameters
    ----------
    place : str
        File and key, or the option, where the value stands.
    value : str
        What was given.
    allowed : iterable of str
        Every name that would be accepted.
    kind : str
        What the name should be, e.g. ``"recipe"``.

    Returns
    -------
    UserError
        With the nearest names first when the list is long.
    """
    names = sorted(allowed)
    near = get_close_matches(value, names, n=5)
    if len(names) > 20:
        listed = f"nearest: {', '.join(near)}" if near else f"{len(names)} names are known"
    else:
        listed = f"allowed: {', '.join(names)}"
    return UserError(f"{place}: unknown {kind} {value!r}; {listed}")
