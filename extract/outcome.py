"""What an extraction says of itself: on its way, and at its end."""

from dataclasses import dataclass, field

from extract.engines.engine import ParameterCounts
from extract.timing import TimeSpent
from store import FeatureSet

__all__ = ["Extraction", "Naming", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes:
        candidates: how many there are, or None where only reading tells.
        read: candidates read and hashed.
        computed: pictures through the engine.
        reused: rows that the pool had.
        quarantined: pictures that could not be decoded.
    """

    candidates: int | None
    read: int = 0
    computed: int = 0
    reused: int = 0
    quarantined: int = 0

    @property
    def done(self) -> int:
        """Candidates that nothing has to be done for any more."""
        return self.computed + self.reused + self.quarantined


@dataclass(frozen=True)
class Extraction:
    """What became of one base split.

    Attributes:
        feature_set: the published set.
        status: `extracted`, or `cached` where the very set was published before.
        forward_passes: pictures computed for it, without canary and padding.
        reused: rows that the pool had.
        ignored: files that are no pictures.
        seconds: from the first read to the publication, without loading and compiling the model.
        time: where they went.
        engine: what ran it, empty where nothing had to run.
        parameters: of the network, None where nothing had to run.
    """

    feature_set: FeatureSet
    status: str
    forward_passes: int
    reused: int
    ignored: int
    seconds: float
    time: TimeSpent
    engine: str
    parameters: ParameterCounts | None


@dataclass(frozen=True)
class Naming:
    """What a set is called and when: the circumstances that its caller knows.

    Attributes:
        dataset: the name of the configuration, or the source.
        created: UTC, ISO 8601 to the second.
        host: the machine's name.
        versions: package name → version.
    """

    dataset: str
    created: str
    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)
