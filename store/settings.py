"""What can be asked of a probe, each setting declared once as plain data.

Which runs answer the same question, which compete, what tables and pages show and what a run of an older version means
by leaving a setting out: all of it is read from this table. A new setting is a field of `probe.ProbeRequest` and an
entry here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SETTINGS", "Setting", "circumstances", "names_of", "protocol_of", "same_but_seed", "values_of"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a probe.

    Attributes:
        name: its key in a run's `config`, and its column in tables.
        heading: what the column of a table is called.
        default: what runs mean that leave it out, and what goes without saying on a page; None where every run
            states it.
        limits: whether it says how much of train is used; only runs of equal limits compete.
        is_listed: whether `store ls --runs` shows it.
    """

    name: str
    heading: str
    default: Any = None
    limits: bool = False
    is_listed: bool = True


_DECLARED = (
    Setting(name="dataset", heading="dataset"),
    Setting(name="extractor", heading="extractor"),
    Setting(name="head", heading="head"),
    Setting(name="options", heading="options", is_listed=False),
    Setting(name="seed", heading="seed"),
    Setting(name="shots", heading="shots", default="all", limits=True),
    Setting(name="train_share", heading="share of train", default=1.0, limits=True),
    Setting(name="views", heading="views", default=0, is_listed=False),
    Setting(name="folds", heading="folds", default=0, limits=True, is_listed=False),
    Setting(name="train", heading="train"),
    Setting(name="validation", heading="validation", is_listed=False),
    Setting(name="test", heading="test"),
    Setting(name="metric", heading="metric", default="accuracy", is_listed=False),
)


SETTINGS = {setting.name: setting for setting in _DECLARED}


def names_of(*, but: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of all settings but some."""
    left_out = set(but)
    return tuple(name for name in SETTINGS if name not in left_out)


def values_of(config: Mapping[str, Any], *, but: Iterable[str] = ()) -> dict[str, Any]:
    """Return name → value of a run's settings; what its configuration leaves out, as it is meant.

    Args:
        config: `RunRecord.config`, or a row with the same names.
        but: settings to leave out.

    Raises:
        KeyError: a setting is missing that every run states.
    """
    names = set(names_of(but=but))
    return {
        setting.name: config[setting.name] if setting.default is None else config.get(setting.name, setting.default)
        for setting in SETTINGS.values()
        if setting.name in names
    }


def protocol_of(config: Mapping[str, Any]) -> int:
    """Return the version of the probe protocol that a run's configuration names; the first named none."""
    return int(config.get("protocol", 1))


def same_but_seed(config: Mapping[str, Any]) -> str:
    """Return what is equal of runs that answer one question with several seeds, as text.

    Parts that a seed drew are one question: seeds answer it. So are those that seed 0 drew for all of them.
    """
    seed = config["seed"]
    asked = [
        value.replace(f"/seed{seed}[", "/seed[").replace(f"/draw{seed}[", "/draw[").replace("/draw0[", "/draw[")
        if isinstance(value, str)
        else value
        for value in values_of(config, but=["seed"]).values()
    ]
    return json.dumps(asked, sort_keys=True)


def circumstances(config: Mapping[str, Any]) -> str:
    """Return what a question is answered on, as text: sets, those of views, and the protocol's version."""
    return json.dumps([config.get(name) for name in ("sets", "view_sets", "protocol")], sort_keys=True)
