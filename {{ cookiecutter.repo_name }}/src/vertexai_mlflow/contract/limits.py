"""How much of everything fits, in letters and bytes."""

# Letters in the name of a task or a pipeline: names of folders and of MLflow's tags are made of it.
MAX_NAME = 128

# Letters in the key of an artifact, which is written three times in the executor input.
MAX_KEY = 100

# Sizes in bytes. An artifact's metadata comes back in the executor input of the next task, which is one argument of a
# command, and Linux allows an argument 128 KiB. Metadata is cut at the first limit. What a step is told about its
# artifacts is kept below the second one, by an index that stands for many of them; with its parameters it must stay
# below the third, as every other argument.
MAX_METADATA = 2 * 1024
MAX_ARTIFACTS = 96 * 1024
MAX_ARGUMENT = 127 * 1024

# All arguments of a command together. Linux allows a quarter of the stack, 2 MiB, for them and the environment.
MAX_ARGUMENTS = 1536 * 1024

# Artifacts in one index of a gathering task.
MAX_GATHERED = 100

# A step that runs as a custom job is described in one argument of Google's launcher: what does not depend on the run,
# and the executor input as a text in JSON, where quotation marks are escaped, so that it is longer by about a quarter.
MAX_CUSTOM_JOB = 36 * 1024
MAX_ESCAPED_INPUT = 72 * 1024
