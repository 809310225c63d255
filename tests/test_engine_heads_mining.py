"""Mining, from two corpora to F1: what XTREME's and jiant's scripts trip over, and a study from files to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError
from xstilts.common.progress import Event
from xstilts.data import cap
from xstilts.engine.heads.mining import Corpora, find
from xstilts.engine.vectors import Embedded, Vectors
from xstilts.handover.export import CellFilter
from xstilts.handover.submission import write as write_submission
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Plan, Predict
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats import Example, mining
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.metrics.bucc import best_threshold, f1, mined

BUCC = builtin_catalog()["bucc"]
CPU = torch.device("cpu")


def corpora(
    seed: int, *, noise: Sequence[float] = (0.3,), pairs: int = 40, others: int = 40, gold: bool = True
) -> Corpora:
    """Corpora of which ``pairs`` sentences translate each other; by block, their vectors differ by ``noise``."""
    random = np.random.default_rng(seed)
    n = pairs + others
    meaning = random.normal(size=(n, 16)) + 0.5
    alike = random.permutation(n)  # English sentence i translates foreign sentence alike[i], for i < pairs
    translations = {int(alike[i]): (f"en-{i}",) for i in range(pairs)}
    foreign = [MiningExample(f"de-{i}", f"de {seed} {i}", False, translations.get(i, ()) if gold else None)
               for i in range(n)]  # fmt: skip
    english = [MiningExample(f"en-{i}", f"en {seed} {i}", True, None) for i in range(n)]
    by_block = []
    for size in noise:
        theirs = random.normal(size=(n, 16)) + 0.5
        theirs[:pairs] = meaning[alike[:pairs]] + size * random.normal(size=(pairs, 16))
        by_block.append(np.concatenate([meaning, theirs]))
    stacked = np.stack(by_block, 1)
    vectors = Vectors()
    vectors.append((stacked / np.linalg.norm(stacked, axis=2, keepdims=True)).astype(np.float16))
    vectors.close()
    return Corpora([*foreign, *english], Embedded(vectors, np.arange(2 * n), 0))


def points(examples: Sequence[MiningExample], predictions: Sequence[str]) -> dict[str, float]:
    scored = mining.FORMAT.score(examples, predictions, BUCC, "de")
    return {name: 100 * sum(n for n, _ in rows) / sum(d for _, d in rows) for name, rows in scored.items()}


# -- the traps of the official scripts --------------------------------------------------------------------------------


def test_the_threshold_is_chosen_on_dev_for_each_block_and_applied_to_test() -> None:
    noise = (0.2, 0.9)
    dev, test = corpora(1, noise=noise), corpora(2, noise=noise)
    found = find(test, dev, CPU)
    on_test = points(test.examples, found.predictions)
    for block in (0, 1):
        candidates = dev.candidates(block, CPU)
        threshold = best_threshold(candidates, dev.gold())
        assert found.thresholds[block] == threshold
        expected = f1(mined(test.candidates(block, CPU), threshold), test.gold())
        assert on_test[f"f1@{block}"] == pytest.approx(100 * expected[0] / expected[1])
    assert found.thresholds[0] != found.thresholds[1]
    best = find(test, test, CPU)  # what choosing on test itself would have given
    assert points(test.examples, best.predictions)["f1@1"] > on_test["f1@1"]


def test_test_data_without_gold_are_mined_all_the_same() -> None:
    """XTREME's evaluate_retrieval.py:494-504 knows no threshold where a split has no gold."""
    dev, test, blind = corpora(1), corpora(2), corpora(2, gold=False)
    found = find(blind, dev, CPU)
    assert found == find(test, dev, CPU)
    assert sum(prediction.split("\t")[0] != mining.NONE for prediction in found.predictions) > 20


def test_a_threshold_needs_gold_pairs_on_dev() -> None:
    with pytest.raises(ValueError, match="needs gold pairs"):
        find(corpora(2), corpora(1, gold=False), CPU)


