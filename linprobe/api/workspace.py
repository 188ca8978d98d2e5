"""A store at work in a notebook: extract, probe, compare, report."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from extract import DatasetSource
from linprobe.api.comparison import Comparison
from linprobe.api.display import Described
from linprobe.api.errors import WorkspaceClosed
from linprobe.api.features import Features
from linprobe.api.images import Images
from linprobe.api.progress import ProgressConsole
from linprobe.api.runs import Run
from linprobe.job.config import JobConfig
from linprobe.job.environment import Environment
from linprobe.job.errors import ConfigError
from linprobe.job.plan import DEFAULT_EXTRACTOR
from linprobe.job.session import Session
from store import FeatureStore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Workspace", "open_workspace"]


def open_workspace(store: str | os.PathLike[str] | None = None) -> "Workspace":
    """Open a workspace on a store; the store is made by the first extraction.

    Args:
        store: its folder; without, what LINPROBE_STORE names, else `./linprobe-store`.

    Raises:
        StoreFormatError: the folder is something else.
    """
    environment = Environment(os.environ)
    path = environment.store_path(Path(store).expanduser() if store is not None else None, None)
    if path.exists():
        # What is no store is refused now, rather than after the first long extraction.
        _require_store(path)
    return Workspace(Session(environment=environment, store_path=path.absolute(), console=ProgressConsole()))


def _require_store(path: Path) -> None:
    from store import StoreNotFound

    try:
        FeatureStore(path)
    except StoreNotFound:
        return


class Workspace(Described):
    """A store at work, as `linprobe.open()` gives it.

    What it computes is kept in the store: the same call again costs no forward pass and no training.

    Args:
        session: where it runs, where the store is, who is told.
    """

    def __init__(self, session: Session) -> None:
        self._given: Session | None = session
        self._path = session.store_path

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._path

    @property
    def store(self) -> FeatureStore:
        """The store.

        Raises:
            StoreNotFound: nothing has been extracted yet.
        """
        return self.session.open_store()

    @property
    def session(self) -> Session:
        """What the commands of this workspace share.

        Raises:
            WorkspaceClosed: it has been closed.
        """
        if self._given is None:
            raise WorkspaceClosed(f"{self._path}: an open workspace expected, this one was closed; linprobe.open() it.")
        return self._given

    def close(self) -> None:
        """End the work with this store; everything is on disk already."""
        self._given = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Features

    def extract(
        self,
        source: str | os.PathLike[str] | Images,
        extractor: str = DEFAULT_EXTRACTOR,
        *,
        name: str | None = None,
        split: str | tuple[str, ...] | list[str] = (),
        engine: Literal["auto", "tensorflow", "openvino"] = "auto",
        device: Literal["auto", "cpu", "gpu"] = "auto",
        max_bad: int | str = 0,
        views: int = 0,
        workers: int | Literal["auto"] = 1,
        accept_drift: bool = False,
        **settings: Any,
    ) -> Features:
        """Run an extractor over a dataset as far as rows are missing, and return the features.

        Args:
            source: `folder:PATH`, `table:FILE`, `npz:FILE`, `tfds:NAME` or `bundled:digits`; the path of a folder; or
                `linprobe.images(…)`.
            extractor: its name.
            name: what the dataset is called; without, its source. `linprobe.images` need one.
            split: base splits; without, all.
            engine, device: what computes.
            max_bad: how many images may be undecodable, `N` or `P%`.
            views: how many views of each training image, see `Features.probe`.
            workers: processes side by side.
            accept_drift: add rows though the canary images come out otherwise than when the pool was begun.
            settings: of the extractor, as its table in a job's file takes them: `preset`, `size`, `crop`, `dtype`, …

        Raises:
            ConfigError: an argument that cannot be meant so.
            ExtractError, StoreError: see `linprobe extract`; what was committed is kept.
        """
        from linprobe.commands.extract import ExtractOptions, extract_all

        text, sources = _opened(source, name)
        splits = [split] if isinstance(split, str) else list(split)
        job = JobConfig.from_mapping(
            {
                "workers": workers,
                "datasets": [
                    {"source": text, "splits": splits, "max_bad": max_bad, **({"name": name} if name else {})}
                ],
                "extractors": [{"name": extractor, "engine": engine, "device": device, "views": views, **settings}],
            },
            where="extract",
        )
        options = ExtractOptions(accept_drift=accept_drift, sources=sources)
        outcome = extract_all(job, self.session, options=options)
        if outcome.failures:
            raise outcome.failures[0].error
        return Features(self, job.datasets[0].stored_name, job.extractors[0].name)

    def features(self, dataset: str, extractor: str = DEFAULT_EXTRACTOR) -> Features:
        """Return features that are there already.

        Args:
            dataset: its name, its source as typed, or any end that means no other.
            extractor: its name.

        Raises:
            FeatureSetNotFound: there are none.
        """
        store = self.store
        found = Features(self, store.find_dataset(dataset), extractor)
        _ = found.splits
        return found

    def datasets(self) -> "pd.DataFrame":
        """Return what is there: a row per dataset, base split and extractor, by their current names."""
        catalog = self.store.catalog()
        shown = ["dataset", "split", "extractor", "dim", "rows", "quarantined", "created", "key"]
        return catalog[catalog["is_current"]][shown].reset_index(drop=True)

    # Runs

    def results(self, **where: object) -> "pd.DataFrame":
        """Return a row per run, the newest last.

        Args:
            where: what columns must hold, such as `dataset="flowers"`, which may be any end that means no other.

        Raises:
            ConfigError: there is no such column.
        """
        found = self.store.results()
        for column, value in where.items():
            if column not in found.columns:
                raise ConfigError(f"results: no column {column!r}; there are {', '.join(map(str, found.columns))}.")
            wanted = self.store.find_dataset(str(value)) if column == "dataset" else value
            found = found[found[column] == wanted]
        return found.reset_index(drop=True)

    def run(self, name: str) -> Run:
        """Return a run by id, unique prefix or `DATASET/EXTRACTOR/HEAD`.

        Raises:
            RunNotFound: no run answers, or several do.
        """
        from linprobe.models.runs import find_run

        return Run(self, find_run(self.store, name))

    def predictions(self, run: "Run | str") -> "pd.DataFrame":
        """Return a run's predictions, a row per test image."""
        return (run if isinstance(run, Run) else self.run(run)).predictions()

    def compare(self, first: "Run | str", second: "Run | str") -> Comparison:
        """Compare two runs on the test images that they share.

        Raises:
            NotComparable: they share none, or have different classes.
        """
        from linprobe.commands.compare import compare

        names = [run.id if isinstance(run, Run) else run for run in (first, second)]
        return Comparison(compare(self.store, *names))

    def nights(self) -> "pd.DataFrame":
        """Return a row per night, the last at the end: what it found, computed and answered, and how it ended.

        `how` is `done`, `failed`, `interrupted`, or `not ended` of one that runs or was killed; `store.nights()` has
        all that the journal says.
        """
        import pandas as pd

        from linprobe.job.journal import NIGHT_COLUMNS, night_row

        found = pd.DataFrame([night_row(night) for night in self.store.nights()], columns=list(NIGHT_COLUMNS))
        times = {name: pd.to_datetime(found[name], utc=True, errors="coerce") for name in ("begun", "ended")}
        return found.assign(**times)

    def report(self, out: str | os.PathLike[str] = "linprobe-report") -> Path:
        """Write the report of all runs, a site that opens from disk, and return its first page."""
        from linprobe.commands.report import write_report

        return write_report(self.store, Path(out), self.session.environment).absolute()

    def _title(self) -> str:
        return f"Workspace {self._path}"

    def _facts(self) -> list[tuple[str, str]]:
        from store import StoreNotFound

        if self._given is None:
            return [("state", "closed")]
        try:
            store = self.store
        except StoreNotFound:
            return [("sets", "none yet; .extract(source, extractor) makes the first")]
        catalog = store.catalog()
        current = catalog[catalog["is_current"]]
        return [
            ("datasets", f"{current['dataset'].nunique():,}"),
            ("extractors", ", ".join(sorted(map(str, current["extractor"].unique()))) or "none"),
            ("sets", f"{len(current):,}"),
            ("runs", f"{len(store.results()):,}"),
        ]


def _opened(
    source: str | os.PathLike[str] | Images, name: str | None
) -> tuple[str, Mapping[str, Callable[[], DatasetSource]]]:
    """Return a source as text, and what opens it where only this process can."""
    if isinstance(source, Images):
        if not name:
            raise ConfigError("extract: images in memory have no name; give one: extract(images, extractor, name=…).")
        opened = source.source(name)
        return opened.name, {opened.name: lambda: opened}
    text = os.fspath(source)
    path = Path(text).expanduser()
    if isinstance(source, os.PathLike) and path.is_dir():
        text = f"folder:{text}"
    return text, {}
