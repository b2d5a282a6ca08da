"""From a Kedro pipeline to Vertex AI Pipelines, followed by one MLflow run. Folders say where the code runs.

=========================  =========================================================================================
on a laptop or in CI       ``cli``, ``commands/`` (parse, call, print), ``show/`` (tables, progress), ``checks/``
                           (what doctor asks), ``project`` and ``settings`` (what the project says), ``grouping``,
                           ``compile/`` (project → plan → spec), ``local/`` (runs a spec here), ``cloud/`` (Vertex AI),
                           ``image``, ``infra/`` (what the project needs in Google Cloud), ``seal`` (whether this folder
                           is as the template made it), ``upgrade`` (asks before code of the template runs)
in the container           ``step/``
on both sides              ``contract/`` (what compile writes and step reads), ``tracking`` (the job's MLflow run),
                           ``page/`` (the job as a page), ``auth/`` (Google tokens, secrets), ``notify`` (a webhook),
                           ``errors``, ``markdown``, ``whole_file``, ``guard`` (refuses another project's copy),
                           ``kedro_settings`` (for the project's settings.py)
=========================  =========================================================================================

Imports go one way, and nothing imports ``step``; docs/explanation/how-it-works.md of the template has the picture.
"""

import os

# gcsfs asks by gRPC whether a bucket is zonal or has real folders before each access, and where a network lets only
# HTTPS through, it waits for a minute each time. It reads this variable when it is imported, so it is set here. Whoever
# has such buckets sets it to true. https://github.com/datachain-ai/datachain/issues/1829
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

__version__ = "0.2.0"
