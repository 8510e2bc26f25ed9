"""KSparseCoder keeps all that scikit-learn asks of an estimator, as its own tests ask it."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from ksae_lab.sklearn import KSparseCoder

SHORT = {"n_units": 6, "k": 2, "n_steps": 20}


@parametrize_with_checks(
    [
        KSparseCoder(**SHORT),
        KSparseCoder(**SHORT, positive_code=False, sparse_output=True),
    ]
)
def test_scikit_learn_has_nothing_to_say(estimator, check):
    check(estimator)
