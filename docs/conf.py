"""Sphinx configuration."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "tractor-core"
author = "the tractor-core contributors"
copyright = author
release = version = version_of("tractor-core")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"tractor-core {release}"
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"show-inheritance": True}
python_use_unqualified_type_names = True
