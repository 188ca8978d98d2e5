"""What an extraction says of itself: on its way, of a share of it, and at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from extract.engines.engine import ParameterCounts
from extract.shrink import SizeChange
from extract.survey import Survey
from extract.timing import TimeSpent
from store import FeatureSet

__all__ = ["NOTHING", "Computed", "Extraction", "Plan", "Progress", "combine"]


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes:
        candidates: how many there are, or None where only reading tells.
        read: candidates read and hashed.
        computed: images through the engine.
        reused: rows that the pool had.
        quarantined: images that could not be decoded.
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

    def __add__(self, other: "Progress") -> "Progress":
        """Return how far two shares of one extraction are together."""
        total = None if self.candidates is None or other.candidates is None else self.candidates + other.candidates
        return Progress(
            total,
            self.read + other.read,
            self.computed + other.computed,
            self.reused + other.reused,
            self.quarantined + other.quarantined,
        )


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What was computed of an extraction: of a share of it, or of several together.

    Attributes:
        candidates: how many were looked at.
        bad: those of them that are undecodable.
        forward_passes: images computed, without canary and padding.
        adopted: images whose rows another pool of the same extractor had.
        seconds: it took, without loading and compiling the model.
        time: where the seconds went.
        engine, device, threads: what ran it; empty, empty and 0 where nothing had to run.
        parameters: of the network, None where nothing had to run.
        canary: what provenance says of the canary images.
        decode_failures: content → reason, of images that turned out to be undecodable.
        survey: what was read, where it was read in this process: publishing need not read it again.
    """

    candidates: int = 0
    bad: int = 0
    forward_passes: int = 0
    adopted: int = 0
    seconds: float = 0.0
    time: TimeSpent = field(default_factory=TimeSpent)
    engine: str = ""
    device: str = ""
    threads: int = 0
    parameters: ParameterCounts | None = None
    canary: Mapping[str, Any] = field(default_factory=dict)
    decode_failures: Mapping[bytes, str] = field(default_factory=dict)
    survey: Survey | None = field(default=None, repr=False, compare=False)

    def after(self, others: "Computed") -> "Computed":
        """Return this together with what others did before, for candidates that were all looked at here again."""
        return replace(combine([others, self]), candidates=self.candidates, bad=self.bad, survey=self.survey)

    def to_send(self) -> "Computed":
        """Return what another process needs of it."""
        return replace(self, survey=None)


NOTHING = Computed()


def combine(several: Sequence[Computed], seconds: float | None = None) -> Computed:
    """Return what was computed in several places together.

    Args:
        several: in any order; of engine and canary, the first that has them speaks for all.
        seconds: what they took side by side; without it, they worked one after another.
    """
    ran = next((one for one in several if one.engine), NOTHING)
    return Computed(
        candidates=sum(one.candidates for one in several),
        bad=sum(one.bad for one in several),
        forward_passes=sum(one.forward_passes for one in several),
        adopted=sum(one.adopted for one in several),
        seconds=sum(one.seconds for one in several) if seconds is None else seconds,
        time=sum((one.time for one in several), TimeSpent()),
        engine=ran.engine,
        device=ran.device,
        threads=ran.threads,
        parameters=ran.parameters,
        canary=ran.canary,
        decode_failures={content: reason for one in several for content, reason in one.decode_failures.items()},
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an extraction of one base split would do.

    Attributes:
        key: of the set that is published already, or empty.
        rows: candidates that look decodable, by their headers.
        quarantined: those that do not.
        ignored: files that are no images.
        missing: images that would have to be computed.
        told: what would be done to images, and what left out.
    """

    key: str
    rows: int
    quarantined: int
    ignored: int
    missing: int
    told: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Result of one base split.

    Attributes:
        feature_set: the published set.
        status: `extracted`, or `cached` where the very set was published before.
        forward_passes: images computed for it, without canary and padding.
        reused: rows that the pool had.
        ignored: files that are no images.
        adopted: rows that another pool of the same extractor had.
        seconds: from the first read to the publication, without loading and compiling the model.
        time: where they went.
        engine: what ran it, empty where nothing had to run.
        parameters: of the network, None where nothing had to run.
        size: how large the base split is, and was accepted to be.
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
    size: SizeChange
    adopted: int = 0
