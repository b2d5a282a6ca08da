"""The exception for what ends a process that cannot authenticate itself."""


class AuthorizationError(SystemExit):
    """Ends the process with a sentence: no ``Exception``, since MLflow catches those and goes on without a header."""
