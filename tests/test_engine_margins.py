import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from xstilts.engine.margins import mine
from xstilts.tasks.metrics.bucc import Candidate, best_threshold, f1, mined


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine the threads of small operations wait for each other twenty times as long as they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normalised(vectors):
    return torch.nn.functional.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=-1)


@st.composite
def sides(draw):
    """Source and target vectors and texts; some vectors and some texts are the same, in any order.

    The vectors are multiples of 2⁻¹⁰ in eight dimensions, so that cosines are exact in whatever order they are added
    up: equal margins are equal, and a reference must give the same to the last bit.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds, names, towards = draw(st.integers(1, 12)), draw(st.integers(1, 30)), draw(st.sampled_from([0.0, 0.5, 2.0]))
    pool = generator.normal(size=(kinds, 8)) + towards * np.ones(8)
    pool = np.round(pool / np.linalg.norm(pool, axis=1, keepdims=True) * 1024) / 1024
    counts = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    vectors = [torch.tensor(pool[generator.integers(kinds, size=n)], dtype=torch.float32) for n in counts]
    texts = [[f"text {i}" for i in generator.integers(names, size=n)] for n in counts]
    return *vectors, *texts


NEIGHBOURS = st.integers(1, 5)


def reference(source, target, source_texts, target_texts, neighbours):
    """By definition: all cosines, sorted; dictionaries and Python's numbers only."""
    rows = [list({text: i for i, text in enumerate(texts)}.values()) for texts in (source_texts, target_texts)]
    vectors = source.tolist(), target.tolist()
    cosine = {(i, j): sum(a * b for a, b in zip(vectors[0][i], vectors[1][j], strict=True))
              for i in rows[0] for j in rows[1]}  # fmt: skip
    nearest = (
        {i: sorted(rows[1], key=lambda j: -cosine[i, j])[:neighbours] for i in rows[0]},
        {j: sorted(rows[0], key=lambda i: -cosine[i, j])[:neighbours] for j in rows[1]},
    )
    mean = (
        {i: sum(cosine[i, j] for j in near) / max(len(near), 1) for i, near in nearest[0].items()},
        {j: sum(cosine[i, j] for i in near) / max(len(near), 1) for j, near in nearest[1].items()},
    )

    def margin(i, j):
        middle = (mean[0][i] + mean[1][j]) / 2
        return cosine[i, j] / middle if middle > 0 else 0.0

    proposals = [(i, max(near, key=lambda j: margin(i, j))) for i, near in nearest[0].items() if near]
    proposals += [(max(near, key=lambda i: margin(i, j)), j) for j, near in nearest[1].items() if near]
    seen, found = set(), []
    for i, j in sorted(proposals, key=lambda pair: -margin(*pair)):
        if margin(i, j) > 0 and not {("source", i), ("target", j)} & seen:
            seen |= {("source", i), ("target", j)}
            if source_texts.count(source_texts[i]) == target_texts.count(target_texts[j]) == 1:
                found.append(Candidate(i, j, margin(i, j)))
    return found


@settings(deadline=None)
@given(sides(), NEIGHBOURS)
def test_equals_a_slow_reference(case, neighbours):
    assert mine(*case, neighbours=neighbours) == reference(*case, neighbours)


@settings(deadline=None)
@given(sides(), NEIGHBOURS, st.integers(1, 13))
def test_the_chunks_do_not_change_the_result(case, neighbours, chunk):
    assert mine(*case, neighbours=neighbours, chunk=chunk) == mine(*case, neighbours=neighbours)


@settings(deadline=None)
@given(sides())
def test_candidates_are_one_to_one_and_in_order(case):
    candidates = mine(*case)
    assert len({c.source for c in candidates}) == len({c.target for c in candidates}) == len(candidates)
    assert [c.margin for c in candidates] == sorted((c.margin for c in candidates), reverse=True)
    assert all(c.margin > 0 for c in candidates)


def on_circle(*degrees):
    angles = torch.deg2rad(torch.tensor([float(degree) for degree in degrees]))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_the_best_candidate_is_that_of_the_largest_margin_and_not_the_nearest():
    """60° is nearest to 20°, and 111° to 160°, which have better partners: the nearest alone would not pair them."""
    source, target = on_circle(160, 60, 0), on_circle(20, 140, 111)
    cosines = source @ target.T
    assert cosines[1].argmax() == 0 and cosines[:, 2].argmax() == 0
    candidates = mine(source, target, ["a", "b", "c"], ["d", "e", "f"], neighbours=2)
    assert [c[:2] for c in candidates] == [(2, 0), (0, 1), (1, 2)]
    means = (
        (math.cos(math.radians(40)) + math.cos(math.radians(51))) / 2,
        (math.cos(math.radians(49)) + math.cos(math.radians(51))) / 2,
    )
    assert candidates[-1].margin == pytest.approx(math.cos(math.radians(51)) / (sum(means) / 2))


