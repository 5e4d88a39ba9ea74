"""Names of earlier versions, and the one place that translates what was recorded under them.

Run folders, checkpoints and exports name classes, config keys and networks as the version did that wrote them. Whoever
reads such a file translates it first, before anything in it is looked up, compared or built.
"""

from collections.abc import Mapping
from typing import Any

from stylebench.run_folder import CHECKPOINT_KEY
from stylebench.trusted import DEPTH_LIMIT

# Earlier dotted path -> present one. A path that a file may hold is never taken out again.
MOVED_CLASSES: dict[str, str] = {
    "stylebench.data.arrange.AttributeLists": "stylebench.data.releases.arrange.AttributeLists",
    "stylebench.data.arrange.Links": "stylebench.data.releases.arrange.Links",
    "stylebench.data.filterstyle.world.FilterStyle": "stylebench.worlds.filterstyle.world.FilterStyle",
    "stylebench.data.procstyle.world.ProcStyle": "stylebench.worlds.procstyle.world.ProcStyle",
    "stylebench.data.release.Release": "stylebench.data.releases.release.Release",
    "stylebench.methods.texture_synthesis.TextureSynthesis": "stylebench.methods.gatys.Gatys",
    "stylebench.metrics.extractors.EncoderFeatures": "stylebench.metrics.extractors.encoder_features.EncoderFeatures",
    "stylebench.metrics.extractors.Inception": "stylebench.metrics.extractors.inception.Inception",
    "stylebench.metrics.extractors.RandomMultiScale": "stylebench.metrics.extractors.random_network.RandomMultiScale",
    "stylebench.nn.adain.AdaINTranslator": "stylebench.inference.translators.adain.AdaINTranslator",
    "stylebench.nn.encoders.CompactEncoder": "stylebench.nn.encoders.compact.CompactEncoder",
    "stylebench.nn.encoders.JudgeEncoder": "stylebench.nn.encoders.judge.JudgeEncoder",
    "stylebench.nn.encoders.SqueezeNetEncoder": "stylebench.nn.encoders.squeezenet.SqueezeNetEncoder",
    "stylebench.nn.encoders.VGGEncoder": "stylebench.nn.encoders.vgg.VGGEncoder",
    "stylebench.nn.gatys.GatysTranslator": "stylebench.inference.translators.gatys.GatysTranslator",
    "stylebench.nn.gatys.TextureTranslator": "stylebench.inference.translators.gatys.TextureTranslator",
    "stylebench.nn.johnson.JohnsonModern": "stylebench.nn.generators.johnson.JohnsonModern",
    "stylebench.nn.johnson.JohnsonPaper": "stylebench.nn.generators.johnson.JohnsonPaper",
    "stylebench.nn.patch_discriminator.PatchDiscriminator": "stylebench.nn.discriminators.patch.PatchDiscriminator",
    "stylebench.nn.resnet_generator.ResNetGenerator": "stylebench.nn.generators.resnet.ResNetGenerator",
    "stylebench.nn.stargan.StarGANDiscriminator": "stylebench.nn.discriminators.stargan.StarGANDiscriminator",
    "stylebench.nn.stargan.StarGANGenerator": "stylebench.nn.generators.stargan.StarGANGenerator",
    "stylebench.nn.style_losses.BatchStatistics": "stylebench.optimization.style_losses.BatchStatistics",
    "stylebench.nn.style_losses.Blend": "stylebench.optimization.style_losses.Blend",
    "stylebench.nn.style_losses.GaussianMMD": "stylebench.optimization.style_losses.GaussianMMD",
    "stylebench.nn.style_losses.GaussianWasserstein": "stylebench.optimization.style_losses.GaussianWasserstein",
    "stylebench.nn.style_losses.GramStyle": "stylebench.optimization.style_losses.GramStyle",
    "stylebench.nn.style_losses.LinearMMD": "stylebench.optimization.style_losses.LinearMMD",
    "stylebench.nn.style_losses.PolynomialMMD": "stylebench.optimization.style_losses.PolynomialMMD",
    "stylebench.nn.super_resolution.SuperResolutionNet": (
        "stylebench.nn.generators.super_resolution.SuperResolutionNet"
    ),
    "stylebench.nn.super_resolution.SuperResolutionTranslator": (
        "stylebench.inference.translators.super_resolution.SuperResolutionTranslator"
    ),
    "stylebench.nn.translation.MultiDomainTranslator": (
        "stylebench.inference.translators.multi_domain.MultiDomainTranslator"
    ),
    "stylebench.nn.translation.PairedTranslator": "stylebench.inference.translators.paired.PairedTranslator",
    "stylebench.nn.translation.UnpairedTranslator": "stylebench.inference.translators.unpaired.UnpairedTranslator",
    "stylebench.nn.translators.ImageToImage": "stylebench.inference.translators.image_to_image.ImageToImage",
    "stylebench.nn.unet.UNetGenerator": "stylebench.nn.generators.unet.UNetGenerator",
}

