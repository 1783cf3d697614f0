"""Work that would not fit is refused before it begins, in one wording."""

import pytest

from markov_icl.memory import require


def test_what_fits_is_let_through():
    require(8.0, 8.0, "a proof")


@pytest.mark.parametrize(("needed", "shown"), [(8.1, "8.1"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_what_does_not_fit_is_refused(needed, shown):
    with pytest.raises(ValueError, match="GB") as refusal:
        require(needed, 8.0, "a proof with matrices of order 900")
    assert str(refusal.value) == (
        f"expected work within 8 GB; got a proof with matrices of order 900, which needs about {shown} GB "
        "(use a shorter length, or allow more memory)"
    )
