"""Names of encoders, known without importing the library that builds them."""

import importlib.util
import re
from functools import cache
from pathlib import Path

_HUB_PREFIXES = ("hf-hub:", "local-dir:")
_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@cache
def encoder_names() -> frozenset[str]:
    """List the architectures that the installed timm registers.

    timm imports torch, which takes seconds: its sources are read instead.
    """
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    models = Path(found.submodule_search_locations[0], "models")
    sources = (path.read_text(encoding="utf-8") for path in models.glob("*.py"))
    return frozenset(name for source in sources for name in _REGISTERED.findall(source))


def is_encoder(name: str) -> bool:
    """Tell whether timm can build ``name``, a pretrained tag or hub address included."""
    return name.startswith(_HUB_PREFIXES) or name.split(".")[0] in encoder_names()
