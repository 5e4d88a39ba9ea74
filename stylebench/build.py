"""Objects from config nodes: data, method and evaluator, each by the classes that the config names."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stylebench.adaptation.domains import adapted_domains
from stylebench.checks import UsageError
from stylebench.construct import construct, locate
from stylebench.data.datamodule import DomainData
from stylebench.data.opened import Opened
from stylebench.data.plan import Plan
from stylebench.data.serving import check_serves
from stylebench.data.world import HIDDEN
from stylebench.files import cache_dir
from stylebench.inference.loading import load_translator
from stylebench.inference.translators.base import OptimizingTranslator, Translator
from stylebench.methods.base import Method
from stylebench.methods.checks import refuse_judges
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator, Metric
from stylebench.metrics.extractors import Extractor
from stylebench.metrics.weights import MissingWeightsError

log = logging.getLogger(__name__)
Config = dict[str, Any]


def build(node: Any, path: str = "config", *, owners: Mapping[str, Any] | None = None, **extra: Any) -> Any:
    """Build the object that a node of one's own config describes; see `construct` for the arguments and errors."""
    return construct(node, path, listed=None, owners=owners, extra=extra)


def owners(config: Config) -> dict[str, Any]:
    """Return the nodes that others follow, by the paths at which their keys are set."""
    parts = {f"model.{name}": node for name, node in _followed(config["model"]).items() if isinstance(node, Mapping)}
    return {
        path: node
        for path, node in {**{key: config.get(key) for key in ("encoder", "adaptation")}, **parts}.items()
        if node is not None
    }


def method_node(model: Mapping[str, Any]) -> Config:
    """Return a `model` node without what stands there for its other keys to follow, as its inference does."""
    followed = _followed(model)
    kept = {key: value for key, value in model.items() if key not in followed}
    # What is used after training draws its weights first, wherever it stands: a seed gives the weights it always gave.
    return {**{key: kept[key] for key in ("_target_", "inference") if key in kept}, **kept}


def _followed(model: Mapping[str, Any]) -> Config:
    """Return the keys of a `model` node that are none of the method's: its networks, and settings of its inference."""
    taken = inspect.signature(locate(model["_target_"], "model")).parameters
    inference = model.get("inference") or {}
    return {
        key: value
        for key, value in model.items()
        if key not in taken
        and key != "_target_"
        and (key in inference or (isinstance(value, Mapping) and "_target_" in value))
    }


def completed(config: Config, opened: Opened) -> Config:
    """Return a config with what the data alone know of the method, such as the names of classes."""
    return {**config, "model": method_class(config).completed(config["model"], opened.task)}


def open_data(config: Config) -> Opened:
    """Open, once a command, the domains that the method's task names, and set the task up."""
    settings, method = config["dataset"], method_class(config)
    check_serves(settings, method.task)
    try:
        store = build(settings["store"], "dataset.store")
        change = partial(adapted_domains, store=store, settings=settings, seed=config["seed"])
        opened = Opened.of(store, settings, method.task, seed=config["seed"], draws=method.draws, change=change)
    except FileNotFoundError as error:
        if settings["release"] is None:
            raise
        raise FileNotFoundError(
            f"{error}. If the data set is not here yet: stylebench prepare dataset={settings['release']['name']}"
        ) from error
    opened.task.check_trainable()
    hidden = [domain.path for domain in opened.domains.values() if domain.name.startswith(HIDDEN)]
    if hidden:
        log.warning(
            "%s: hidden styles are for tests; a model that trained on one says nothing there", ", ".join(hidden)
        )
    return opened


def build_data(config: Config, opened: Opened) -> DomainData:
    """Set up the stream of batches of an opened data set."""
    budget = config["budget"]
    return DomainData(
        opened.task,
        num_workers=config["dataset"]["num_workers"],
        evaluate_every=budget["evaluate_every"],
        batches=budget["batches"],
        validation_images=budget["validation_images"],
    )


def build_method(config: Config, data: DomainData) -> Method:
    """Build the method, show it the data, and apply the switches of the config."""
    method: Method = build(method_node(config["model"]), "model", owners=owners(config))
    refuse_judges(method)
    method.seed = data.task.seed
    method.prepare(data.task)
    data.position = lambda: method.batches_done
    if config["channels_last"]:
        method.to(memory_format=torch.channels_last)
    if config["compile"]:
        for name in method.compiled_networks:
            method.get_submodule(name).compile()
    return method


def build_translator(config: Config, device: str | torch.device) -> Translator:
    """Return the trained model that `run` names, or without one the translator of `model`, which must need no training.

    Raises:
        UsageError: if it has to be trained first.
        ValueError: if it would compare with features that only judge, or a setting cannot work.
    """
    if config["run"] is not None:
        return load_translator(config["run"], weights=config["weights"], device=device)
    translator: Translator = build(config["model"]["inference"], "model.inference", owners=owners(config))
    if not isinstance(translator, OptimizingTranslator):
        raise UsageError(
            "this model has to be trained first: name a run of it by run=<run folder>, or use model=gatys, which needs "
            "none"
        )
    refuse_judges(translator)
    return translator.to(device).eval()


def method_class(config: Config) -> type[Method]:
    """Return the class that `model._target_` names, without building it: its task says which domains to open."""
    target: type[Method] = locate(config["model"]["_target_"], "model")
    return target


def build_evaluator(
    config: Mapping[str, Any], train_encoder: str | None = None, images: int | None = None
) -> Evaluator:
    """Build the extractors and metrics of a `metrics` node.

    One whose weights are not on this machine stands as not applicable in the record, unless `required` names it.

    Args:
        config: the resolved node.
        train_encoder: record name of the encoder that trained the method.
        images: of the larger set; None for `num_images`.

    Raises:
        MissingWeightsError: if a required metric lacks its weights.
        ValueError: if a setting cannot work.
    """
    unknown = sorted({*config["required"], *config["hidden"]} - set(config["items"]))
    if unknown:
        raise ValueError(
            f"metrics.required and metrics.hidden name {', '.join(unknown)}; metrics.items has "
            f"{', '.join(config['items']) or 'none'}"
        )
    needed = {config["items"][name].get("extractor") for name in config["required"]}
    extractors: dict[str, Extractor | MissingWeightsError] = {
        name: _or_missing(node, f"metrics.extractors.{name}", name in needed)
        for name, node in config["extractors"].items()
    }
    items: dict[str, Metric | MissingWeightsError] = {
        name: _or_missing(node, f"metrics.items.{name}", name in config["required"])
        for name, node in config["items"].items()
    }
    return Evaluator(
        extractors,
        items,
        train_encoder=train_encoder,
        allow_same_encoder=config["allow_same_encoder"],
        expected=config["num_images"] if images is None else images,
        hidden=config["hidden"],
        required=config["required"],
    )


def measured_plans(config: Mapping[str, Any], plans: Sequence[Plan]) -> list[Plan]:
    """Return plans for as many images and exact answers as a `metrics` node says."""
    return [plan.limited(config["num_images"], scenes=config["scenes"], draws=config["truth_draws"]) for plan in plans]


def reference_cache(config: Mapping[str, Any]) -> ReferenceCache:
    """Return where a `metrics` node has features of references kept."""
    return ReferenceCache(Path(config["cache"]) if config["cache"] else cache_dir() / "features")


def _or_missing(node: Mapping[str, Any], path: str, required: bool) -> Any:
    try:
        return build(node, path)
    except MissingWeightsError as error:
        if required:
            raise
        return MissingWeightsError(str(error).removeprefix(f"{path}: "))  # as the record says it, beside the name
