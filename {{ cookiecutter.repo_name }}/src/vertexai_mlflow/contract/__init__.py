"""The agreement between launcher and container: what ``compile`` writes into a spec and ``step`` reads from it.

Both sides import this folder, so nothing here is said anywhere else. ``names`` has those of tasks, tags and artifacts,
``params`` says how parameters travel, ``limits`` how much of everything fits, ``arguments`` what a task is told,
``spec`` reads and writes a compiled spec, ``catalog`` and ``places`` say what a dataset is and where.
"""
