from collections import Counter
from pathlib import Path

import pytest

from synthetic import SIZES, gain_by_size, make_results, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.answer import Answer, ranged, signed
from xstilts.results import Results

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
    assert "95 % interval +" in found.best[0] and "10 non-English languages" in found.best[0]
    assert found.best[1].startswith("mini-nli: ")
    assert found.headline().startswith(found.best[0])


def test_what_hurts_is_named():
    found = of(make_results(lambda encoder, recipe, target: -15.0 if recipe == "mini-mnli" else 0.0, seeds=(0, 1, 2)))
    assert found.hurt.startswith("Hurt: mini-mnli on mini-")
    assert "and 3 more" in found.hurt


def test_size_dependence_in_words():
    grows = of(make_results(gain_by_size(30.0), examples=200))
    assert "the gain grows with size for mini-squad +" in grows.size[0]
    shrinks = of(make_results(gain_by_size(-30.0, at_smallest=25.0), examples=200))
    assert "the gain shrinks with size for mini-squad −" in shrinks.size[0]
    two = of(make_results(encoders={"a": 1_000_000, "b": 10_000_000}, examples=20))
    assert two.size[0] == "mini-qa: 2 sizes of encoder, too few sizes to tell whether the gain depends on it."
    three = of(make_results(encoders={"a": 10**6, "b": 10**7, "c": 10**8}, examples=20))
    assert "over 3 sizes, families mixed" in three.size[0]
    assert any("Encoders of several families" in caveat for caveat in three.cannot)


def test_one_seed_says_that_the_interval_covers_examples_only():
    found = of(make_results(gain_by_size(20.0), seeds=(0,)))
    assert "over examples only: one seed" in found.best[0]
    assert found.cannot[0].startswith("One seed: the intervals cover the examples only")


def test_caveats_are_there_when_they_apply_and_not_said_twice():
    said = " ".join(of(make_results(examples=20)).cannot)
    assert "not XTREME's" in said and "no stand-in" in said and "As few as 20 examples" in said
    noted = of(make_results(notes=["The mini suite is not XTREME.", "Truncation is not pretraining."])).cannot
    assert sum("XTREME" in caveat for caveat in noted) == 1
    plain = " ".join(of(make_results(encoders={"m": 10**7}, targets={"xquad": "span"}, seeds=range(5))).cannot)
    assert "XTREME" not in plain and "@" not in plain and "seeds tell little" not in plain


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
