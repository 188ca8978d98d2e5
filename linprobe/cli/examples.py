"""An example or two under every command's help."""

__all__ = ["EXAMPLES", "epilog"]

EXAMPLES = {
    "quick": ("linprobe quick flowers", "linprobe quick labels.csv --out first-look --open"),
    "extract": (
        "linprobe extract --dataset folder:flowers --extractor efficientnet_lite0",
        "linprobe extract job.toml --workers auto --max-bad 1%",
    ),
    "probe": (
        "linprobe probe --dataset folder:flowers --head dense,logistic",
        "linprobe probe --shots 1,5,10,all --seeds 5",
    ),
    "report": ("linprobe report --out site", "linprobe report --format markdown"),
    "compare": ("linprobe compare flowers/pixels/ridge flowers/efficientnet_lite0/ridge",),
    "nightly": (
        "linprobe nightly job.toml --store /data/store",
        "linprobe nightly job.toml --accept-shrink flowers",
    ),
    "predict": ("linprobe predict --run flowers/efficientnet_lite0/logistic photo.jpg more/",),
    "explain": ("linprobe explain --run flowers/efficientnet_lite0/logistic photo.jpg --out maps",),
    "export": ("linprobe export --run 4f1c2a --format tflite --out flowers.tflite",),
    "classify": ("linprobe classify photo.jpg",),
    "fetch": ("linprobe fetch job.toml",),
    "schedule": ("linprobe schedule --format systemd --at 02:30 job.toml",),
    "doctor": ("linprobe doctor --deep",),
    "store ls": ("linprobe store ls --runs",),
    "store nights": ("linprobe store nights --json",),
    "store show": ("linprobe store show 4f1c2a",),
    "store verify": ("linprobe store verify --deep",),
    "store gc": ("linprobe store gc --dry-run",),
    "store export": ("linprobe store export 4f1c2a --format csv --out flowers.csv",),
    "store import": ("linprobe store import features.npz --name flowers --extractor clip",),
    "config init": ("linprobe config init job.toml",),
    "config show": ("linprobe config show job.toml",),
    "config check": ("linprobe config check job.toml",),
}


def epilog(command: str) -> str:
    """Return what stands below a command's help; its lines are not wrapped."""
    lines = EXAMPLES[command]
    return "\n".join(["\b", f"Example{'s' * (len(lines) > 1)}:", *(f"  {line}" for line in lines)])
