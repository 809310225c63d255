from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from synthetic import SIZES, Gain, gain_by_size, labelled, make_results, with_recipes, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.answer import Answer, ranged, signed
from xstilts.analysis.results import STAGES_SCHEMA, Results
from xstilts.planning.study import EncoderEntry

GOLDEN = Path(__file__).parent / "golden" / "answer.txt"


def of(results: Results) -> Answer:
    return analyse(results).answer


def test_golden_text():
    def gain(encoder: str, recipe: str, target: str) -> float:
        return -9.0 if recipe == "mini-mnli" and target == "mini-nli" else gain_by_size(20.0)(encoder, recipe, target)

    encoders = {**SIZES, "bundled/e5-small@6 random": SIZES["bundled/e5-small@6"]}
    results = make_results(
        gain, encoders=encoders, failures=["train mini-squad+mlm seed 3: loss is not a number at step 40"]
    )
    assert of(results).text() + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_what_helps_is_named_with_its_size_and_interval_span_targets_first():
    targets = {"mini-nli": "classification", "mini-qa": "span"}
    found = of(make_results(gain_by_size(20.0), targets=targets))
    assert found.best[0].startswith("mini-qa: mini-squad helps most, +")
    assert "bundled/e5-small@12 (21.3M parameters without embeddings)" in found.best[0]
    assert "95 % interval +" in found.best[0] and "10 languages without training data (ar, de, " in found.best[0]
    assert found.best[1].startswith("mini-nli: ")


def upper(encoder: str, recipe: str, target: str) -> float:
    return 30.0 if recipe == "few" else gain_by_size(20.0)(encoder, recipe, target)


def test_labelled_data_of_other_languages_change_nothing_that_is_said_of_zero_shot_and_are_told_apart():
    """Their recipe gains most by far: unmarked it is what helps most, is chosen on dev, and has a part in size."""
    results = make_results(upper, recipes=["none", "mini-squad", "mini-mnli", "few"])
    alone = analyse(without(results, recipe="few"))
    marked, mixed = analyse(labelled(results, "few", "ar+de")), analyse(results)
    assert "few helps most" in mixed.answer.best[0] and set(mixed.choices["chosen"].drop_nulls()) == {"few"}
    own = marked.gains.filter(pl.col("recipe") != "few")
    assert own.equals(alone.gains) and not mixed.gains.filter(pl.col("recipe") != "few").equals(alone.gains)
    assert marked.sizes.equals(alone.sizes) and not mixed.sizes.equals(alone.sizes)
    assert marked.choices.equals(alone.choices)
    for piece in ("best", "hurt", "languages", "size"):
        assert getattr(marked.answer, piece) == getattr(alone.answer, piece)
    assert not alone.answer.labelled and len(marked.answer.labelled) == len(marked.axes.targets)
    first = marked.answer.labelled[0]
    assert (
        "few, with labelled data in ar, de, gains +" in first
        and " in ar (95 % interval" in first
        and " in de (" in first
    )
    assert "NOT zero-shot: " in marked.answer.text()
    few = marked.gains.filter(pl.col("recipe") == "few")
    assert few.height and set(few["beyond_english"]) == {"ar+de"} and few["p_holm"].drop_nulls().len()


def test_where_only_labelled_data_are_compared_nothing_is_said_of_intermediate_tasks():
    found = of(labelled(make_results(upper, recipes=["none", "few"]), "few"))
    assert found.best == ("No intermediate task is compared: `none` alone is zero-shot.",)
    assert found.labelled and not found.hurt and not any(found.size)


def test_a_target_that_is_trained_on_all_languages_is_not_called_zero_shot():
    results = make_results(gain_by_size(20.0), recipes=["none", "mini-squad"])
    scores = results.scores.with_columns(beyond_english=pl.lit("de+sw"))
    found = of(replace(results, scores=scores))
    assert "NOT zero-shot: trained on labelled data in de, sw" in found.best[0] and not found.labelled


def test_what_hurts_is_named():
    found = of(make_results(lambda encoder, recipe, target: -15.0 if recipe == "mini-mnli" else 0.0, seeds=(0, 1, 2)))
    assert found.hurt.startswith("Hurt: mini-mnli on mini-")
    assert "and 3 more" in found.hurt


SIX = {f"bundled/e5-small@{layers}": layers * 1_775_104 for layers in (2, 3, 4, 6, 9, 12)}


def by_size(points: float, at_smallest: float = 2.0) -> Gain:
    """What mini-squad gains on an encoder of SIX."""
    return lambda encoder, recipe, target: (
        at_smallest + points * float(np.log10(SIX[encoder] / min(SIX.values()))) if recipe == "mini-squad" else 0.0
    )


