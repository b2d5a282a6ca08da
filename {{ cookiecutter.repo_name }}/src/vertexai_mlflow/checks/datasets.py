"""Check that the catalog's datasets can be made: that their classes exist and accept the arguments in the catalog.

No dataset is made and no credentials are read.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from traceback import extract_tb
from typing import Any

import kedro_datasets
from kedro.io import DatasetError
from kedro.io.core import parse_dataset_definition

from ..compile.plan import Plan
from ..contract.catalog import Catalog
from ..errors import UserError, did_you_mean, in_own_code
from ..image.imports import imports_of
from ..project import Project
from .dependencies import extras_of, lines_to_add

# The prefixes with which Kedro looks for a class, in this order.
_PREFIXES = ("kedro.io.", "kedro_datasets.", "")
_NOT_INSTALLED = re.compile(r"needs .+ not installed: ")
_NO_CLASS = re.compile(r"\S+ has no class '")
# Classes with a successor that needs less.
_ALTERNATIVES = {"spark.SparkDataset": ". Or use spark.SparkDatasetV2, which needs neither hdfs nor s3fs."}


class Datasets:
    """The datasets that a pipeline uses, including those inside of others, and what is wrong with them.

    Args:
        project: the project in its environment.
        plan: the pipeline.

    Attributes:
        classes: place in the catalog → the class.
        problems: a sentence for everything that Kedro would refuse.
        only_here: those of them that are about this machine: an image may have the package that is missing.
    """

    def __init__(self, project: Project, plan: Plan) -> None:
        self.classes: dict[str, type] = {}
        self.only_here: list[str] = []
        self._source = project.source
        self._missing_packages: set[str] = set()
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
            explanation = _explain_import_error(config["type"], error, self._source)
            # What is not installed is missing for all datasets of a class.
            if explanation not in self._missing_packages:
                sentence = f"{where}.type: {explanation}"
                if not isinstance(error, DatasetError) or not _NO_CLASS.match(explanation):
                    self.only_here.append(sentence)
                yield sentence
            if _NOT_INSTALLED.search(explanation):
                self._missing_packages.add(explanation)
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


def refuse_impossible(project: Project, plan: Plan, runs_here: bool = False) -> list[str]:
    """Refuse datasets that Kedro would refuse in the step that uses them.

    Args:
        project: the project in its environment.
        plan: the pipeline.
        runs_here: whether the steps are processes of this machine, which have no other packages than it.

    Returns:
        What is missing on this machine and may be in an image, in whole sentences.

    Raises:
        UserError: naming all that is wrong.
    """
    datasets = Datasets(project, plan)
    warnings = [] if runs_here else datasets.only_here
    if problems := [problem for problem in datasets.problems if problem not in warnings]:
        raise UserError("\n".join(problems))
    return warnings


def _find_missing_libraries(error: ModuleNotFoundError) -> set[str]:
    """The library that could not be imported, and others that the same module needs."""
    file = Path(extract_tb(error.__traceback__)[-1].filename)
    others = {name.partition(".")[0] for name in (imports_of(file) if file.is_file() else ())}
    return {str(error.name).partition(".")[0], *(module for module in others if not _can_import(module))}


def _can_import(module: str) -> bool:
    try:
        return module in sys.builtin_module_names or find_spec(module) is not None
    except ValueError:  # it was removed from this process
        return False


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
            libraries = _find_missing_libraries(missing)
            lines = ", ".join(lines_to_add(libraries, extras_of(path, name)))
            needs = "packages that are" if len(libraries) > 1 else "a package that is"
            return (
                f"{type_} needs {needs} not installed: {', '.join(sorted(libraries))}. Add to pyproject.toml's "
                f"dependencies: {lines}. Then: pip install -e '.[launch]' && make lock{_ALTERNATIVES.get(type_, '')}"
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
