"""``vertexai-adopt``: an existing Kedro project, read as files, joins the template.

``project`` reads it, ``plan`` decides about each file of the template, ``command`` shows the plan and carries it out.
``dependencies`` merges pyproject.toml, ``code`` settings.py and cli.py, ``configuration`` what is written in YAML, and
``linters`` lets the project's own tools leave the platform's folder out.
``kedro1`` is a table of what Kedro 1 no longer has, and ``findings`` looks for it.
"""
