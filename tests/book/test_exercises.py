"""Each checker accepts a right answer and tells the likely wrong ones apart."""

from math import comb, factorial, log, log2, sqrt

import numpy as np
import pytest
from scipy.stats import sem, t

from ksae_lab.book.exercises import CHECKERS, check
from ksae_lab.nn.topk import top_k_mask


def feedback(capsys, exercise, answer):
    check(exercise, answer)
    return capsys.readouterr().out


def kept_energy(x, c, k):
    return ((x**2).sum() - np.sort(c**2)[:, ::-1][:, :k].sum()) / x.size


def forgets_the_rest(x, c, k):
    return np.sort(c**2)[:, : c.shape[1] - k].sum() / x.size


def stable_sort(h, k):
    mask = np.zeros(h.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(-h, kind="stable")[:, :k], True, axis=1)
    return mask


def ties_from_the_right(h, k):
    return stable_sort(h[:, ::-1], k)[:, ::-1]


def threshold(h, k):
    return h >= np.sort(h)[:, [-k]]


def masked(h, k, dz):
    return dz * top_k_mask(h, k)


def everyone(h, k, dz):
    return dz


def overwrites_its_input(h, k):
    h[:] = 0
    mask = np.zeros(h.shape, dtype=bool)
    mask[:, :k] = True
    return mask


def three_slopes(w, c):
    return w**2 * (2 * c**2 - c), w**2 * (1 - c) ** 2, w**2 * (1 - 3 * c + 3 * c**2)


def forgets_the_border(w, c):
    averaged, _, true = three_slopes(w, c)
    return averaged, 0.0, true


def louder(W_enc, b_enc, W_dec, unit, factor):
    scale = np.where(np.arange(len(b_enc)) == unit, factor, 1)
    return W_enc * scale, b_enc * scale, W_dec / scale[:, None]


def louder_in_place(W_enc, b_enc, W_dec, unit, factor):
    W_enc[:, unit] *= factor
    return W_enc, b_enc, W_dec


def louder_without_bias(W_enc, b_enc, W_dec, unit, factor):
    new_enc, _, new_dec = louder(W_enc, b_enc, W_dec, unit, factor)
    return new_enc, b_enc, new_dec


def brighter(W_enc, b_enc, W_dec, unit, factor):
    new_enc, new_b, _ = louder(W_enc, b_enc, W_dec, unit, factor)
    return new_enc, new_b, W_dec


def tied_gradient(x_centred, z, dh, d_x_hat):
    return np.einsum("bn,bd->nd", z, d_x_hat) + np.einsum("bn,bd->nd", dh, x_centred)


def encodes(model, x, alpha):
    k, model.k = model.k, round(alpha * model.k)
    z = np.array(model.encode(x))
    model.k = k
    return z


def forgets_to_put_k_back(model, x, alpha):
    model.k = round(alpha * model.k)
    return np.array(model.encode(x))


def slope_of_the_choice(p, dp, temperature):
    v = p * (1 - p)
    shares = v / v.sum(axis=1, keepdims=True)
    jacobian = np.einsum("bi,ij->bij", v, np.eye(p.shape[1])) - np.einsum("bi,bj->bij", v, shares)
    return np.einsum("bij,bj->bi", jacobian, dp) / temperature


def aux_gradients(h, e, W):
    d_e_hat = 2 * (np.maximum(h, 0) @ W - e) / e.size
    return np.where(h > 0, d_e_hat @ W.T, 0), np.maximum(h, 0).T @ d_e_hat


def aux_through_relu(h, e, W):
    d_e_hat = 2 * (np.maximum(h, 0) @ W - e) / e.size
    return d_e_hat @ W.T, np.maximum(h, 0).T @ d_e_hat


def after_one_step(length, rate):
    return length - 4 * rate * length**3, length - 4 * rate * (length**2 - 1) * length


def reading_part(W, S, b, x):
    h = np.maximum(W @ x, 0)
    a = np.maximum(S @ h + b, 0)
    heard = 2 * W @ (a @ W - x) * (a > 0)
    return np.outer(S.T @ heard * (h > 0), x)


def lca_step(u, x, W, sparsity, rate):
    a = np.maximum(u - sparsity, 0)
    return u + rate * (x @ W.T - u - a @ (W @ W.T - np.eye(len(W))))


def paired(a, b):
    return (a - b).mean(), t.ppf(0.975, len(a) - 1) * sem(a - b)


