"""Extractors as a configuration states them, and as a published set was made by."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

from extract import Declared, Engine, Extractor, ModelMismatch, open_engine, open_extractor
from linprobe.job.config import ExtractorConfig
from linprobe.job.environment import Environment
from linprobe.models.pins import is_trusted
from store import IMPORTED, FeatureSet, FeatureStore

__all__ = ["EngineKeeper", "open_configured", "readiness", "reopen_extractor"]


def readiness(extractor: Extractor) -> str:
    """Return what people are told of an extractor that can be opened."""
    return f"ready, weights {extractor.weights_sha256[:12]}" if extractor.has_weights else "ready, without weights"


def open_configured(configured: ExtractorConfig, environment: Environment) -> Extractor:
    """Return the extractor of a configuration, with the settings that it states; see `extract.open_extractor`."""
    # The version of the decoding rules is no setting.
    fields = {name: getattr(configured, name) for name in Declared.__dataclass_fields__ if name != "rules"}
    return open_extractor(configured.name, environment.caches, Declared(**fields))


class EngineKeeper:
    """Keeps the network that was loaded last, for as long as the same one is asked for.

    Args:
        notify: told what was loaded, where `auto` had to fall back, and where a batch had to be halved.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._loaded: tuple[Hashable, Engine] | None = None

    def opener(
        self, configured: ExtractorConfig, extractor: Extractor, *, engine: str, device: str
    ) -> Callable[[], Engine]:
        """Return what loads an extractor when it is first called.

        Args:
            configured: by which one network is told from another; its views go through the same.
            extractor: as opened.
            engine, device: what runs it.
        """
        what = configured, engine, device

        def opened() -> Engine:
            if self._loaded is None or self._loaded[0] != what:
                self._loaded = None  # before the next one is loaded: two may not fit into memory
                self._loaded = what, open_engine(extractor, engine, self._notify, device=device)
                self._notify(_describe(extractor, self._loaded[1]))
            return self._loaded[1]

        return opened


def _describe(extractor: Extractor, engine: Engine) -> str:
    """Return what people are told of a network that is loaded: what it is, where it runs, how large it is."""
    counts = engine.parameters
    precision = "" if extractor.precision == "float32" else f" in {extractor.precision}"
    first = f"{extractor.name}: {extractor.about}; {engine.dim} features, {engine.name} on {engine.device}{precision}"
    if not counts.frozen:
        # A floor has none; a Python function keeps them to itself.
        return first
    return (
        f"{first}\n"
        f"  Total params: {counts.frozen + counts.trainable:,}\n"
        f"  Trainable params: {counts.trainable:,}\n"
        f"  Non-trainable params: {counts.frozen:,} (constants of the graph)"
    )


def reopen_extractor(store: FeatureStore, features: FeatureSet, environment: Environment) -> Extractor:
    """Return the extractor that made a set, with the same settings.

    Raises:
        ModelMismatch: its weights or rules are others here, or its features were made elsewhere.
    """
    name = features.provenance.extractor
    if features.provenance.engine == IMPORTED:
        raise ModelMismatch(
            f"{name}: the features of set {features.key[:12]} were imported by 'linprobe store import'; what made "
            "them is not known here, so no image can be sent through it."
        )
    key = store.pool_key(features.manifest["pool"])
    # What the configuration stated of it stands in the pool's key.
    declared = Declared.of_pool(key, features.manifest["dim"])
    declared = replace(declared, trust=is_trusted(store.path, key.weights_sha256))
    extractor = open_extractor(name, environment.caches, declared)
    here = extractor.pool_key()
    if here != key:
        raise ModelMismatch(
            f"{name} is another extractor here than when the set was made: pool {key.digest[:12]} expected, "
            f"{here.digest[:12]} found ({_difference(key.document(), here.document())})."
        )
    return extractor


def _difference(expected: Mapping[str, object], found: Mapping[str, object]) -> str:
    parts = [name for name in expected if expected[name] != found[name]]
    return ", ".join(f"{name}: {expected[name]} expected, {found[name]} found" for name in parts)
