"""``kedro vertexai …``, a command per module: parse, call, print."""