def names(n, k):
    return log2(comb(n, k))


def value(extra, top, k, d):
    return log2(top / sqrt(12 * extra * d / k))


def area(known, strange):
    return np.mean((strange[:, None] > known) + 0.5 * (strange[:, None] == known))


def support_rates(z, truth):
    both = ((z != 0) & (truth != 0)).sum()
    return both / max((z != 0).sum(), 1), both / (truth != 0).sum()


def support_f1(z, truth):
    precision, recall = support_rates(z, truth)
    return 2 * precision * recall / max(precision + recall, 1e-300)


def batch_mask(h, k):
    return top_k_mask(h.ravel(), k * len(h)).reshape(h.shape) & (h > 0)


def slopes(h, theta, dz, price, epsilon):
    near = np.abs(h - theta) < epsilon / 2
    return -((dz * theta + price / len(h)) * near / epsilon).sum(axis=0)


def idle(w, m, v, missed, rate, beta_1, beta_2):
    r = beta_1 / np.sqrt(beta_2)
    gone = rate * m / np.sqrt(v) * sum(r**j for j in range(1, missed + 1))
    return w - gone, m * beta_1**missed, v * beta_2**missed


def from_one(w, m, v, missed, rate, beta_1, beta_2):
    late = idle(w, m, v, missed, rate, beta_1, beta_2)
    return w - (w - late[0]) * np.sqrt(beta_2) / beta_1, *late[1:]


def for_ever(w, m, v, missed, rate, beta_1, beta_2):
    return idle(w, m, v, 10_000, rate, beta_1, beta_2)[0], m * beta_1**missed, v * beta_2**missed


def break_even(n, gflops, gbs):
    return int(n * gbs / (2 * gflops)) + 1


def who_may_win(score, eps, k):
    return score + eps >= np.sort(score - eps, axis=1)[:, [-k]]


def thresholding(x, W, a, k, by="magnitude"):
    u = a - (a @ W - x) @ W.T / np.linalg.eigvalsh(W @ W.T)[-1]
    return np.where(top_k_mask(u, k, by=by), u, 0)


def whitening(image, cutoff, power=1, *, real=True):
    down, across = np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij")
    f = np.sqrt(down**2 + across**2)
    result = np.fft.ifft2(np.fft.fft2(image) * f**power * np.exp(-((f / cutoff) ** 4)))
    return result.real / result.real.std() if real else result


def pairs_won(scores, of_kind, tie=0.5):
    inside, outside = scores[of_kind], scores[~of_kind]
    won = [(a > b) + tie * (a == b) for a in inside for b in outside]
    return np.mean(won)


