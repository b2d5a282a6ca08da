"""``kedro vertexai …``, one command in each module: it parses, calls and prints."""