_OPTIMIZED = (
    "content_layers", "style_layers", "layer_weights", "weight_content", "weight_style", "weight_tv", "calibrate",
    "content_norm", "tv_convention", "init", "seed", "evaluations", "evaluations_per_scale", "smallest_px", "bounds",
    "match_histogram", "style_fit", "tile_px",
)  # fmt: skip

# Earlier argument of a class -> present one, wherever a node with a `_target_` has it.
ARGUMENTS = {
    "adain_layer": "exchange_layer",
    "licence": "license",
    "licence_click": "license_click",
    "licence_accepted": "license_accepted",
}

# Earlier control of a model -> present one.
CONTROLS = {"target": "domain"}

# Earlier config key or group -> present one, with all that stands below it: of every model ("*"), or of one.
KEYS: dict[str, dict[str, str]] = {
    "*": {
        "model.translator": "model.inference",
        "model.translator.generator": "model.generator",
        "model.translator.generator_ab": "model.generator",
        "model.translator.generator_ba": "model.generator_ba",
        "model.translator.eval_mode": "model.eval_mode",
        "model.translator.labels": "model.labels",
        "model.translator.transfer": "model.transfer",
        "model.translator.norm": "model.norm",
        "model.translator.style_loss": "model.style_loss",
        "model.translator.minimizer": "model.minimizer",
        **{f"model.translator.{key}": f"model.{key}" for key in _OPTIMIZED},
        "model.optimizer": "model.optimizers.generator",
        "model.lr_decay": "model.schedule.decay",
        "encoder.adain_layer": "encoder.exchange_layer",
        "dataset.release.licence": "dataset.release.license",
        "dataset.release.licence_click": "dataset.release.license_click",
        "dataset.release.licence_accepted": "dataset.release.license_accepted",
        "objective": "optimized_metric",
        "report": "panel",
    },
    "adain": {"model.optimizer": "model.optimizers.decoder"},
    "cyclegan": {"model.discriminator_a": "model.discriminator"},
    # Of these two alone: a classifier has a network now, and so may anybody's model.
    "fast_transfer": {"model.network": "model.generator", "model/network": "model/generator"},
    "super_resolution": {"model.network": "model.generator", "model/network": "model/generator"},
}

# Earlier key -> present one, on the command line alone: in a config both are written out.
TYPED = {"model.encoder": "encoder", "model.translator.encoder": "encoder"}

# Present keys that an earlier version had no key for: a learning rate that stayed, or a class that was fixed.
_ADDED: dict[str, dict[str, Any]] = {
    "adain": {"model.schedule._target_": "stylebench.functional.schedules.InverseDecay"},
    "fast_transfer": {"model.schedule": {"_target_": "stylebench.functional.schedules.Constant"}},
    "super_resolution": {"model.schedule": {"_target_": "stylebench.functional.schedules.Constant"}},
}

# Present key -> the one that it follows where nothing else is given, of a model whose earlier version had one for both.
_FOLLOWING = {
    "cyclegan": {"model.generator_ab": "model.generator", "model.discriminator_a": "model.discriminator"},
}

# What every run was before it could be said.
_NO_ADAPTATION = {"_target_": "stylebench.adaptation.none.NoAdaptation"}
_LATER_DATASET = {"protocol": "split", "stylize": None}

_MISSING = object()
_FIRST_FORMAT = 1  # of checkpoints and exports: what is used after training was the attribute `translator`
_FIRST_NETWORK, _NETWORK = "translator", "model"


def updated_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's recorded config as this version would have written it; it is no more trusted than before."""
    current: dict[str, Any] = updated(config)
    groups = _nested(current, "model", "translator", "labels", "groups")
    dataset = current.get("dataset")
    if isinstance(groups, Mapping) and isinstance(dataset, Mapping) and "groups" not in dataset:
        current["dataset"] = {**dataset, "groups": groups}  # earlier, evaluation took them from the model
    dataset = current.get("dataset")
    if isinstance(dataset, Mapping) and "trainer" in current:
        later = _LATER_DATASET if "adaptation" in (dataset.get("tasks") or ()) else {}
        current["dataset"] = {**later, **dataset}
        current.setdefault("adaptation", dict(_NO_ADAPTATION))
    return _with_present_keys(current, _model_name(config)) if _is_of_first_keys(config) else current


