"""The one table of names that are others now than in the frozen commit; whoever renames one adds a line here.

Each table has a dictionary for every method that it concerns, and `"*"` for all; the longest name that fits is taken.
"""

Table = dict[str, dict[str, str]]

# Config keys and groups as they are typed: {"*": {"encoder.adain_layer": "encoder.exchange_layer"}}.
KEYS: Table = {
    "*": {
        "model.translator": "model",
        "model.translator.generator_ab": "model.generator",
        "model.network": "model.generator",
        "model/network": "model/generator",
        "model.optimizer": "model.optimizers.generator",
        "encoder.adain_layer": "encoder.exchange_layer",
    },
    "adain": {"model.optimizer": "model.optimizers.decoder"},
    "cyclegan": {"model.discriminator_a": "model.discriminator"},
}
# Names in a checkpoint, joined by dots: {"*": {"state_dict.translator": "state_dict.model"}}.
CHECKPOINT: Table = {
    "*": {
        "state_dict.translator": "state_dict.model",
        "stylebench.ema.networks.translator": "stylebench.ema.networks.model",
    }
}
# Columns of metrics.csv, which are names of final values, too.
COLUMNS: Table = {}
# Names in record.json and in the values of an evaluation, joined by dots.
VALUES: Table = {}
# What such names end with: {"stargan": {"controls.target": "controls.domain"}}.
ENDINGS: Table = {
    "*": {"encoder.adain_layer": "encoder.exchange_layer"},
    "stargan": {"controls.target": "controls.domain"},
}

# Names that only one side has, or that differ on purpose: what describes the program, not what it computed.
LEFT_OUT = (
    "checkpoint.pytorch-lightning_version",
    "checkpoint.stylebench.config",   # other keys, the same values: the fingerprint is tested with the kept runs
    "checkpoint.stylebench.format",
    "checkpoint.stylebench.record",   # record.json has the same
    "checkpoint.stylebench.version",
)  # fmt: skip


def translate(name: str, table: Table, method: str, separator: str = ".") -> str:
    """Return the present name of `name`: its longest part up to a separator that the table has is replaced."""
    known = {**table.get("*", {}), **table.get(method, {})}
    fitting = [old for old in known if name == old or name.startswith(old + separator)]
    if not fitting:
        return name
    longest = max(fitting, key=len)
    return known[longest] + name[len(longest) :]


def translate_value(name: str, method: str) -> str:
    """Return the present name of a value, by what it begins with and by what it ends with."""
    name = translate(name, VALUES, method)
    for old, new in {**ENDINGS.get("*", {}), **ENDINGS.get(method, {})}.items():
        if name == old or name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name


def translate_command(words: list[str], method: str) -> list[str]:
    """Return a command line of the frozen commit as the current code wants it."""
    return [_translate_override(word, method) if "=" in word else word for word in words]


def _translate_override(word: str, method: str) -> str:
    key, _, value = word.partition("=")
    return f"{translate(key, KEYS, method)}={value}"


def is_left_out(name: str) -> bool:
    """Tell whether a name, or what it is a part of, is not compared."""
    return any(name == left or name.startswith(f"{left}.") for left in LEFT_OUT)