CASES = [
    ("1.1", "median", "right."),
    ("1.1", "mean", "not squared"),
    ("1.1", "black", "brighter"),
    ("1.1", "white", "'black', 'median' or 'mean'"),
    ("1.2", kept_energy, "right."),
    ("1.2", forgets_the_rest, "no axis sees"),
    ("1.2", lambda x, c, k: x, "single number"),
    ("2.1", 4, "right."),
    ("2.1", 2, "how many reach"),
    ("2.2", stable_sort, "right."),
    ("2.2", ties_from_the_right, "lowest first"),
    ("2.2", overwrites_its_input, "lowest first"),
    ("2.2", threshold, "keeps 5 units where k = 0"),
    ("2.2", lambda h, k: np.argsort(h), "expected a boolean array"),
    ("3.1", {"softplus", "squared relu"}, "right."),
    ("3.1", {"softplus"}, "one more"),
    ("3.1", {"softplus", "arctan"}, "derivative of arctan"),
    ("3.1", ["softplus"], "a set of names"),
    ("3.2", masked, "right."),
    ("3.2", everyone, "the slopes are"),
    ("3.2", lambda h, k, dz: 0.9 * masked(h, k, dz), "the slopes are"),
    ("3.2", lambda h, k, dz: dz[0], "expected an array of shape (4, 6)"),
    ("4.1", three_slopes, "right."),
    ("4.1", forgets_the_border, "the border is 0.360"),
    ("4.1", lambda w, c: w, "return three numbers"),
    ("4.2", {"a", "d"}, "right."),
    ("4.2", {"a"}, "always the best ones"),
    ("4.2", {"a", "b", "d"}, "a long row is louder"),
    ("4.2", {"a", "c", "d"}, "say the same thing"),
    ("4.2", "ad", "a set of letters"),
    ("5.1", louder, "right."),
    ("5.1", louder_in_place, "return new arrays"),
    ("5.1", louder_without_bias, "should be 3.0 times as large"),
    ("5.1", brighter, "contributes to the image has changed"),
    ("5.2", tied_gradient, "right."),
    ("5.2", lambda x, z, dh, d: z.T @ d, "this is the decoder's share"),
    ("5.2", lambda x, z, dh, d: dh.T @ x, "this is the encoder's share"),
    ("5.2", lambda x, z, dh, d: z.T @ d - dh.T @ x, "in the shape of W"),
    ("5.2", lambda x, z, dh, d: d.T @ z, "expected the shape of W"),
    ("6.1", {"c"}, "right."),
    ("6.1", {"a", "c"}, "what came back through the mask"),
    ("6.1", {"c", "d"}, "the path through x"),
    ("6.1", set(), "by which path"),
    ("6.1", "c", "a set of letters"),
    ("6.2", encodes, "right."),
    ("6.2", forgets_to_put_k_back, "is left with k = 6"),
    ("6.2", lambda model, x, alpha: np.array(model.encode(x)), "3 units speak, expected 6"),
    ("6.2", lambda model, x, alpha: model.encode(x), "expected a NumPy array"),
    ("6.2", lambda model, x, alpha: np.zeros(3), "expected codes of shape (9, 8), got (3,)"),
    ("6.2", lambda *a: 2 * encodes(*a), "do not say the right numbers"),
    ("7.1", (1, 3), "right."),
    ("7.1", (3, 1), "the second is the higher"),
    ("7.1", (0.5, 3), "fit between the middle two"),
    ("7.1", (1, 2), "reach the first and the last"),
    ("7.1", 1, "two temperatures"),
    ("7.2", slope_of_the_choice, "right."),
    ("7.2", lambda p, dp, t: t * slope_of_the_choice(p, dp, t), "rises by 1 / temperature"),
    ("7.2", lambda p, dp, t: p * (1 - p) * dp / t, "t gives way"),
    ("7.2", lambda p, dp, t: dp, "the slopes are"),
    ("7.2", lambda p, dp, t: dp[0], "expected an array of shape (5, 7)"),
    ("8.1", {"resets"}, "right."),
    ("8.1", {"resets", "AuxK"}, "through relu"),
    ("8.1", {"curriculum"}, "make of a number below zero"),
    ("8.1", {"diversity"}, "this unit's code"),
    ("8.1", {"sleep"}, "none of the four"),
    ("8.1", set(), "asks for no gradient"),
    ("8.1", "resets", "a set of names"),
    ("8.2", aux_gradients, "right."),
    ("8.2", aux_through_relu, "for h[0, 1] the slope is 0.0000"),
    ("8.2", lambda h, e, W: aux_gradients(h, e, W)[0], "return two arrays"),
    ("8.2", lambda h, e, W: aux_gradients(h, e, W)[::-1], "should have its shape"),
    ("9.1", after_one_step, "right."),
    ("9.1", lambda length, rate: after_one_step(length, rate)[::-1], "as found, 1.0 becomes"),
    ("9.1", lambda length, rate: 2 * [length - 4 * rate * length**3], "the derivative of"),
    ("9.1", lambda length, rate: length, "return two lengths"),
    ("9.2", 1 / 16, "right."),
    ("9.2", 1 / 8, "units die; go on halving"),
    ("9.2", 1 / 64, "is too small"),
    ("10.1", lambda W: -4 * W, "right."),
    ("10.1", lambda W: 4 * W, "divide measured − claimed by W"),
    ("10.1", lambda W: -4, "expected the same shape, got ()"),
    ("10.2", reading_part, "right."),
    ("10.2", lambda W, S, b, x: reading_part(W, S.T, b, x), "which way S is passed"),
    (
        "10.2",
        lambda W, S, b, x: reading_part(W, S, b, x).T,
        "expected an array of shape (6, 5)",
    ),
    ("11.1", lambda c: (-c, -c), "right."),
    ("11.1", lambda c: (-c, 0), "S_21 = 0.000 the other still speaks"),
    ("11.1", lambda c: (-1, -c), "less than S_12 = -1.000 is enough"),
    ("11.1", lambda c: -c, "return a pair"),
    ("11.2", "b", "right."),
    ("11.2", "a", "relu still silences"),
    ("11.2", "c", "draw the digit"),
    ("11.2", "d", "'a', 'b' or 'c'"),
    ("12.1", lca_step, "right."),
    ("12.1", lambda u, x, W, s, r: lca_step(u, x, W, s, r)[0], "the next states, of shape"),
    (
        "12.1",
        lambda u, x, W, s, r: lca_step(u, x, W, s, r) - r * np.maximum(u - s, 0),
        "take the diagonal out",
    ),
    (
        "12.1",
        lambda u, x, W, s, r: np.maximum(lca_step(u, x, W, s, r) - s, 0),
        "return the states u",
    ),
    ("12.1", lambda u, x, W, s, r: lca_step(u, x, W, s, r) + r * u, "the leak"),
    ("12.2", 0, "right."),
    ("12.2", 16, "different pictures"),
    ("13.1", paired, "right."),
    ("13.1", lambda a, b: paired(b, a), "the mean difference"),
    ("13.1", lambda a, b: (paired(a, b)[0], 2 * paired(a, b)[1]), "give half of it"),
    ("13.1", lambda a, b: (paired(a, b)[0], 1.96 * sem(a - b)), "degrees of freedom"),
    ("13.1", lambda a, b: (a - b).mean(), "return two numbers"),
    ("13.2", thresholding, "right."),
    ("13.2", lambda x, W, a, k: thresholding(x, W, a, k, by="value"), "of either sign"),
    ("13.2", lambda x, W, a, k: thresholding(x, W, a, len(W)), "more than k"),
    ("13.2", lambda x, W, a, k: 2 * thresholding(x, W, a, k), "wrong values"),
    ("13.2", lambda x, W, a, k: thresholding(x, W, a, k).T, "return codes of shape"),
    ("14.1", names, "right."),
    ("14.1", lambda n, k: names(n, k) + log2(factorial(k)), "the order of the"),
    ("14.1", lambda n, k: names(n, k) * log(2), "to the base 2"),
    ("14.1", lambda n, k: k * log2(n), "expected"),
    ("14.2", value, "right."),
    ("14.2", lambda extra, top, k, d: value(extra, top, k, d) - 1, ": more bits"),
    ("14.2", lambda extra, top, k, d: value(extra, top, 1, d), ": more bits"),
    ("14.2", lambda extra, top, k, d: value(extra, top, k, 1), "fewer bits"),
    ("15.1", area, "right."),
    ("15.1", lambda a, b: area(b, a), "other way round"),
    ("15.1", lambda a, b: np.mean(b[:, None] > a), "a tie counts half"),
    ("15.1", lambda a, b: b.mean() - a.mean(), "pair every stranger"),
    ("15.2", lambda v, s: (v / (v + s**2), v * s**2 / (v + s**2)), "right."),
    ("15.2", lambda v, s: v / (v + s**2), "return two numbers"),
    ("15.2", lambda v, s: (v / (v + s), 0), "has variance"),
    ("15.2", lambda v, s: (1 - v, 0), "the best f is"),
    ("15.2", lambda v, s: (v / (v + s**2), s**2), "f is right"),
    ("16.1", batch_mask, "right."),
    ("16.1", lambda h, k: batch_mask(h[::-1], k)[::-1], "rank all numbers of the batch"),
    ("16.1", lambda h, k: top_k_mask(h.ravel(), k * len(h)).reshape(h.shape), "does not speak"),
    ("16.1", lambda h, k: batch_mask(h[:, ::-1], k)[:, ::-1], "of equal numbers"),
    ("16.1", lambda h, k: batch_mask(h, 1), "are to be marked"),
    ("16.1", lambda h, k: batch_mask(h, k).ravel(), "return booleans of shape"),
    ("16.2", slopes, "right."),
    ("16.2", lambda *given: -slopes(*given), "the sign"),
    ("16.2", lambda h, t, dz, price, e: t * slopes(h, t, dz, price, e), "slope of log θ"),
    ("16.2", lambda h, t, dz, price, e: slopes(h, t, dz, 0, e), "the price is missing"),
    ("16.2", lambda h, t, dz, price, e: slopes(h, t, dz, len(h) * price, e), "mean number"),
    ("16.2", lambda h, t, dz, price, e: slopes(h, t, dz, price, 2 * e), "within ε/2"),
    ("16.2", lambda h, t, dz, price, e: slopes(h, t, dz, price, e)[:1], "one slope for each"),
    ("17.1", idle, "right."),
    ("17.1", lambda *given: idle(*given)[0], "return w, m and v"),
    ("17.1", lambda w, m, v, *how: (idle(w, m, v, *how)[0], m, v), "keeps β₁"),
    ("17.1", from_one, "begins with r"),
    ("17.1", for_ever, "comes to rest"),
    ("17.1", lambda w, *rest: (w, *idle(w, *rest)[1:]), "has gone"),
    ("17.2", break_even, "right."),
    ("17.2", lambda n, p, g: 4 * break_even(n, p, g), "four bytes"),
    ("17.2", lambda n, p, g: int(n * g / p) + 1, "multiplies and adds"),
    ("17.2", lambda n, p, g: break_even(n, p, g) - 1, "does not yet lose"),
    ("17.2", lambda n, p, g: n, "expected"),
    ("17.3", who_may_win, "right."),
    ("17.3", lambda s, e, k: who_may_win(s, e, k).astype(int), "return booleans"),
    ("17.3", lambda s, e, k: who_may_win(s, 0 * e, k), "was ruled out"),
    ("17.3", lambda s, e, k: who_may_win(s, e.max() + 0 * e, k), "a higher bar"),
    ("18.1", support_f1, "right."),
    ("18.1", lambda z, truth: support_rates(z, truth)[0], "precision alone"),
    ("18.1", lambda z, truth: support_rates(z, truth)[1], "recall alone"),
    ("18.1", lambda z, truth: np.mean(support_rates(z, truth)), "the mean is harmonic"),
    ("18.1", lambda z, truth: ((z != 0) == (truth != 0)).mean(), "rightly silent"),
    ("18.1", lambda z, truth: support_f1(z[:5], truth[:5]), "all samples count together"),
    ("18.1", lambda z, truth: support_f1(z, truth) if z.any() else np.nan, "no unit is active"),
    ("18.2", 10, "right."),
    ("18.2", 5, "half the size"),
    ("18.2", 9, "fewer than are promised"),
    ("18.2", 11, "more than are promised"),
    ("18.2", True, "a whole number"),
    ("18.2", 10.5, "a whole number"),
    ("19.1", whitening, "right."),
    ("19.1", lambda image, cutoff: whitening(image, cutoff, real=False), "its real part"),
    ("19.1", lambda image, cutoff: 2 * whitening(image, cutoff), "a standard deviation"),
    ("19.1", lambda image, cutoff: whitening(image, 1e3), "not turned down"),
    ("19.1", lambda image, cutoff: whitening(image, cutoff, power=2), "not the right factors"),
    ("19.1", lambda image, cutoff: whitening(image, cutoff)[:-1], "the result has"),
    ("20.1", pairs_won, "right."),
    ("20.1", lambda scores, of_kind: pairs_won(-scores, of_kind), "is lower"),
    ("20.1", lambda scores, of_kind: pairs_won(scores, of_kind, tie=0), "count them by half"),
    ("20.1", lambda scores, of_kind: 0.3, "expected"),
    ("20.2", 0.9, "right."),
    ("20.2", 0.5, "far from the mean"),
    ("20.2", "half", "answer 0.5, 0.7 or 0.9"),
]


@pytest.mark.parametrize(
    ("exercise", "answer", "says"),
    # The exercise of chapter 6 is about a model of Keras.
    [pytest.param(*case, marks=pytest.mark.slow if case[0] == "6.2" else ()) for case in CASES],
)
def test_feedback(capsys, exercise, answer, says):
    said = feedback(capsys, exercise, answer)
    assert said.startswith(f"Exercise {exercise}: ")
    assert says in said
    assert ("not yet" in said) == (says != "right.")


def test_every_exercise_is_tested_here():
    assert {case[0] for case in CASES if case[2] == "right."} == set(CHECKERS)


def test_an_answer_that_fails_gets_a_hint(capsys):
    assert "ZeroDivisionError" in feedback(capsys, "2.2", lambda h, k: 1 / 0)
    assert "AttributeError" in feedback(capsys, "3.2", lambda h, k, dz: h.no_such_thing)


def test_unknown_exercise():
    with pytest.raises(ValueError, match=r"'9\.9'; choose from 1\.1"):
        check("9.9", 1)
