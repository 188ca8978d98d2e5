"""Trained heads with their numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from linprobe.api.display import Described
from store import ProbeResult

if TYPE_CHECKING:
    import pandas as pd

    from linprobe.api.workspace import Workspace

__all__ = ["Explanation", "Run", "Runs"]


class Run(Described):
    """One probe run: a head, trained on cached features and tested once.

    Args:
        workspace: where it is kept.
        result: the run.
    """

    def __init__(self, workspace: "Workspace", result: ProbeResult) -> None:
        self._workspace = workspace
        self._result = result

    @property
    def id(self) -> str:
        """The run id."""
        return self._result.run_id

    @property
    def config(self) -> Mapping[str, Any]:
        """What was asked: dataset, extractor, head, options, splits, seed, shots."""
        return self._result.config

    @property
    def accuracy(self) -> float:
        """The share of test images that are right."""
        return float(self._result.metrics["accuracy"])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy."""
        return float(self._result.metrics["accuracy_low"]), float(self._result.metrics["accuracy_high"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """Every number that was measured on the test images, by name."""
        return self._result.metrics

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing the numbers."""
        return self._result.warnings

    @property
    def selected(self) -> Mapping[str, Any]:
        """The option values that selection chose."""
        return dict(self._result.selection["selected"])

    @property
    def class_names(self) -> list[str]:
        """The K classes, in label order."""
        return list(self._result.class_names)

    def predictions(self) -> "pd.DataFrame":
        """Return a row per test image: `example_id, label, predicted, is_correct, confidence, label_probability, …`.

        `label_name` and `predicted_name` stand beside the numbers.
        """
        return self._workspace.store.predictions(self.id)

    def probabilities(self, part: str = "test") -> "pd.DataFrame":
        """Return the probability of every class for every test image: (N, K), by example id.

        Those that the run kept; of a run before protocol 3, computed from its head and the cached features.

        Args:
            part: `test`; or `held_out`: training images, by a fit of the selection that had not seen them.

        Raises:
            FeatureSetNotFound: they were not kept, and the features that it was tested on are gone.
        """
        kept = self._workspace.store.probabilities(self.id, part)
        if kept is not None:
            return kept
        import pandas as pd

        from linprobe.models.runs import test_probabilities

        found = test_probabilities(self._workspace.store, self._result)
        ids = pd.Index(self._result.predictions["example_id"], name="example_id")
        return pd.DataFrame(found, index=ids, columns=self.class_names)

    def curves(self) -> "pd.DataFrame":
        """Return a row per epoch: training and validation curves; empty for a head without epochs."""
        return self._result.curves.copy()

    def predict(self, images: Any) -> "pd.DataFrame":
        """Predict the classes of images.

        Args:
            images: paths, folders or patterns; or (N, H, W, 3) uint8 pixels, or N such images of any sizes.

        Returns:
            A row per image: `image` (its path, or its position), `predicted`, `confidence`, and a column per class.

        Raises:
            BadData: an image cannot be read or decoded.
            ModelUnavailable, ModelMismatch: its extractor is unavailable here, or is another one here.
        """
        import pandas as pd

        from linprobe.commands.predict import predict_examples
        from linprobe.models.image_files import named_examples

        names, found = predict_examples(self._head(), named_examples(images), self._workspace.session)
        best = found.argmax(axis=1)
        shown = {
            "image": names,
            "predicted": [self.class_names[at] for at in best],
            "confidence": found[np.arange(len(best)), best],
        }
        return pd.concat([pd.DataFrame(shown), pd.DataFrame(found, columns=self.class_names)], axis=1)

    def explain(self, image: Any, *, top: int = 3, layers: Sequence[str] = ()) -> "Explanation":
        """Draw where in an image the head finds its evidence, or what layers of the network make of it.

        Args:
            image: a path, or (H, W, 3) uint8 pixels.
            top: how many classes, the likeliest first.
            layers: these layers' channels instead of maps for classes.

        Raises:
            ConfigError: the head is not linear.
            ModelMismatch: the network does not end in global average pooling.
        """
        from linprobe.commands.explain import ExplainOptions, explain_examples
        from linprobe.models.image_files import named_examples

        self._workspace.session.environment.prepare_frameworks()
        options = ExplainOptions(top=top, layers=tuple(layers))
        (found,) = explain_examples(self._head(), named_examples([image]), options)
        return Explanation(found.row, {text: data for data, text in found.drawings.values()})

    def _head(self) -> Any:
        from linprobe.models.runs import open_trained_head

        session = self._workspace.session
        session.environment.prepare_frameworks()
        return open_trained_head(self._workspace.store, self.id, session.environment)

    def _title(self) -> str:
        from linprobe.models.runs import name_run

        return f"Run {self.id[:12]}: {name_run(self._result, self._workspace.store)}"

    def _facts(self) -> list[tuple[str, str]]:
        low, high = self.interval
        counts = self._result.counts
        facts = [
            ("accuracy", f"{self.accuracy:.1%} [{low:.1%}, {high:.1%}] on {counts['n_test']:,} test images"),
            ("trained on", f"{counts['n_train']:,} images, {self.config['train']}"),
        ]
        if self.selected:
            facts.append(("selected", ", ".join(f"{name} = {value:.3g}" for name, value in self.selected.items())))
        if not self._result.fit["converged"]:
            facts.append(("fit", "NOT CONVERGED"))
        return [*facts, *(("warning", text) for text in self.warnings)]


class Runs(Sequence[Run]):
    """Several runs, in the order in which they were asked for."""

    def __init__(self, workspace: "Workspace", runs: Iterable[Run]) -> None:
        self._workspace = workspace
        self._runs = list(runs)

    @overload
    def __getitem__(self, at: int) -> Run: ...

    @overload
    def __getitem__(self, at: slice) -> "Runs": ...

    def __getitem__(self, at: int | slice) -> "Run | Runs":
        return Runs(self._workspace, self._runs[at]) if isinstance(at, slice) else self._runs[at]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def frame(self) -> "pd.DataFrame":
        """Return a row per run, as `Workspace.results` has them, in this order."""
        results = self._workspace.store.results().set_index("run_id", drop=False)
        return results.loc[[run.id for run in self._runs]].reset_index(drop=True)

    def _shown(self) -> "pd.DataFrame":
        columns = [
            "head",
            "seed",
            "shots",
            "train_share",
            "n_train",
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "nll",
        ]
        return self.frame()[columns]

    def __repr__(self) -> str:
        return self._shown().to_string() if self._runs else "no runs"

    def _repr_html_(self) -> str:
        return str(self._shown().to_html()) if self._runs else "<p>no runs</p>"


class Explanation:
    """Drawings of one image, shown by a notebook.

    Attributes:
        document: classes with probability, logit and intercept, or layers.
        drawings: what a drawing shows → PNG bytes.
    """

    def __init__(self, document: Mapping[str, Any], drawings: Mapping[str, bytes]) -> None:
        self.document = document
        self.drawings = drawings

    def __repr__(self) -> str:
        return "\n".join(self.drawings)

    def _repr_html_(self) -> str:
        from base64 import b64encode

        return "".join(
            f'<figure><img src="data:image/png;base64,{b64encode(data).decode()}" alt="{escape(text)}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
            for text, data in self.drawings.items()
        )
