"""A task's command within the quota: ``python quota.py FOLDER QUOTA CPUS COMMAND …``, or Google's words that there is none left."""

import fcntl
import subprocess
import sys
from pathlib import Path

# https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/3479
EXCEEDED = (
    "com.google.cloud.ai.platform.common.errors.AiPlatformException: code=RESOURCE_EXHAUSTED, message=The following quota "
    "metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus, cause=null; Failed to create custom "
    "job for the task."
)


def take(file: Path, quota: int, cpus: int) -> bool:
    """Add to what is used, which is a number in a file, unless that is more than there is."""
    with file.open("a+") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        used.seek(0)
        total = int(used.read() or 0) + cpus
        if total > quota:
            return False
        used.truncate(0)
        used.write(str(total))
    return True


if __name__ == "__main__":
    folder, quota, cpus, *command = sys.argv[1:]
    file = Path(folder) / "used"
    if not take(file, int(quota), int(cpus)):
        sys.exit(EXCEEDED)
    code = subprocess.run(command).returncode
    take(file, int(quota), -int(cpus))
    sys.exit(code)
