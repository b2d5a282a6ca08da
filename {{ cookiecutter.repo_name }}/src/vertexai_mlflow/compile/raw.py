"""Raw data: files and folders on local disk that steps read and no earlier step makes."""

from dataclasses import dataclass

from ..contract.places import MOUNT
from ..settings.models import UploadedData

# Where the user of the image may write. The home folder is /tmp there.
_WRITABLE = ("data/", "/tmp/", MOUNT, "~/")
ONLY_BELOW_DATA = "a step can write only below data/ and /tmp. Give it a path below data/."


@dataclass(frozen=True)
class RawData:
    """A file or folder on local disk that steps read and no earlier step makes.

    Args:
        place: its path, as the catalog has it.
        datasets: the datasets that it belongs to.
        steps: names of the steps that read it.
        key: key of the KFP artifact that it is once it has been uploaded.
        type: KFP artifact type.
        uploaded: what was uploaded; None if nothing was, so that it must be in the image.
    """

    place: str
    datasets: tuple[str, ...]
    steps: tuple[str, ...]
    key: str
    type: str = "system.Dataset"
    uploaded: UploadedData | None = None

    @property
    def can_be_fetched(self) -> bool:
        """Whether a step may write it to its path in the image."""
        return is_writable(self.place)


def is_writable(place: str) -> bool:
    """Whether the user of the image may write there."""
    return f"{place}/".startswith(_WRITABLE)
