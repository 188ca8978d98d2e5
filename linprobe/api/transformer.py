"""A frozen extractor as a scikit-learn transformer; imports scikit-learn."""

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from linprobe.api.workspace import open_workspace
from linprobe.job.config import ExtractorConfig, JobConfig
from linprobe.job.plan import DEFAULT_EXTRACTOR

__all__ = ["FeatureExtractor"]


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Images to features; a row is computed once, and comes from the store's pool from then on.

    Rows that no published set refers to are garbage to `linprobe store gc` after a day.

    Args:
        extractor: its name.
        store: a store's folder; without, as `linprobe.open()`. It is made if need be.
        engine: auto, tensorflow or openvino.
        device: auto, cpu or gpu.

    Attributes:
        n_features_out_: D.
    """

    def __init__(
        self,
        extractor: str = DEFAULT_EXTRACTOR,
        *,
        store: str | os.PathLike[str] | None = None,
        engine: str = "auto",
        device: str = "auto",
    ) -> None:
        self.extractor = extractor
        self.store = store
        self.engine = engine
        self.device = device

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Do nothing but look the extractor up: it is frozen."""
        from linprobe.models.extractors import open_configured

        session = open_workspace(self.store).session
        self.n_features_out_: int = open_configured(self._configured(), session.environment).dim or 0
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of images.

        Args:
            X: N paths, or (N, H, W, 3) or (N, H, W) uint8 pixels, or N such images of any sizes.

        Returns:
            (N, D) float32.

        Raises:
            BadData: an image cannot be read or decoded; none is left out.
        """
        from linprobe.commands.transform import transform_images

        rows = transform_images(X, self._configured(), open_workspace(self.store).session)
        self.n_features_out_ = rows.shape[1]
        return rows

    def _configured(self) -> ExtractorConfig:
        stated = {"name": self.extractor, "engine": self.engine, "device": self.device}
        return JobConfig.from_mapping({"extractors": [stated]}, where="FeatureExtractor").extractors[0]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return f0000, f0001, … as the columns of `FeatureSet.to_frame()` are called."""
        return np.array([f"f{at:04d}" for at in range(self.n_features_out_)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
