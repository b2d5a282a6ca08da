"""The project's own package, importable where it lies in the template, although its folder's name is no name in Python."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from running import SOURCE

_FOLDER = SOURCE / "{{ cookiecutter.python_package }}"

_spec = spec_from_file_location("my_project", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)])
assert _spec
sys.modules["my_project"] = module_from_spec(_spec)
