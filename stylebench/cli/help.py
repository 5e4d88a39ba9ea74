"""What the command line says of itself: commands, examples, options and keys."""

import re

from stylebench.shipped import conf_folder, options

COMMANDS = {
    "train": "train a method on images, or -m for a sweep; continues a run that was stopped",
    "stylize": "give a picture, or a folder of them, a style: with a trained model or without any training",
    "classify": "the classes of pictures by a trained classifier, as CSV",
    "calibrate": "statistics of a domain for the batch norms of a trained model, beside its weights (AdaBN)",
    "export": "write a trained model as safetensors and JSON",
    "profile": "images/s, where the time of a step goes, memory, and the frame's cost over a bare loop",
    "prepare": "get a dataset where it can be had, check and pack it once, show what is in it",
    "evaluate": "metrics of a finished run, or of anybody's images beside a reference",
    "new": "the files of a method that trains as it stands, to be changed; in your own package, or in a checkout",
    "list": "what there is: models, generators, schedules, datasets, encoders, metrics, experiments, controls",
}
EXAMPLES = {
    "train": [
        "stylebench train dataset.content=photos/ dataset.style=painting.jpg",
        "stylebench train dataset.content=photos/ dataset.style=a.jpg encoder=vgg16 budget.batches=2000 trainer=gpu",
        "stylebench train -m dataset.content=photos/ dataset.style=a.jpg model.weight_style=1,3,10 seed=0,1,2",
        "stylebench train run=outputs/fast_transfer/2026-11-20_10-00-00 budget.batches=80000   # go on",
    ],
    "stylize": [
        "stylebench stylize input=photo.jpg style=painting.jpg",
        "stylebench stylize input=photo.jpg style=painting.jpg size_px=512 weight_style=3 model/style_loss=w2",
        "stylebench stylize run=outputs/fast_transfer/2026-11-20_10-00-00 input=photo.jpg output=painted.png",
        "stylebench stylize run=exported/ input=photos/ output=painted/ alpha=0.7",
    ],
    "classify": [
        "stylebench classify run=outputs/classifier/2026-11-20_10-00-00 input=pictures/",
        "stylebench classify run=outputs/classifier/2026-11-20_10-00-00 input=pictures/ statistics=source",
    ],
    "calibrate": [
        "stylebench calibrate run=outputs/fast_transfer/2026-11-20_10-00-00 domain=paintings/",
        "stylebench calibrate run=outputs/classifier/2026-11-20_10-00-00 domain=target propagate=sequential",
    ],
    "export": ["stylebench export run=outputs/fast_transfer/2026-11-20_10-00-00 output=exported/"],
    "profile": [
        "stylebench profile dataset=procstyle dataset.store.size_px=64",
        "stylebench profile dataset=procstyle encoder=vgg16_raw encoder.weights=random compile=true",
    ],
    "prepare": [
        "stylebench prepare dataset=monet2photo",
        "stylebench prepare dataset.content=photos/ dataset.style=painting.jpg",
        "stylebench prepare encoder=inception   # the network that makes an FID, 96 MB, once",
    ],
    "evaluate": [
        "stylebench evaluate run=outputs/fast_transfer/2026-11-20_10-00-00",
        "stylebench evaluate generated=theirs/ reference=paintings/ content=photos/ style=painting.jpg",
    ],
    "new": [
        "stylebench new method my_method",
        "stylebench new method my_method like=adversarial package=my_package",
    ],
    "list": ["stylebench list models", "stylebench list controls run=outputs/fast_transfer/2026-11-20_10-00-00"],
}
KINDS = {
    "models": "model", "generators": "model/generator", "style_losses": "model/style_loss",
    "minimizers": "model/minimizer", "networks": "model/network", "schedules": "model/schedule",
    "adaptations": "adaptation", "datasets": "dataset", "encoders": "encoder",
    "trainers": "trainer", "loggers": "logger", "metrics": "metrics", "experiments": "experiment", "debug": "debug",
}  # fmt: skip
LISTED_KINDS = [*KINDS, "controls"]


def examples(command: str) -> list[str]:
    """Return command lines that show a command: the general ones, then those that models give in their configs."""
    own = re.findall(rf"^# example: (stylebench {command} .*)$", "\n".join(options("model").values()), re.MULTILINE)
    return [*EXAMPLES[command], *own]


def general_help() -> str:
    """Return what stylebench is for and what its commands do."""
    lines = [
        "stylebench: train, sweep, benchmark and reproduce style transfer",
        "",
        "usage: stylebench <command> [key=value ...]",
        "",
    ]
    lines += [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    lines += ["", "stylebench <command> --help   the command's keys, with their meaning and defaults"]
    lines += [
        'eval "$(stylebench -sc install=bash)"   completion in this shell (also install=zsh, install=fish)',
        "",
        "examples:",
    ]
    return "\n".join(lines + [f"  {EXAMPLES[name][0]}" for name in ("train", "stylize", "profile")])


def command_help(command: str) -> str:
    """Return a command's purpose, examples, groups and keys: the commented config file itself."""
    lines = [
        f"stylebench {command}: {COMMANDS[command]}",
        "",
        "examples:",
        *(f"  {line}" for line in examples(command)),
    ]
    if command == "list":
        return "\n".join(lines)
    text = (conf_folder() / f"{command}.yaml").read_text()
    source = (conf_folder() / "train.yaml").read_text() if command == "profile" else text
    chosen = re.findall(r"^  - (\w+): (\w+)", source, flags=re.MULTILINE)
    if chosen:
        lines += ["", "groups (choose with group=option; keys with group.key=value):"]
        lines += [f"  {group:<10} {', '.join(options(group))} (default {option})" for group, option in chosen]
    lines += ["", "keys and defaults:"]
    shown = re.split(r"^hydra:", text, flags=re.MULTILINE)[0]
    lines += [f"  {line}" for line in shown.splitlines()[1:] if line and not re.match(r"(defaults:|  - )", line)]
    lines += ["", f"everything, composed: stylebench {command} ... --cfg job" if command == "train" else ""]
    return "\n".join(lines).rstrip()