def test_size_dependence_in_words():
    targets = {"xquad": "span", "mlqa": "span", "xnli": "classification"}
    few: dict[str, Any] = {
        "encoders": SIX, "languages": ("en", "de", "ru"), "targets": targets, "recipes": ("none", "mini-squad")
    }  # fmt: skip
    grows = of(make_results(by_size(30.0), examples=200, **few)).size
    assert grows[0].startswith("Reading comprehension (XQuAD, MLQA), over 6 sizes of bundled/e5-small (3.55M to 21.3M ")
    assert "the gain grows with size, for mini-squad: +" in grows[0] and " points (95 % interval +" in grows[0]
    assert "over that range" in grows[0] and "tenfold" not in grows[0], "sixfold is what was measured"
    assert grows[1].startswith("By target, over that range: XQuAD: the gain grows, +")
    assert "; XNLI: the gain grows, +" in grows[1] and len(grows) == 2
    shrinks = of(make_results(by_size(-30.0, at_smallest=30.0), examples=200, **few)).size
    assert "the gain shrinks with size, for mini-squad: −" in shrinks[0]


def test_recipes_are_averaged_and_those_that_differ_named():
    size = of(make_results(by_size(30.0), encoders=SIX, languages=("en", "de", "ru"), examples=200)).size
    assert size[0].startswith("mini-qa, over 6 sizes") and "as the mean of 3 recipes" in size[0]
    assert "by recipe the gain grows for mini-squad +" in size[0]
    assert size[1].startswith("By target, over that range: mini-nli: ")


def test_too_few_sizes_and_confounded_ones_are_said():
    few: dict[str, Any] = {"examples": 20, "languages": ("en", "de"), "recipes": ("none", "mini-squad")}
    two = of(make_results(encoders={"a": 1_000_000, "b": 10_000_000}, **few))
    assert two.size == ("mini-qa: 2 sizes of encoder, too few sizes to tell whether the gain depends on it.",)
    three = of(make_results(encoders={"a": 10**6, "b": 10**7, "c": 10**8}, **few))
    assert "over 3 sizes of encoder" in three.size[0] and "per tenfold size" in three.size[0]
    assert three.size[0].endswith("of 3 families, and size goes with family: this is not the effect of size alone.")
    assert any("Encoders of several families" in caveat for caveat in three.cannot)
    untangled = of(make_results(encoders={**SIZES, "b": 10**8}, **few))
    assert "over 3 sizes of bundled/e5-small" in untangled.size[0] and "families" not in untangled.size[0]


def test_without_span_targets_there_is_one_sentence():
    encoders, targets = SIZES, {"tatoeba": "retrieval", "xnli": "classification"}
    size = of(make_results(encoders=encoders, targets=targets, examples=20)).size
    assert len(size) == 1 and size[0].startswith("By target, from 5.33M to 21.3M (3 sizes of bundled/e5-small): ")


def test_one_seed_says_that_the_interval_covers_examples_only():
    found = of(make_results(gain_by_size(20.0), seeds=(0,)))
    assert "over examples only: one seed" in found.best[1]
    assert found.cannot[0].startswith("One seed: the intervals cover the examples only")


def test_caveats_are_there_when_they_apply_and_not_said_twice():
    said = " ".join(of(make_results(examples=20)).cannot)
    assert "not XTREME's" in said and "no stand-in" in said and "As few as 20 examples" in said
    noted = of(make_results(notes=["The mini suite is not XTREME.", "Truncation is not pretraining."])).cannot
    assert sum("XTREME" in caveat for caveat in noted) == 1
    plain = " ".join(of(make_results(encoders={"m": 10**7}, targets={"xquad": "span"}, seeds=range(5))).cannot)
    assert "XTREME" not in plain and "@" not in plain and "seeds tell little" not in plain


def test_whether_seeds_share_their_training_sample_is_said():
    results = make_results(examples=20)
    assert "same for every seed" in " ".join(of(results).cannot)
    anew = replace(results, study=results.study.model_copy(update={"sample": "per_seed"}))
    assert "drawn anew for each seed" in " ".join(of(anew).cannot)


def test_encoders_go_by_their_names():
    entries = {EncoderEntry(source="bundled/e5-small", layers=n, name=f"cut {n}"): 10**6 * n for n in (3, 6, 12)}
    found = analyse(make_results(gain_by_size(0.0), encoders=entries, examples=20))
    assert found.axes.encoders[0].label == "cut 3" and found.axes.encoders[0].source == "bundled/e5-small"
    assert set(found.sizes["family"]) == {"bundled/e5-small"} and set(found.gains["encoder"]) == {
        "cut 3", "cut 6", "cut 12"
    }  # fmt: skip
    caveats = " ".join(found.answer.cannot)
    assert "Encoders with `layers` in the study are the first layers of one pretrained encoder" in caveats
    assert ", on cut " in found.answer.best[0] and "@" not in found.answer.text() + caveats


def test_trainings_that_collapsed_are_counted_first():
    results = make_results(examples=20)
    assert not any("majority class" in caveat for caveat in of(results).cannot)
    collapsed = pl.col("recipe").eq("mini-mnli") & pl.col("phase").eq("intermediate") & pl.col("seed").eq(0)
    stages = results.curves.select(
        *(pl.col("key") if name == "key" else pl.lit(None, kind).alias(name) for name, kind in STAGES_SCHEMA.items()
          if name != "collapsed"),
        collapsed=collapsed,
    ).unique()  # fmt: skip
    n_encoders, n_seeds = len(results.scores["encoder"].unique()), len(results.scores["seed"].unique())
    first, *_ = of(replace(results, stages=stages)).cannot
    assert first.startswith(
        "No better on dev than the majority class are, of "
        f"{3 * n_encoders * n_seeds} intermediate trainings {n_encoders} (mini-mnli {n_encoders} of "
        f"{n_encoders * n_seeds}): gains after these"
    )


