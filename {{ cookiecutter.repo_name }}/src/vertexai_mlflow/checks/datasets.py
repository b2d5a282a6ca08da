"""Whether the catalog's datasets can be made: their classes are there and take the arguments that they are given.

No dataset is made and no credentials are read.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import kedro_datasets
from kedro.io import DatasetError
from kedro.io.core import parse_dataset_definition

from ..compile.plan import Plan
from ..contract.catalog import Catalog
from ..errors import UserError, did_you_mean, in_own_code
from ..project import Project
from .dependencies import extras_of, lines_to_add

# Where Kedro looks for a class, in this order.
_PLACES = ("kedro.io.", "kedro_datasets.", "")


class Datasets:
    """The datasets that a pipeline uses, also inside others, and what is wrong with them.

    Args:
        project: the project in its environment.
        plan: the pipeline.

    Attributes:
        classes: where the catalog says so → the class.
        wrong: a sentence for everything that Kedro would refuse.
    """

    def __init__(self, project: Project, plan: Plan) -> None:
        self.classes: dict[str, type] = {}
        self._source = project.source
        catalog = Catalog(project.config("catalog"), "catalog.yml")
        used = {name for step in plan.steps for name in (*step.inputs, *step.outputs)}
        if plan.on_exit:
            used |= project.pipeline(plan.on_exit).datasets()
        entries = dict(entry for name in sorted(used) if (entry := catalog.written(name)))
        self.wrong = [said for key, config in entries.items() for said in self._look(f"catalog.yml: {key}", config)]

    def check(self) -> str:
        """Say how many there are.

        Raises:
            UserError: with everything that is wrong.
        """
        if self.wrong:
            raise UserError(" ".join(self.wrong))
        entries = [where for where in self.classes if not where.endswith(".dataset")]
        return f"{len(entries)} of the catalog, whose classes are there and take their arguments"

    def _look(self, where: str, config: Mapping[str, Any], given: str = "") -> Iterator[str]:
        """Look at an entry. ``given`` is the argument that a dataset around it adds."""
        if not isinstance(config.get("type"), str):
            yield f"{where}.type is missing: name a class, such as pandas.CSVDataset."
            return
        try:
            # Kedro's catalog takes the validator out as well.
            found, arguments = parse_dataset_definition({k: v for k, v in config.items() if k != "validator"})
        except Exception as error:
            yield f"{where}.type: {_why_not(config['type'], error, self._source)}"
            return
        self.classes[where] = found
        parameters = signature(found).parameters.values()
        by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        known = {one.name for one in parameters if one.kind in by_name}
        if not any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
            for name in sorted(set(arguments) - known):
                key = "versioned" if name == "version" else name
                yield f"{where}.{key}: {found.__name__} has no such argument.{did_you_mean(name, known)}"
        needed = {one.name for one in parameters if one.default is Parameter.empty} & known
        for name in sorted(needed - {given, *arguments}):
            yield f"{where}.{name} is missing: {found.__name__} needs it."
        inner, partitioned = arguments.get("dataset"), "path" in arguments
        if isinstance(inner, str) and partitioned:
            inner = {"type": inner}
        if isinstance(inner, Mapping) and "type" in inner:
            adds = arguments.get("filepath_arg", "filepath") if partitioned else ""
            yield from self._look(f"{where}.dataset", inner, adds)


def _why_not(type_: str, error: Exception, source: Path) -> str:
    """Why a class cannot be imported. Kedro's own message is about the last place that it has looked in."""
    if not isinstance(error, DatasetError):
        return in_own_code(error, source)
    module, _, name = type_.rpartition(".")
    for place in (f"{prefix}{module}".strip(".") for prefix in _PLACES):
        try:
            found = importlib.import_module(place)
            getattr(found, name)
        except ModuleNotFoundError as missing:
            if f"{place}.".startswith(f"{missing.name}."):
                continue
            top = str(missing.name).partition(".")[0]
            lines = ", ".join(lines_to_add({top}, extras_of(place, name)))
            return (
                f"{type_} needs what is not installed: {top}. Add to pyproject.toml's dependencies: {lines}. "
                "Then: pip install -e '.[launch]' && make lock"
            )
        except AttributeError:
            classes = [known for known in dir(found) if known[0].isupper()]
            bare = "" if module else " Other classes are named with their module, as in pandas.CSVDataset."
            return f"{place} has no class '{name}'.{did_you_mean(name, classes)}{bare}"
        return str(error).partition("\n")[0]
    packages = [module.name for module in pkgutil.iter_modules(kedro_datasets.__path__) if module.name[0] != "_"]
    return (
        f"there is no module '{module}', neither in kedro-datasets {version('kedro-datasets')}, which may have removed "
        f"it, nor elsewhere.{did_you_mean(module, packages)}"
    )
