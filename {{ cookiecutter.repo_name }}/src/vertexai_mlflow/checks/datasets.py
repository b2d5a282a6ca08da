"""Check that the catalog's datasets can be made: that their classes exist and accept the arguments in the catalog.

No dataset is made and no credentials are read.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from inspect import signature
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

# The prefixes with which Kedro looks for a class, in this order.
_PREFIXES = ("kedro.io.", "kedro_datasets.", "")


class Datasets:
    """The datasets that a pipeline uses, including those inside of others, and what is wrong with them.

    Args:
        project: the project in its environment.
        plan: the pipeline.

    Attributes:
        classes: place in the catalog → the class.
        problems: a sentence for everything that Kedro would refuse.
    """

    def __init__(self, project: Project, plan: Plan) -> None:
        self.classes: dict[str, type] = {}
        self._source = project.source
        catalog = Catalog(project.config("catalog"), "catalog.yml")
        names = {name for step in plan.steps for name in (*step.inputs, *step.outputs)}
        if plan.on_exit:
            names |= project.pipeline(plan.on_exit).datasets()
        entries = dict(entry for name in sorted(names) if (entry := catalog.written(name)))
        self.problems = [
            problem for key, config in entries.items() for problem in self._check_entry(f"catalog.yml: {key}", config)
        ]

    def check(self) -> str:
        """Say how many there are.

        Raises:
            UserError: with everything that is wrong.
        """
        if self.problems:
            raise UserError(" ".join(self.problems))
        entries = [where for where in self.classes if not where.endswith(".dataset")]
        return f"{len(entries)} in the catalog, with existing classes and valid arguments"

    def _check_entry(self, where: str, config: Mapping[str, Any], added: str = "") -> Iterator[str]:
        """The problems of an entry. ``added`` is the argument that a dataset around it adds."""
        if not isinstance(config.get("type"), str):
            yield f"{where}.type is missing: name a class, such as pandas.CSVDataset."
            return
        try:
            # Kedro's catalog takes the validator out as well.
            class_, arguments = parse_dataset_definition({k: v for k, v in config.items() if k != "validator"})
        except Exception as error:
            yield f"{where}.type: {_explain_import_error(config['type'], error, self._source)}"
            return
        self.classes[where] = class_
        # Signature.bind would name only the first problem.
        parameters = signature(class_).parameters.values()
        accepted = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            for name in sorted(set(arguments) - set(accepted)):
                key = "versioned" if name == "version" else name
                yield f"{where}.{key}: {class_.__name__} has no such argument.{did_you_mean(name, accepted)}"
        required = {name for name, p in accepted.items() if p.default is p.empty}
        for name in sorted(required - {added, *arguments}):
            yield f"{where}.{name} is missing: {class_.__name__} needs it."
        inner, is_partitioned = arguments.get("dataset"), "path" in arguments
        if isinstance(inner, str) and is_partitioned:
            inner = {"type": inner}
        if isinstance(inner, Mapping) and "type" in inner:
            added = arguments.get("filepath_arg", "filepath") if is_partitioned else ""
            yield from self._check_entry(f"{where}.dataset", inner, added)


def _explain_import_error(type_: str, error: Exception, source: Path) -> str:
    """Why a class cannot be imported. Kedro's own message is about the last place where it looked."""
    if not isinstance(error, DatasetError):
        return in_own_code(error, source)
    parent, _, name = type_.rpartition(".")
    for path in (f"{prefix}{parent}".strip(".") for prefix in _PREFIXES):
        try:
            module = importlib.import_module(path)
            getattr(module, name)
        except ModuleNotFoundError as missing:
            if f"{path}.".startswith(f"{missing.name}."):
                continue
            library = str(missing.name).partition(".")[0]
            lines = ", ".join(lines_to_add({library}, extras_of(path, name)))
            return (
                f"{type_} needs a package that is not installed: {library}. Add to pyproject.toml's dependencies: "
                f"{lines}. Then: pip install -e '.[launch]' && make lock"
            )
        except AttributeError:
            classes = [attribute for attribute in dir(module) if attribute[0].isupper()]
            hint = "" if parent else " Other classes are named with their module, as in pandas.CSVDataset."
            return f"{path} has no class '{name}'.{did_you_mean(name, classes)}{hint}"
        return str(error).partition("\n")[0]
    packages = [module.name for module in pkgutil.iter_modules(kedro_datasets.__path__) if module.name[0] != "_"]
    return (
        f"there is no module '{parent}', neither in kedro-datasets {version('kedro-datasets')}, which may have removed "
        f"it, nor elsewhere.{did_you_mean(parent, packages)}"
    )
