"""What an explanation amounts to, in sentences, and the paragraph a methods section needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from talaria_training.classify.tables import DOUBTFUL_P, NEAR
from talaria_training.classify.worth import RESAMPLES
from talaria_training.explain.wording import listed, percent

Document = Mapping[str, Any]

MODEL_NAMES = {
    "svm": "linear support vector machine",
    "logistic": "logistic regression",
    "mlp": "multilayer perceptron",
    "mlp-3x256": "multilayer perceptron of three hidden layers of 256 units",
    "cnn-a": "convolutional network of one layer (CNN-A)",
    "cnn-c3": "convolutional network of three layers (CNN-C3)",
    "small": "small residual convolutional network",
}
_SPLITS = {
    "trial": (
        "any strides, so strides of the same person, even neighbours, were learned from and judged",
        "Strides were dealt at random into {folds} parts, each judged by a model of the others; strides of "
        "one person are on both sides",
    ),
    "first-last": (
        "the last 30 % of recordings whose first 70 % were learned from: the same session, so this says "
        "nothing about another day or newly mounted sensors",
        "The first 70 % in time of every recording were learned from and the last 30 % judged (same session)",
    ),
    "across-sessions": (
        "sessions of which nothing was learned",
        "Every session was judged by a model of the other sessions",
    ),
    "person": (
        "people of whom nothing was learned",
        "Cross-validation over {folds} groups of people; all strides of a person were on one side",
    ),
}
_RULES = {
    "zero": "the 0-rule everywhere",
    "epsilon": "the epsilon rule (1e-5) everywhere",
    "horst": "the epsilon rule (1e-5) for fully connected and alpha 2, beta 1 for convolutional layers",
    "composite": "the epsilon rule (1e-5) for fully connected and gamma 0.25 for convolutional layers",
    "composite-flat": "the epsilon rule (1e-5) for fully connected and gamma 0.25 for convolutional layers, "
    "the first layer flat",
    "z-plus": "the z+ rule (alpha 1, beta 0) everywhere",
}
_MOST_NAMED = 6


def decision(d: Document) -> tuple[str, bool]:
    """Say in a sentence how well classes are told apart, and whether that is more than chance."""
    about, result = d["about"], d["result"]
    balanced, classes = result["balanced"], len(result["classes"])
    who = f"{classes} people" if about["is_identity"] else _told_apart(result["classes"])
    is_shown = balanced["low"] > 1.0 / classes and (
        result["p"] is None or result["p"] <= DOUBTFUL_P
    )
    said = (
        f"The {MODEL_NAMES[about['model']]} tells {who} apart in {percent(balanced['value'])} of strides "
        f"(every class weighing the same; 95 % interval {percent(balanced['low'])} to "
        f"{percent(balanced['high'])}; guessing {percent(1.0 / classes)}; {_p(d)})."
    )
    if not is_shown:
        said += (
            " That is not shown to be more than chance: the relevance below tells what the model went by, "
            "not how the groups differ."
        )
    return said, is_shown


def _p(d: Document) -> str:
    p, times = d["result"]["p"], len(d["result"]["permuted"])
    if p is None:
        return "no p, as labels were not dealt anew"
    how = "the people's names swapped" if d["about"]["is_identity"] else "labels dealt anew"
    return f"p = {p:.3g} by {how} {times} times"


def judged_on(d: Document) -> str:
    """Say what the split means."""
    result = d["result"]
    return (
        f"Judged on {result['strides']} strides of {result['people']} people: "
        f"{_SPLITS[d['about']['split']][0]}."
    )


def trial_wise(d: Document) -> str:
    """Set the figure for people held out beside the published way of splitting; empty if not asked."""
    other = d["trial_wise"]
    if other is None:
        return ""
    fair, easy = d["result"]["balanced"]["value"], other["balanced"]["value"]
    said = (
        f"Split by single strides, the published way, it would be {percent(easy)} "
        f"({percent(other['balanced']['low'])} to {percent(other['balanced']['high'])})"
    )
    if easy - fair < NEAR:
        return f"{said}: much the same."
    return f"{said}: what it gains there it gains by recognising the people."


def where(d: Document) -> str:
    """Say which joints, channel and phase have more of the relevance than their number would give them."""
    by = d["summary"]["by"]["positive"]
    joints = sorted(by["joints"], key=_beyond_even, reverse=True)[:3]
    channel = max(by["channels"], key=_beyond_even)
    phase = max(by["phases"], key=_beyond_even)
    return (
        "Of the relevance for the true class, "
        + ", ".join(f"{_share(joint)} lies at {joint['name']}" for joint in joints)
        + f"; among channels {channel['name']} stands out most with {_share(channel)}, and of the two phases "
        f"{phase['name']} with {_share(phase)}."
    )


def _beyond_even(share: Mapping[str, Any]) -> float:
    return float(share["percent"] / share["even"])


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['percent']:.1f} % ({share['low']:.1f} to {share['high']:.1f}; {share['even']:.0f} if even)"


def faithful(d: Document) -> tuple[str, bool]:
    """Say whether the accuracy falls faster by relevance than at random, and whether that is shown."""
    found = d["perturbation"]["accuracy"]
    below = found["most"]["below_random"]
    areas = (
        f"area under the curve {found['most']['area']['value']:.3f} against "
        f"{found['random']['area']['value']:.3f}, {below['value']:+.3f} below random's (95 % interval "
        f"{below['low']:+.3f} to {below['high']:+.3f} over people)"
    )
    if below["low"] > 0.0:
        return (
            f"The explanation is faithful: to replace the most relevant points first costs more accuracy "
            f"than to replace as many at random ({areas}).",
            True,
        )
    if below["high"] < 0.0:
        return (
            f"The explanation is not faithful: to replace the most relevant points first costs less "
            f"accuracy than to replace as many at random ({areas}).",
            False,
        )
    return (
        f"The explanation is not shown to be faithful: by accuracy, the most relevant points matter no more "
        f"than points at random ({areas}).",
        False,
    )


def stable(d: Document) -> str:
    """Say how alike the relevance is from seed to seed; empty if one was asked."""
    seeds = d["seeds"]
    if seeds is None:
        return ""
    if seeds["same"]:
        return (
            f"{seeds['networks']} seeds gave one and the same relevance: neither this model nor this split "
            "depends on the seed."
        )
    return (
        f"Over {seeds['networks']} seeds (of the split and of the model's first weights), relevance over "
        f"channel and time ranks alike with a Spearman correlation of {seeds['rank_mean']:.2f} on average "
        f"and {seeds['rank_least']:.2f} at least."
    )


def methods(d: Document) -> str:
    """Write what a methods section needs."""
    about, result = d["about"], d["result"]
    channels = ", ".join(channel["name"] for channel in about["channels"])
    n = len(about["channels"])
    return " ".join(
        [
            f"{about['source']} {about['strides']} {about['cycle']}s of {about['people']} people in "
            f"{about['sessions']} session{'s' if about['sessions'] > 1 else ''}, {n} channels "
            f"({channels}), time-normalised to {about['points']} points.",
            f"Task: {about['task']}, {len(about['classes'])} classes"
            f"{about['where'] and ', strides with ' + about['where']}.",
            f"{_SPLITS[about['split']][1].format(folds=len(d['folds']))} ({_folds(d)}).",
            f"Channels were standardised by mean curve and spread of the training strides. Model: "
            f"{MODEL_NAMES[about['model']]}, classes weighted alike; settings were chosen by splitting "
            f"the training strides once more{_rule(result)}: {_settings(result)}.",
            f"Accuracy is the mean over classes of the share of strides answered right; its 95 % interval "
            f"resamples {result['resampled']} {RESAMPLES} times{_permuted(d)}",
            f"Relevance: layer-wise relevance propagation from the true class's score before softmax, "
            f"{_rules(about)}; every judged stride was explained by the model that had not "
            "learned from it. Shares are of positive relevance, strides weighing the same within a person "
            f"and people within the whole; their 95 % intervals resample people {RESAMPLES} times.",
            f"Faithfulness: blocks of {d['perturbation']['block_points']} points of a channel were replaced "
            f"by the training mean, up to {percent(d['perturbation']['fraction'][-1])} of all, on "
            f"{d['perturbation']['strides']} strides; areas are means over people.",
            f"Seed {about['seed']}{_seeds(about)}. Software: {_software(d)}.",
        ]
    )


def _rules(about: Mapping[str, Any]) -> str:
    if about["is_linear"] and about["rules"] in {"epsilon", "horst", "composite"}:
        return "the epsilon rule (1e-5), which gives each point of a linear model its own term of the score"
    return _RULES[about["rules"]]


def _folds(d: Document) -> str:
    sizes = [fold["learned"] for fold in d["folds"]]
    judged = [fold["judged"] for fold in d["folds"]]
    return f"{_span(sizes)} strides learned from, {_span(judged)} judged per fold"


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _rule(result: Mapping[str, Any]) -> str:
    if any(settings["chosen_by"] != "person" for settings in result["settings"]):
        return ""
    return " by people, the most regularised of those within one standard error of the best"


def _settings(result: Mapping[str, Any]) -> str:
    """List every setting with the values it took over the folds."""
    found: dict[str, list[Any]] = {}
    for settings in result["settings"]:
        for name, value in settings.items():
            found.setdefault("chosen by split" if name == "chosen_by" else name, []).append(value)
    said = []
    for name, values in found.items():
        if name == "epochs":
            said.append(f"epochs {_span(values)}")
        else:
            different = dict.fromkeys(str(value) for value in values)
            said.append(f"{name} {', '.join(different)}")
    return "; ".join(said)


def _permuted(d: Document) -> str:
    result = d["result"]
    if result["p"] is None:
        return "."
    if d["about"]["is_identity"]:
        return f", and p is from the people's names swapped {len(result['permuted'])} times."
    return (
        f", and p is from labels dealt anew to people {len(result['permuted'])} times, everything "
        "learned again."
    )


def _seeds(about: Mapping[str, Any]) -> str:
    if about["seeds"] < 2:
        return ""
    return f", for stability seeds {about['seed']} to {about['seed'] + about['seeds'] - 1}"


def _software(d: Document) -> str:
    return ", ".join(f"{name} {number}" for name, number in d["versions"].items())


def _told_apart(names: list[str]) -> str:
    return f"{len(names)} groups" if len(names) > _MOST_NAMED else listed(names)