def test_the_best_threshold_may_stand_at_the_last_candidate() -> None:
    """XTREME's bucc_optimize looks at the candidate behind the last one, and fails."""
    dev = corpora(1, noise=(0.01,), others=0)
    assert len(dev.candidates(0, CPU)) == 40
    assert points(dev.examples, find(dev, dev, CPU).predictions)["f1"] == 100.0


def test_a_sentence_that_occurs_twice_is_mined_under_no_id() -> None:
    """As XTREME has it; jiant counts it under all of its ids."""
    once = corpora(1, noise=(0.05,))
    place = next(i for i, example in enumerate(once.examples) if example.translations)
    other = next(i for i, example in enumerate(once.examples) if not example.translations and not example.english)
    repeated = list(once.examples)
    repeated[other] = replace(repeated[other], text=repeated[place].text)
    twice = Corpora(repeated, once.vectors)
    before, after = (find(each, each, CPU).predictions for each in (once, twice))
    assert before[place].split("\t")[0] == once.examples[place].translations[0]  # type: ignore[index]
    assert after[place].split("\t")[0] == after[other].split("\t")[0] == mining.NONE


def test_the_block_that_is_best_on_dev_is_reported_beside_the_fixed_one() -> None:
    dev, test = (corpora(seed, noise=(0.9, 0.1, 0.1)) for seed in (1, 2))
    found = find(test, dev, CPU)
    assert found.dev[1] == found.dev[2] > found.dev[0] and found.best == 1  # of equals the lowest
    on_test = points(test.examples, found.predictions)
    assert list(on_test) == ["f1", "f1@dev", "f1@0", "f1@1", "f1@2"]
    assert on_test["f1"] == on_test["f1@0"] < on_test["f1@dev"] == on_test["f1@1"]


def test_the_block_is_chosen_on_dev_even_where_test_says_otherwise() -> None:
    dev, test = corpora(1, noise=(0.1, 0.9)), corpora(2, noise=(0.9, 0.1))
    found = find(test, dev, CPU)
    on_test = points(test.examples, found.predictions)
    assert found.best == 0 and on_test["f1@dev"] == on_test["f1@0"] < on_test["f1@1"]


# -- scores -----------------------------------------------------------------------------------------------------------

IDS = st.sampled_from([mining.NONE, "en-0", "en-1", "en-2"])


@given(st.lists(st.tuples(IDS, st.sets(IDS.filter(lambda id: id != mining.NONE), max_size=2)), min_size=1, max_size=6))
def test_the_outcomes_add_up_to_the_f1_of_the_sets_of_pairs(rows: list[tuple[str, set[str]]]) -> None:
    examples = [MiningExample(f"de-{i}", "", False, tuple(gold)) for i, (_, gold) in enumerate(rows)]
    examples.append(MiningExample("en-0", "", True, None))
    predictions = [*("\t".join([id] * 3) for id, _ in rows), mining.NONE]
    scored = mining.FORMAT.score(examples, predictions, BUCC, "de")
    assert list(scored) == ["f1", "f1@dev", "f1@0"] and {len(row) for row in scored.values()} == {len(examples)}
    pairs = {(f"de-{i}", id) for i, (id, _) in enumerate(rows) if id != mining.NONE}
    gold = {(f"de-{i}", id) for i, (_, ids) in enumerate(rows) for id in ids}
    sums = sum(n for n, _ in scored["f1"]), sum(d for _, d in scored["f1"])
    assert sums == (2.0 * len(pairs & gold), float(len(pairs) + len(gold)))


# -- a sample of two corpora ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 40), st.integers(1, 80))
@example(14, 40, 27, 29)  # half a sentence: the share as a float, 29 / 54, is a little more than it is
def test_a_sample_thins_pairs_and_single_sentences_alike(pairs: int, foreign: int, english: int, n: int) -> None:
    whole: list[Example] = [
        MiningExample(f"de-{i}", "", False, (f"en-{i}",) if i < pairs else ()) for i in range(pairs + foreign)
    ]
    whole += [MiningExample(f"en-{i}", "", True, None) for i in range(pairs + english)]
    some = [example for example in cap(whole, n) if isinstance(example, MiningExample)]
    sources = [example for example in some if not example.english]
    ids = [example.id for example in some if example.english]
    assert len(sources) == min(n, pairs + foreign)
    assert [example.id for example in some] == [e.id for e in whole if e in some]  # in file order
    translations = [id for example in sources for id in example.translations or ()]
    assert set(translations) <= set(ids)
    assert len(ids) - len(translations) == round(Fraction(english * len(sources), pairs + foreign))


