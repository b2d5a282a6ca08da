"""What runs in the container: it reads its arguments, runs its nodes in a Kedro session, and reports what they made."""
