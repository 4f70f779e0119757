"""How the documentation is built: `tox -e docs`."""

from importlib.metadata import version as version_of

project = "napari-stenhance"
author = "napari-stenhance contributors"
project_copyright = author
release = version = version_of("napari-stenhance")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress
autodoc_typehints = "none"  # docstrings give types, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
exclude_patterns = ["_build", "jupyter_execute"]

html_theme = "pydata_sphinx_theme"
html_title = "napari-stenhance"
html_show_sourcelink = False
html_theme_options = {
    "github_url": "https://github.com/napari-stenhance/napari-stenhance",
    "show_prev_next": False,
}
