"""``vertexai.yml`` as typed settings: ``models`` has its keys, ``resources`` those of a step's machine.

``configuration`` reads it, as well as the other files, and ``load_errors`` explains why a file cannot be read.
"""
