"""Runs a compiled spec on this machine, each task in a process or a container of its own, as Vertex AI would."""
