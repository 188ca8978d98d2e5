"""What runs of earlier versions leave out, filled in once, where a run is read.

A run is never written anew. Each line here says since when a field is there; what a run without it means is what its
version did.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from store.settings import SETTINGS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["completed", "completed_predictions"]


def completed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run.json with the fields that its version did not have.

    Since the first version: `metric` and `train_share` of `config` (with few shots), `views` (with views). Before few
    shots there were none, and `shots` was null.
    """
    config = dict(document["config"])
    for setting in SETTINGS.values():
        if setting.default is not None and config.get(setting.name) is None:
            config[setting.name] = setting.default
    return {**document, "config": config}


def completed_predictions(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return predictions with the columns that their version did not have.

    Since predictions can be compared by group: `group`. Sources had none to tell before.
    """
    if "group" not in frame.columns:
        frame.insert(list(frame.columns).index("content_sha256") + 1, "group", "")
    return frame
