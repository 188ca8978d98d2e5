"""Rows computed again from their images, for `store verify --deep`."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from extract import (
    ENGINES,
    LENIENT,
    Engine,
    EngineUnavailable,
    Example,
    Extractor,
    ModelMismatch,
    open_engine,
    open_source,
)
from extract.single_images import compute_each
from linprobe.job.environment import Environment
from linprobe.models.extractors import reopen_extractor
from store import IMPORTED, FeatureSet, FeatureStore, RowsUnavailable

__all__ = ["GoldenRows"]


class GoldenRows:
    """Computes rows of published sets again, where extractor and images are at hand.

    Args:
        store: whose sets.
        environment: where the job runs.
        say: gets a line for people.
    """

    def __init__(self, store: FeatureStore, environment: Environment, say: Callable[[str], None]) -> None:
        self._store = store
        self._environment = environment
        self._say = say
        self._extractors: dict[str, Extractor] = {}
        self._engines: dict[tuple[str, str], Engine] = {}

    def __call__(self, features: FeatureSet, example_ids: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Return example id → (D,) float32 for those of the images that are still the same.

        Raises:
            RowsUnavailable: the extractor or the source is unavailable here.
        """
        if features.provenance.engine == IMPORTED:
            raise RowsUnavailable("its features were made elsewhere, and imported by 'store import'.")
        self._environment.prepare_frameworks()
        try:
            images = self._images(features, example_ids)
            extractor, engine = self._opened(features)
            computed = compute_each(images, extractor.preprocessing, lambda: engine)
            return {one.example.example_id: one.value for one in computed if one.value is not None}
        except RowsUnavailable:
            raise
        # A source or a model that is gone fails in any way that its framework knows, and must not
        # hide what was found in the rest of the store.
        except Exception as error:
            raise RowsUnavailable(f"{type(error).__name__}: {error}") from error

    def _images(self, features: FeatureSet, example_ids: Sequence[str]) -> list[Example]:
        """Return those that are the very images still, and tell of those that have changed or are gone.

        Raises:
            RowsUnavailable: none is.
        """
        contents = dict(zip(features.example_ids.tolist(), features.content_sha256, strict=True))
        source = open_source(features.provenance.source, self._environment.source_caches(), reading=LENIENT)
        same: list[Example] = []
        changed: list[Example] = []
        for example in source.pick(features.split, example_ids):
            is_same = example.content_sha256() == contents[example.example_id].tobytes()
            (same if is_same else changed).append(example)
        gone = len(example_ids) - len(same) - len(changed)
        if changed or gone:
            counts = [(len(changed), "changed since"), (gone, "gone")]
            told = " and ".join(f"{count} {what}" for count, what in counts if count)
            sentence = f"of {len(example_ids)} images that were looked for {told} (extract its source again)"
            if not same:
                raise RowsUnavailable(f"{sentence}.")
            self._say(f"note: {features.folder}: {sentence}.")
        return same

    def _opened(self, features: FeatureSet) -> tuple[Extractor, Engine]:
        pool, name = features.manifest["pool"], features.provenance.engine
        if pool not in self._extractors:
            self._extractors[pool] = self._extractor(features)
        extractor = self._extractors[pool]
        # The views of an extractor go through one network, which is loaded once.
        made_by = extractor.view(0).pool_key().digest, name
        if made_by not in self._engines:
            self._engines[made_by] = self._engine(extractor, name)
        return extractor, self._engines[made_by]

    def _engine(self, extractor: Extractor, name: str) -> Engine:
        """Open the engine that made the rows, where it runs here; engines differ from one another in the low bits."""
        if name in ENGINES:
            try:
                return open_engine(extractor, name, self._say)
            except EngineUnavailable as error:
                self._say(f"{error} Another engine computes the golden rows.")
        return open_engine(extractor, "auto", self._say)

    def _extractor(self, features: FeatureSet) -> Extractor:
        try:
            return reopen_extractor(self._store, features, self._environment)
        except ModelMismatch as error:
            raise RowsUnavailable(str(error)) from error