def present_key(key: str, model: str = "") -> str:
    """Return the present name of a config key or group; of one that was not renamed its own.

    Args:
        key: as typed, without signs: `model.translator.init`.
        model: name of the model, for keys that became others in one than in another.
    """
    known = {**KEYS["*"], **KEYS.get(model, {}), **TYPED}
    fitting = [old for old in known if key == old or key.startswith(f"{old}.")]
    if not fitting:
        return key
    longest = max(fitting, key=len)
    return f"{known[longest]}{key[len(longest) :]}"


def updated_override(override: str, model: str) -> str:
    """Return a recorded override, `+model.x=3`, as it is typed for this version; see `present_key`."""
    plain = override.lstrip("+~")
    key, equals, value = plain.partition("=")
    return f"{override[: len(override) - len(plain)]}{present_key(key, model)}{equals}{value}"


def updated_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of training as this version would have written it: config, weights and moving averages."""
    entry = checkpoint[CHECKPOINT_KEY]
    current = {**entry, "config": updated_config(entry["config"])}
    if entry.get("format") != _FIRST_FORMAT:
        return {**checkpoint, CHECKPOINT_KEY: current}
    averages = entry.get("ema")
    if isinstance(averages, Mapping) and isinstance(averages.get("networks"), Mapping):
        networks = {_present_network(name): state for name, state in averages["networks"].items()}
        current["ema"] = {**averages, "networks": networks}
    state = {_present_network(name): value for name, value in checkpoint["state_dict"].items()}
    return {**checkpoint, CHECKPOINT_KEY: current, "state_dict": state}


def updated_export(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an export as this version would have written it."""
    current = dict(facts)
    if facts.get("format") == _FIRST_FORMAT and _FIRST_NETWORK in facts:
        current[_NETWORK] = current.pop(_FIRST_NETWORK)
    return {**current, _NETWORK: updated(current.get(_NETWORK))}


def updated(node: Any, depth: int = 0) -> Any:
    """Return a recorded config with the present paths of the classes that it names, and of their arguments.

    Args:
        node: nested mappings, sequences and plain values, as read from a file; it is left as it is.
        depth: of this node in the config.

    Returns:
        The config, unchanged but for `_target_`s of moved classes and renamed arguments. It is no more trusted than
        before; what is nested deeper than a config may be stays as it is.
    """
    if depth > DEPTH_LIMIT:
        return node
    if isinstance(node, Mapping):
        renamed = ARGUMENTS if "_target_" in node else {}
        return {
            renamed.get(key, key): _present_path(value) if key == "_target_" else updated(value, depth + 1)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [updated(value, depth + 1) for value in node]
    return node


def _present_path(target: Any) -> Any:
    return MOVED_CLASSES.get(target, target) if isinstance(target, str) else target


def _present_network(name: str) -> str:
    """Return the present name of a network or of a tensor in it: `translator.generator.x` is `model.generator.x`."""
    first, dot, rest = name.partition(".")
    return f"{_NETWORK}{dot}{rest}" if first == _FIRST_NETWORK else name


def _model_name(config: Mapping[str, Any]) -> str:
    """Return the name of the model in a recorded config, which is that of its method's module; empty if it has none."""
    target = _nested(config, "model", "_target_")
    return target.rpartition(".")[0].rpartition(".")[2] if isinstance(target, str) else ""


def _is_of_first_keys(config: Mapping[str, Any]) -> bool:
    """Tell whether a recorded config has the keys of version 0.1.0, whose every model had a `translator`."""
    return _nested(config, "model", "translator") is not None


def _with_present_keys(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a config with the values of earlier keys at the present ones."""
    current = config
    for old, new in {**KEYS["*"], **KEYS.get(model, {})}.items():
        value = _nested(config, *old.split("."), missing=_MISSING)
        if value is not _MISSING:
            current = _placed(_without(current, old.split(".")), new.split("."), value)
    for following, followed in _FOLLOWING.get(model, {}).items():
        current = _placed(current, following.split("."), _nested(current, *followed.split(".")))
    for new, value in _ADDED.get(model, {}).items():
        current = _placed(current, new.split("."), value)
    return current


def _nested(node: Any, *keys: str, missing: Any = None) -> Any:
    """Return the value at the end of a path of keys, `missing` where there is none."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return missing
        node = node[key]
    return node


def _placed(node: Any, keys: list[str], value: Any) -> dict[str, Any]:
    """Return nested mappings with a value at the end of a path of keys."""
    inner = dict(node) if isinstance(node, Mapping) else {}
    first, *rest = keys
    return {**inner, first: _placed(inner.get(first), rest, value) if rest else value}


def _without(node: Any, keys: list[str]) -> Any:
    """Return nested mappings without what stands at the end of a path of keys."""
    if not isinstance(node, Mapping) or keys[0] not in node:
        return node
    first, *rest = keys
    if rest:
        return {**node, first: _without(node[first], rest)}
    return {key: value for key, value in node.items() if key != first}
