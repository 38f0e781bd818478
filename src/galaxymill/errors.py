"""Errors a user can mend: each names the place, the value, what is allowed, the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in a config, a command or an input file.

    The command line prints its message alone and ends with exit code 2; anything
    else that is raised is a fault of the program or the machine and keeps its traceback.
    """


def unknown_name(place: str, value: str, allowed: Iterable[str], kind: str) -> UserError:
    """Describe a name that is not in a registry; of a long list, only the nearest are named.

    ``place`` is the file and key, or the option, where it stands; ``kind`` is what the name should
    be, such as ``recipe``.
    """
    names = sorted(allowed)
    near = get_close_matches(value, names, n=5)
    if len(names) > 20:
        listed = f"nearest: {', '.join(near)}" if near else f"{len(names)} names are known"
    else:
        listed = f"allowed: {', '.join(names)}"
    return UserError(f"{place}: unknown {kind} {value!r}; {listed}")