def test_fewer_sentences_than_neighbours():
    vectors = torch.eye(2)
    assert mine(vectors, vectors, ["a", "b"], ["c", "d"]) == [Candidate(0, 0, 2.0), Candidate(1, 1, 2.0)]
    assert mine(vectors[:1], vectors[:1], ["a"], ["c"]) == [Candidate(0, 0, 1.0)]
    assert mine(vectors[:0], vectors, [], ["c", "d"]) == mine(vectors, vectors[:0], ["a", "b"], []) == []


def test_repeated_sentences_are_one_neighbour_and_no_candidate():
    """Were they several, they would fill the neighbourhoods; were they candidates, they would have no single id."""
    source = normalised([[1, 0.1], [0.1, 1], [0.1, 1]])
    target = normalised([[1, 0.2], [0.2, 1]])
    assert [c[:2] for c in mine(source, target, ["a", "b", "c"], ["d", "e"])] == [(0, 0), (1, 1)]
    repeated = mine(source, target, ["a", "b", "b"], ["d", "e"])
    assert [c[:2] for c in repeated] == [(0, 0)]
    alone = mine(source[:2], target, ["a", "b"], ["d", "e"])
    assert repeated == [c for c in alone if c.source == 0]  # the mean is over two, not three


def test_a_repeated_sentence_still_takes_its_partner():
    """XTREME drops its candidates after the matching: the target is not free for the next best source."""
    source = normalised([[1, 0], [1, 0], [1, 0.5]])
    target = normalised([[1, 0], [-1, 0.1]])
    assert [c[:2] for c in mine(source, target, ["a", "a", "b"], ["c", "d"], neighbours=1)] == []
    assert [c[:2] for c in mine(source[1:], target, ["a", "b"], ["c", "d"], neighbours=1)] == [(0, 0)]


def test_opposite_vectors_make_no_candidates():
    """A ratio of two negative numbers is positive, and means nothing."""
    assert mine(torch.eye(2), -torch.eye(2)[:1], ["a", "b"], ["c"], neighbours=1) == []
    assert mine(torch.eye(2)[:1], -torch.eye(2)[:1], ["a"], ["c"]) == []


def test_vectors_must_be_normalised_and_as_many_as_texts():
    vectors = torch.eye(2)
    with pytest.raises(ValueError, match="not L2-normalised"):
        mine(vectors, 2 * vectors, ["a", "b"], ["c", "d"])
    with pytest.raises(ValueError, match="not L2-normalised"):
        mine(vectors * torch.nan, vectors, ["a", "b"], ["c", "d"])
    with pytest.raises(ValueError, match="2 vectors for 1 texts"):
        mine(vectors, vectors, ["a", "b"], ["c"])


class LargestTensor(TorchFunctionMode):
    """Notes how large the largest tensor is that an operation returns."""

    elements = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_the_matrix_of_all_cosines_is_never_there():
    vectors = normalised(np.random.default_rng(1).normal(size=(300, 8)))
    texts = [str(i) for i in range(300)]
    with LargestTensor() as largest:
        mine(vectors, vectors, texts, texts, chunk=32)
    assert largest.elements < 300 * 300 / 20


def planted(seed):
    """Sentences of which some translate each other: vectors and texts of two sides, and the pairs."""
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(1000, 64)) + 1.0  # all somewhat alike, as an encoder's vectors are
    texts = 400
    pairs = {(int(i), int(j)) for i, j in zip(generator.permutation(texts)[:250], generator.permutation(600)[:250],
                                               strict=True)}  # fmt: skip
    source, target = meaning[:texts], meaning[texts:]
    for i, j in pairs:
        target[j] = source[i] + 0.5 * generator.normal(size=64)
    return (normalised(source), normalised(target), [f"s{i}" for i in range(texts)],
            [f"t{j}" for j in range(600)]), pairs  # fmt: skip


def test_planted_translations_are_found_by_the_threshold_of_other_data():
    dev, dev_gold = planted(1)
    test, test_gold = planted(2)
    found = mined(mine(*test, chunk=100), best_threshold(mine(*dev), dev_gold))
    numerator, denominator = f1(found, test_gold)
    assert numerator / denominator > 0.9
