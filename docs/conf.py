"""Settings of the documentation: `make docs` builds it, offline, with warnings as errors."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "markov-icl"
author = "The markov-icl developers"
copyright = f"2026, {author}"
release = version = version_of("markov-icl")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "rooms"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
smartquotes = False  # options begin with two hyphens
nitpicky = True
nitpick_ignore = [("py:exc", "numpy.linalg.LinAlgError"), ("py:class", "collections.abc.Callable")]
nitpick_ignore_regex = [("py:data", "[A-Z_]+")]  # a constant that needs no words of its own
add_module_names = False

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True  # the name of a default, not its contents
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = "markov-icl"
html_static_path = ["static"]
html_css_files = ["docs.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
