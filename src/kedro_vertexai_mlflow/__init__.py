"""The template as a package: an alias for ``kedro new``, and the commands ``vertexai-adopt``, ``vertexai-upgrade``."""

from pathlib import Path

_PACKAGED = Path(__file__).parent / "template"
# The template's folder: in the installed package, or the repository itself where that is installed as editable.
TEMPLATE = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[2]
