import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.features import (
    block_labels,
    from_symmetric,
    gram_dimension,
    phi,
    position,
    predict,
    split_blocks,
    to_symmetric,
    vech_size,
)

SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))


@given(SHAPES)
def test_phi_is_what_a_layer_computes(shape):
    J, D, seed = shape
    rng = np.random.default_rng(seed)
    b, A = rng.normal(size=D), rng.normal(size=(D, J))
    roots, x = rng.normal(size=(4, D, 3)), rng.normal(size=(4, J))
    gram = roots @ roots.transpose(0, 2, 1)
    literal = np.einsum("i,pik,kj,pj->p", b, gram, A, x)
    np.testing.assert_allclose(predict(phi(b, A), gram, x), literal, rtol=1e-10, atol=1e-12)


@given(SHAPES)
def test_blocks_and_symmetric_matrices_are_inverse(shape):
    J, D, seed = shape
    X = np.random.default_rng(seed).normal(size=J * vech_size(D))
    M = to_symmetric(X, J)
    np.testing.assert_array_equal(M, M.transpose(0, 2, 1))
    np.testing.assert_array_equal(from_symmetric(M), X)


def test_symmetric_block_of_phi_is_the_symmetric_product():
    rng = np.random.default_rng(0)
    b, A = rng.normal(size=4), rng.normal(size=(4, 3))
    outer = np.einsum("i,kj->jik", b, A)
    np.testing.assert_allclose(to_symmetric(phi(b, A)), (outer + outer.transpose(0, 2, 1)) / 2)


def test_positions_count_up_and_match_labels():
    J, D = 3, 4
    places = [position(j, i, k, D) for j in (1, 2, 3) for i in range(1, D + 1) for k in range(i, D + 1)]
    assert places == list(range(1, J * vech_size(D) + 1))
    assert block_labels(J, D)[position(2, 2, 3, D) - 1] == "X[2](2,3)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gram_dimension(5), "expected a block"),
        (lambda: split_blocks(np.zeros(4)), "expected d"),
        (lambda: split_blocks(np.zeros(12), 5), "divisible by 5"),
        (lambda: split_blocks(np.zeros((2, 2, 2))), "expected a vector"),
        (lambda: split_blocks(np.zeros((2, 3)), 3), "expected 3 blocks"),
        (lambda: position(1, 3, 2, 4), "expected j >= 1"),
        (lambda: phi(np.zeros(3), np.zeros((2, 2))), "expected b of shape"),
    ],
)
def test_bad_shapes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
