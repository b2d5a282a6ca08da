"""How much of everything fits, in letters and bytes."""

# Letters in the name of a task or a pipeline: names of folders and of MLflow's tags are made of it.
MAX_NAME = 128

# Letters in the key of an artifact, which is written three times in the executor input.
MAX_KEY = 100

# Sizes in bytes. An artifact's metadata comes back in the executor input of the next task, which is one argument of a
# command, and Linux allows an argument 128 KiB. Metadata is cut at the first limit; a step whose artifacts could exceed
# the second one, or its artifacts and parameters the third, is refused when it is compiled.
MAX_METADATA = 2 * 1024
MAX_ARTIFACTS = 96 * 1024
MAX_EXECUTOR_INPUT = 127 * 1024
