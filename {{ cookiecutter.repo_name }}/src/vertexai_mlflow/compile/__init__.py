"""Settings, pipeline and catalog → plan → pipeline spec. Nothing here writes a file, except ``spec.write_spec``."""
