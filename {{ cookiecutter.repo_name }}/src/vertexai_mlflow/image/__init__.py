"""The container image of the steps: the docker command, what goes into the image, and what the project imports."""
