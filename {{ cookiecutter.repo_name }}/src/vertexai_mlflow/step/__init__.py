"""What runs in the container: it reads the arguments, runs the nodes in a Kedro session, and reports what they made."""
