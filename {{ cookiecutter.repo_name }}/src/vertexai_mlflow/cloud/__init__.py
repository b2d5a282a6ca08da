"""Vertex AI as this project uses it: jobs, schedules and logs, by Google's clients."""
