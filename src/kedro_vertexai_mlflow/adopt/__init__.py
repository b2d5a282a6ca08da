"""``vertexai-adopt``: add the template to an existing Kedro project, which is read as files and never imported.

``project`` reads the project, ``python_version`` chooses its Python, ``rendering`` renders the template's files for it,
``plan`` decides about each file, and ``command`` shows the plan and carries it out. Files that both have are merged:
``pyproject`` and ``requirements`` merge pyproject.toml with what ``dependency_files`` finds, ``code`` settings.py and
cli.py, ``configuration`` the YAML files, ``ignore_files`` the lists of paths, ``makefile`` the Makefile, and
``linters`` keeps the project's own tools out of the platform's folder. ``locks`` resolves what was merged. ``kedro1``
is a table of what Kedro 1 no longer has, and ``findings`` looks for it in the code.
"""