# -- from files to scores ---------------------------------------------------------------------------------------------

WORDS = ["Haus", "Baum", "Wasser", "Straße", "König", "Garten", "Brücke", "Lampe", "Fenster", "Wolke", "Stern", "Insel"]
ENGLISH = ["house", "tree", "water", "street", "king", "garden", "bridge", "lamp", "window", "cloud", "star", "island"]


def write(folder: Path, split: str, first: int, *, gold: bool = True) -> None:
    """Corpora of 12 sentences a side, of which 8 translate each other."""
    folder.mkdir(parents=True, exist_ok=True)
    foreign = [f"de-{i}\tDas ist {'der' if i % 2 else 'ein'} {WORDS[i]} Nummer {first + i}." for i in range(12)]
    english = [f"en-{i}\tThis is {'the' if i % 2 else 'a'} {ENGLISH[i]} number {first + i}." for i in range(8)]
    english += [f"en-{i}\tNobody knows what {i + first} people said." for i in range(8, 12)]
    (folder / f"de-en.{split}.de").write_text("\n".join(foreign) + "\n")
    (folder / f"de-en.{split}.en").write_text("\n".join(english) + "\n")
    if gold:
        (folder / f"de-en.{split}.gold").write_text("".join(f"de-{i}\ten-{i}\n" for i in range(8)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "bucc2018", "dev", 100)
    write(tmp_path / "bucc2018", "test", 200)
    return tmp_path


def plan(data: Path, **target: Any) -> Plan:
    return make_plan(
        make_study(
            {
                "name": "mine", "encoders": ["bundled/e5-small@2"], "recipes": ["none"], "seeds": [1],
                "targets": [{"task": "bucc", **target}], "data": str(data), "training": {"precision": "fp32"},
            }
        )
    )  # fmt: skip


def predictions_of(planned: Plan) -> Predict:
    (spec,) = [stage.spec for stage in planned.stages.values() if isinstance(stage.spec, Predict)]
    return spec


def test_a_study_mines_test_by_the_threshold_of_dev_and_names_layer_and_pooling(data: Path, tmp_path: Path) -> None:
    planned, store = plan(data, pooling="cls"), Store(tmp_path / "store")
    told: list[Event] = []
    for stage in planned.stages.values():
        run_stage(stage, store, told.append)
    mined = [event for event in told if event.text == "mining de"]
    assert mined and mined[-1].done == mined[-1].steps
    assert told[-1].text.startswith("f1 ") and set(told[-1].values) == {"score"}
    (key,) = [key for key, stage in planned.stages.items() if stage.kind == "predict"]
    artifact = store.peek(key)
    assert artifact is not None
    facts = artifact.meta["mining"]["de"]
    assert len(facts["thresholds"]) == len(facts["dev_f1"]) == 3 and max(facts["dev_f1"]) > 0
    results = gather(planned, store)
    scores = {row["metric"]: row for row in results.scores.iter_rows(named=True)}
    assert list(scores) == ["f1", "f1@dev", "f1@0", "f1@1", "f1@2"]
    assert [row["hidden_layer"] for row in scores.values()] == [1, facts["best_block"], 0, 1, 2]
    assert results.scores["pooling"].unique().to_list() == ["cls"] and [r for r, s in scores.items() if s["main"]] == [
        "f1"
    ]
    assert scores["f1@dev"]["value"] == scores[f"f1@{facts['best_block']}"]["value"]
    assert results.outcomes["metric"].unique().to_list() == ["f1"]
    assert results.outcomes.filter(pl.col("denominator") == 0).is_empty()
    assert set(results.data.select("split", "use").iter_rows()) == {("test", "evaluation"), ("dev", "threshold")}


def test_pooling_layer_and_gold_of_dev_decide_the_predictions(data: Path) -> None:
    def key() -> set[str]:
        return {key for key, stage in plan(data).stages.items() if stage.kind == "predict"}

    before = key()
    others = [plan(data, pooling="cls"), plan(data, hidden_layer=2), plan(data, split="dev")]
    assert all(before.isdisjoint(planned.stages) for planned in others)
    gold = data / "bucc2018" / "de-en.dev.gold"
    gold.write_text(gold.read_text().replace("de-7\ten-7\n", ""))
    assert before.isdisjoint(key())


def test_on_dev_the_threshold_is_chosen_on_what_is_scored_and_the_study_says_so(data: Path) -> None:
    planned = plan(data, split="dev")
    spec = predictions_of(planned)
    assert spec.sets == spec.dev
    assert any("on which its thresholds are chosen too" in note for note in planned.notes)
    assert not plan(data).notes


def test_dev_without_gold_pairs_stops_the_study_before_it_begins(data: Path) -> None:
    (data / "bucc2018" / "de-en.dev.gold").write_text("")
    with pytest.raises(UserError, match="in de has no gold pairs, on which the threshold is chosen; fetch its"):
        plan(data)
    (data / "bucc2018" / "de-en.dev.gold").unlink()
    with pytest.raises(UserError, match="has no gold pairs"):
        plan(data)


def test_the_shared_tasks_own_folder_goes_before_xtremes_which_lacks_the_gold_of_test(data: Path) -> None:
    official = data / "bucc2018" / "de-en"
    write(official, "sample", 300)
    write(official, "training", 400)
    texts = [example.text for ref in (*predictions_of(plan(data)).sets, *predictions_of(plan(data)).dev)
             for example in examples(ref)]  # fmt: skip
    assert any("400" in text for text in texts) and any("300" in text for text in texts)
    assert not any(" 10" in text or " 20" in text for text in texts)


def test_test_data_as_xtreme_leaves_them_are_predicted_and_not_scored(data: Path, tmp_path: Path) -> None:
    """Its download script deletes the gold of test; the threshold is dev's all the same."""
    with_gold = plan(data)
    (data / "bucc2018" / "de-en.test.gold").unlink()
    planned, store = plan(data), Store(tmp_path / "store")
    assert {stage.kind for stage in planned.stages.values()} == {"predict"}
    assert any("no gold labels in any language" in note for note in planned.notes)
    predicted = []
    for stage in (*planned.stages.values(), *with_gold.stages.values()):
        if stage.kind == "predict":
            if stage.key in with_gold.stages:
                write(data / "bucc2018", "test", 200)
            run_stage(stage, store, lambda *_: None)
            table = store.read(stage.key, "predictions.parquet")
            assert table is not None
            predicted.append(pl.read_parquet(table))
    assert predicted[0].equals(predicted[1]) and predicted[0].height == 24
    write_submission(planned, store, tmp_path / "out", CellFilter())
    lines = (tmp_path / "out" / "bucc2018" / "test-de.tsv").read_text().splitlines()
    chosen = predicted[0].select("id", pl.col("prediction").str.split("\t").list.first()).rows()
    assert lines == [f"{id}\t{english}" for id, english in chosen if english != mining.NONE] and lines


@pytest.mark.realdata
def test_the_chinese_sample_keeps_its_share_of_pairs_when_it_is_capped(real_data: Path) -> None:
    planned = plan(real_data, split="dev", languages=["zh"], max_examples=1000)
    some = [example for example in examples(predictions_of(planned).sets[0]) if isinstance(example, MiningExample)]
    pairs = sum(len(example.translations or ()) for example in some)
    english = sum(example.english for example in some)
    assert len(some) - english == 1000
    assert pairs / 1000 == pytest.approx(257 / 8624, rel=0.5)
    assert english / 1000 == pytest.approx(13589 / 8624, rel=0.05)
