"""``kedro vertexai …``, one command in each module: it parses, calls and prints, the latter by these functions only."""

from ..show.terminal import console, say, say_json

__all__ = ["console", "say", "say_json"]
