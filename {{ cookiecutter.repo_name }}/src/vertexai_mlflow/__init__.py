"""From a Kedro pipeline to Vertex AI Pipelines, followed by one MLflow run. Folders say where the code runs.

=========================  =========================================================================================
on a laptop or in CI       ``cli``, ``commands/`` (parse, call, print), ``show/`` (tables, progress), ``checks/``
                           (what doctor asks), ``project`` and ``settings`` (what the project says), ``grouping``,
                           ``compile/`` (project → plan → spec), ``local/`` (runs a spec here), ``cloud/`` (Vertex AI),
                           ``image``
in the container           ``step/``
on both sides              ``contract/`` (what compile writes and step reads), ``tracking`` (the job's MLflow run)
=========================  =========================================================================================

Imports go one way, and nothing imports ``step``; docs/explanation/how-it-works.md of the template has the picture.
"""
