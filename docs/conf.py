"""How the documentation is built: `make docs`; warnings are errors, and no network is needed."""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_site"))
import reference  # noqa: E402

from galaxymill import __version__  # noqa: E402

project, author, version = "Galaxymill", "The Galaxymill developers", __version__
copyright = author
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
extensions += ["sphinx_copybutton"]
exclude_patterns = ["_build", "_site", "jupyter_execute"]
templates_path = ["_site/templates"]

html_theme = "pydata_sphinx_theme"
html_title = "Galaxymill"
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
# Pages that tutorials make, such as an explorer: they become part of the site as they are.
EXTRA = HERE / "_build" / "extra"
EXTRA.mkdir(parents=True, exist_ok=True)
html_extra_path = [str(EXTRA)]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # bars of progress
# What commands print, with the commands; a click copies the commands alone.
nb_render_text_lexer = "console"

# Of the notebooks' processes: the helpers of tutorials, and a folder as long as the build.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE / "_site"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
TUTORIALS = os.environ["GALAXYMILL_TUTORIALS"] = tempfile.mkdtemp(prefix="galaxymill-docs-")

autodoc_typehints = "signature"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

OUTSIDE = {
    "ARCHITECTURE.md": "/reference/generated/architecture.md",
    "CONTRIBUTING.md": "/reference/generated/contributing.md",
    "CHANGELOG.md": "/reference/generated/changelog.md",
    "config/README.md": "/reference/generated/config.md",
}
"""Pages that lie beside the docs, and where the site has them."""


def link_inside(app: Any, page: str, text: list[str]) -> None:
    """Turn links to files of the checkout into links of the site, or into plain names."""

    def change(found: re.Match[str]) -> str:
        words, path, anchor = found["words"], found["path"], found["anchor"] or ""
        there = (HERE / page).parent.parent / path
        if there.exists() and HERE in there.resolve().parents:
            return found[0]
        if path in OUTSIDE:
            return f"[{words}]({OUTSIDE[path]}{anchor})"
        return f"`{path}`" if words == path else f"{words} (`{path}`)"

    text[0] = re.sub(
        r"\[(?P<words>[^\]]*)\]\(\.\./(?P<path>[^)#]+)(?P<anchor>#[^)]*)?\)", change, text[0]
    )


def setup(app: Any) -> None:
    """Write the pages that are made from the code, and mend links as pages are read."""
    reference.write(HERE / "reference" / "generated")
    app.connect("source-read", link_inside)
    app.connect("build-finished", lambda app, error: shutil.rmtree(TUTORIALS))
