"""``vertexai.yml`` as typed settings: ``models`` has its keys, ``resources`` what a step asks of its machine.

``unreadable`` says what is wrong in configuration that cannot be read.
"""