def test_a_target_scored_in_two_precisions_is_told():
    results = make_results(targets={"xquad": "span", "xnli": "classification"}, examples=20)
    assert not any("precision" in caveat for caveat in of(results).cannot)
    there = pl.col("target").eq("xquad") & pl.col("recipe").eq("none")
    precision = pl.when(there).then(pl.lit("fp32")).otherwise("precision").alias("precision")
    told = [one for one in of(replace(results, scores=results.scores.with_columns(precision))).cannot if "comp" in one]
    assert told[0].startswith("xquad: computed in bf16 and fp32, and a gain between them may be the precision's alone")
    assert not any(one.startswith("xnli") for one in told)


def test_controls_state_both_means():
    encoders = {"e@6": 10_000_000, "e@6 random": 10_000_000}
    assert "mini-qa, e@6, none: pretrained " in (text := of(make_results(encoders=encoders)).controls)
    assert "untrained control " in text
    assert of(make_results()).controls == ""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ({"recipe": "mini-mnli", "target": "mini-qa"}, "mini-mnli, mini-qa: no scores"),
        ({"recipe": "mini-mnli", "language": "de"}, "no scores in de"),
        ({"recipe": "mini-mnli", "seed": 1}, "mini-mnli, mini-qa: 1 of 2 seeds"),
    ],
)
def test_missing_cells_are_named(cell: dict[str, object], expected: str):
    assert expected in " ".join(of(without(make_results(examples=20), **cell)).missing)


def test_what_the_study_did_not_plan_is_not_missing():
    results = without(make_results(examples=20), recipe="mini-mnli", target="mini-qa")
    planned = Counter(results.scores.select("encoder", "recipe", "target", "seed").unique().drop("seed").iter_rows())
    assert of(Results(**{**vars(results), "planned": planned})).missing == ()


def test_no_baseline_and_no_scores_are_said_plainly():
    assert "recipe `none` has no scores" in of(without(make_results(examples=10), recipe="none")).text()
    assert "`none` is the only recipe" in of(make_results(recipes=("none",), examples=10)).text()
    assert "in a non-English language" in of(make_results(languages=("en",), examples=10)).text()
    assert of(make_results(recipes=())).text().startswith("No scores yet")


def test_the_text_fits_a_terminal_even_for_a_large_study():
    targets = {name: "span" if "qa" in name else "tagging" for name in ("xquad", "mlqa", "tydiqa", "panx", "udpos")}
    results = make_results(targets=targets, examples=20, failures=[f"stage {i} failed" for i in range(40)])
    lines = of(results).text().splitlines()
    assert len(lines) <= 8
    assert any("37 more in the report" in line for line in lines)


def test_numbers_in_words():
    assert [signed(x) for x in (4.249, -0.3, 0.02, -0.04)] == ["+4.2", "−0.3", "0.0", "0.0"]
    assert ranged(None, None, "examples") == "no interval"


def test_tasks_go_by_the_names_that_people_write():
    targets = {"xquad": "span", "mini-qa": "span"}
    found = analyse(make_results(gain_by_size(30.0, "squad_v2"), targets=targets, recipes=("none", "squad_v2", "mnli")))
    assert found.answer.best[0].startswith("XQuAD: SQuAD v2.0 helps most, +")
    assert found.answer.best[1].startswith("mini-qa: "), "no task of the catalog"
    assert "Reading comprehension (XQuAD, mini-qa)" in found.answer.size[0] and "squad_v2" not in found.answer.text()
    assert found.axes.called("mnli") == "MNLI" and found.axes.called("none") == "none"
    renamed = make_results(recipes=("none", "mine"), targets={"xquad": "span"}, examples=10)
    mine = with_recipes(renamed, ["none", {"name": "mine", "tasks": ["squad_v2", "mnli"]}])
    assert analyse(mine).axes.called("mine") == "mine"


def test_what_helps_though_it_was_not_learnt_is_said():
    results = make_results(gain_by_size(30.0), examples=60, seeds=(0, 1, 2))
    key = pl.when(pl.col("recipe") != "none").then(pl.format("i{}/{}/{}", "encoder", "recipe", "seed"))
    scores = results.scores.with_columns(intermediate=key)
    keys = scores["intermediate"].drop_nulls().unique()
    gate = pl.DataFrame({"key": keys, "learnt": keys.str.ends_with("2")})
    stages = results.stages.clear().select(pl.exclude("key", "learnt"))
    stages = pl.concat([gate, stages], how="diagonal").select(*STAGES_SCHEMA).cast(pl.Schema(STAGES_SCHEMA))
    first = of(replace(results, scores=scores, stages=stages)).best[0]
    assert "helps most" in first and "though its intermediate training was learnt with 1 of 3 seeds" in first
