"""The commands that use a trained head, or a whole classifier, on images."""

from pathlib import Path
from typing import Annotated

import typer

from linprobe.cli.app import app
from linprobe.cli.examples import epilog
from linprobe.cli.options import Json, StorePath, Trust, finish, open_session, require_choice, split_commas

__all__ = ["classify", "explain", "export", "predict"]

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, folders of them, or patterns.")]
Run = Annotated[
    str,
    typer.Option("--run", metavar="RUN", help="An id, its unique beginning, or DATASET/EXTRACTOR/HEAD: its answer."),
]
EngineName = Annotated[str, typer.Option("--engine", metavar="auto|tensorflow|openvino", help="What computes.")]


@app.command(epilog=epilog("predict"))
def predict(
    images: Images,
    *,
    run: Run,
    labelled: Annotated[bool, typer.Option("--labelled", help="The folder of an image names its true class.")] = False,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many classes a line shows.")] = 3,
    grid: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the first 30 images with their predictions.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE.csv", help="Write a row for each image.")] = None,
    engine: EngineName = "auto",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Predict the classes of images with a trained head."""
    from linprobe.commands.predict import PredictOptions, predict_images, write_csv, write_grid

    session = open_session(store, json)
    options = PredictOptions(is_labelled=labelled, engine=engine, top=top, has_grid=grid is not None)
    outcome = predict_images(run, images, session, options=options)
    if grid is not None:
        write_grid(outcome, grid, session)
    if csv is not None:
        write_csv(outcome, csv, session)
    session.console.result("\n".join(outcome.lines), outcome.document())
    finish(outcome.failures)


@app.command(epilog=epilog("explain"))
def explain(
    run: Run,
    *,
    images: Images = [],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the drawings go.")] = Path(
        "linprobe-explain"
    ),
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many classes are drawn, the likeliest first.")] = 3,
    layers: Annotated[
        list[str],
        typer.Option(
            "--layers", metavar="NAME", help="Draw a layer's channels instead. May be repeated, or take commas."
        ),
    ] = [],
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="Print the layers' names, and draw nothing.")
    ] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Draw where in images a head finds its evidence.

    Or, with --layers, what the network's layers make of them.
    """
    from linprobe.commands.explain import ExplainOptions, explain_images, layer_names

    session = open_session(store, json)
    if list_layers:
        names = layer_names(run, session)
        session.console.result("\n".join(names), {"layers": names})
        return
    options = ExplainOptions(top=top, layers=tuple(split_commas("--layers", layers)))
    outcome = explain_images(run, images, session, out=out, options=options)
    session.console.result(str(outcome.page), outcome.document())
    finish(outcome.failures)


@app.command(epilog=epilog("export"))
def export(
    run: Run,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="The SavedModel's folder, or the .tflite file.")],
    model_format: Annotated[
        str, typer.Option("--format", metavar="savedmodel|tflite", help="What is written.")
    ] = "savedmodel",
    pixels: Annotated[
        str, typer.Option("--pixels", metavar="float32|uint8", help="What a tflite model takes.")
    ] = "float32",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Write extractor and head of a run as one model.

    A SavedModel takes encoded images, a TFLite model pixels; the classes stand in a file beside it.
    """
    from linprobe.commands.export import MODEL_FORMATS, PIXEL_TYPES, export_run

    require_choice("--format", model_format, MODEL_FORMATS)
    require_choice("--pixels", pixels, PIXEL_TYPES)
    session = open_session(store, json)
    document = export_run(run, out, session, model_format=model_format, pixels=pixels)
    session.console.result(f"{document['path']} takes {document['takes']}", document)


@app.command(epilog=epilog("classify"))
def classify(
    images: Images,
    *,
    extractor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose classifier; efficientnet_lite0 by default.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The classes, one a line, where they are not known.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many classes are shown, the likeliest first.")] = 5,
    engine: EngineName = "auto",
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Name what is in images by a whole classifier of its own.

    With its own labels; nothing of yours is trained or needed.
    """
    from linprobe.commands.classify import ClassifyOptions, classify_images
    from linprobe.job.plan import DEFAULT_EXTRACTOR

    session = open_session(None, json)
    options = ClassifyOptions(labels=labels, top=top, engine=engine, trust=trust)
    outcome = classify_images(extractor or DEFAULT_EXTRACTOR, images, session, options=options)
    session.console.result(outcome.text(), outcome.document())
    finish(outcome.failures)
