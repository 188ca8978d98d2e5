"""What can be set of `dense`."""

from typing import Annotated

from pydantic import Field

from probe.heads.options import Count, Grid, HeadOptions, Number
from probe.scaling import Scaling
from probe.selection import Rule

__all__ = ["LEARNING_RATES", "WEIGHT_DECAYS", "DenseOptions"]

# Source: Oquab et al. 2023, DINOv2, whose linear evaluation tries these 13.
LEARNING_RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
# None; AdamW's own default, 0.01 (Loshchilov and Hutter 2019); and stronger, as few steps need.
WEIGHT_DECAYS = (0.0, 0.01, 0.1, 1.0)


class DenseOptions(HeadOptions):
    """Options of `dense`; the defaults are the lesson's.

    Attributes:
        epochs: how often every row is seen.
        batch_size: rows of a step.
        learning_rate: Adam's.
        weight_decay: AdamW's, decoupled; 0 is Adam.
        patience: epochs without a lower validation loss until training stops; 0 never stops early.
        hidden: units of a hidden layer with ReLU; 0 has none.
        dropout: the share of features that a step leaves out.
        scaling: of the features.
        rule: how a candidate of a grid is selected.
    """

    epochs: Count = 6
    batch_size: Count = 32
    learning_rate: Annotated[float | tuple[float, ...], Grid(Number, LEARNING_RATES)] = 1e-3
    weight_decay: Annotated[float | tuple[float, ...], Grid(Annotated[float, Field(ge=0)], WEIGHT_DECAYS)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    hidden: Annotated[int, Field(ge=0)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scaling: Scaling = "none"
    rule: Rule = "best"
