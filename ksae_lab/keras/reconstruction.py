"""What every model here adds to `keras.Model`: its input is its target, and nothing goes unsaid."""

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from ksae_lab.keras.devices import for_each_image_alike
from ksae_lab.nn.checks import whole

NO_ARRAYS = (type(None), list, tuple, dict, str, bytes, numbers.Number)
# Keras' docstrings are Markdown, and long: ours say what is different.
_WITHOUT_DOC = [name for name in functools.WRAPPER_ASSIGNMENTS if name != "__doc__"]


def _of_images(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of `keras.Model` that is told images, `x`: refused here if they cannot be that.

    Keras takes a list for several inputs, and goes on without a word where there are no images.
    Once TensorFlow has met two widths it makes one graph for all, in which none can be named.
    """
    signature = inspect.signature(method)

    @functools.wraps(method, assigned=_WITHOUT_DOC)
    def checked(self: "Reconstruction", *args: Any, **options: Any) -> Any:
        given = signature.bind(self, *args, **options)
        x: Any = given.arguments.get("x")
        self.check_data(x, given.arguments.get("y"))
        weighted = given.arguments.get("sample_weight") is not None
        if weighted and given.arguments.get("y") is None:
            # Without a target Keras would leave the weights out, and not say so.
            given.arguments["y"] = x
        return method(*given.args, **given.kwargs)

    checked.__doc__ = f"What `keras.Model.{method.__name__}` does, for images x (batch, d)."
    return checked


class Reconstruction(keras.Model):  # type: ignore[misc] # Keras has no types
    """A model of images x (batch, d) whose target is x, wherever Keras is given no other.

    Images of another width are refused, and labels for a target. A NaN in an epoch's loss ends
    training. Where the optimizer puts moving averages in place of the weights (`use_ema`), they are
    brought back to what the constraints of the weights ask for, such as rows of length 1; those
    that `SwapEMAWeights` shows in between are as they are.

    Raises `ValueError` for a dtype without fractions, for images of another width, for none of
    them, for labels, and, once training has ended, for a NaN; `TypeError` for what is no array, and
    for a number of pixels that is no integer; `NotImplementedError` from `fit` where several
    TensorFlow processes should share a training.

    Chapter 6.
    """

    def __init__(self, n_pixels: int, **options: Any):
        super().__init__(**options)
        self.n_pixels = whole(n_pixels, "n_pixels")
        if not keras.backend.is_float_dtype(self.variable_dtype):
            raise ValueError(f"dtype is {self.variable_dtype}; choose a float, such as float32.")

    evaluate = _of_images(keras.Model.evaluate)
    predict = _of_images(keras.Model.predict)
    train_on_batch = _of_images(keras.Model.train_on_batch)
    test_on_batch = _of_images(keras.Model.test_on_batch)
    predict_on_batch = _of_images(keras.Model.predict_on_batch)

    @functools.wraps(keras.Model.fit, assigned=_WITHOUT_DOC)
    def fit(self, *args: Any, **options: Any) -> keras.callbacks.History:
        """Train, as `keras.Model.fit` says."""
        _refuse_workers(self)
        given = inspect.signature(keras.Model.fit).bind(self, *args, **options)
        callbacks = given.arguments.get("callbacks") or []
        given.arguments["callbacks"] = [Watch(), *tree.flatten(callbacks)]
        history = _fit(*given.args, **given.kwargs)
        refuse_nan(history)
        return history

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss, a scalar, of y_pred for the target y, both (batch, d), or else for x."""
        y = x if y is None else y
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return for_each_image_alike(loss, y_pred)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The metrics of y_pred for the target y, both (batch, d), or else for x."""
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def as_images(self, x: Any) -> Any:
        """x as a tensor (batch, d) of the kind of float that the model computes in.

        Raises `ValueError` for another shape.
        """
        x = ops.convert_to_tensor(x, self.compute_dtype)
        if len(x.shape) == 2 and x.shape[1] is None:
            # A data set need not say its width, nor does TensorFlow once it has met two.
            import tensorflow as tf

            x = tf.ensure_shape(x, (None, self.n_pixels))  # says both, when the graph is run
        self.check_shape(x.shape)
        return x

    def check_data(self, x: Any, y: Any = None) -> None:
        """Raises `ValueError` and `TypeError` for what cannot be images, or a target of theirs.

        Arrays (batch, d) can, and so can anything that Keras makes batches of.
        """
        if isinstance(x, NO_ARRAYS):
            raise TypeError(
                f"A {type(x).__name__} is no array of images; "
                f"give an array (batch, {self.n_pixels})."
            )
        if hasattr(x, "shape"):
            self.check_shape(x.shape)
            if x.shape[0] == 0:
                raise ValueError("There are no images; give one or more.")
        if hasattr(y, "shape") and len(y.shape) == 1:
            raise ValueError(
                f"The targets have shape {tuple(y.shape)}, as labels have; a model learns to "
                "reconstruct images and takes none: leave them out."
            )

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises `ValueError` for a shape that is not (batch, d)."""
        if len(shape) != 2 or shape[1] != self.n_pixels:
            raise ValueError(
                f"The images have shape {tuple(shape)}; expected (batch, {self.n_pixels})."
            )


_fit = _of_images(keras.Model.fit)


def not_in_numpy(model: object, twin: type) -> TypeError:
    """What is said where `from_numpy` is given anything but the model that `twin` is a twin of.

    Chapter 6.
    """
    return TypeError(
        f"A {type(model).__name__} is given; give a {twin.__name__} of ksae_lab, in NumPy."
    )


class Watch(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Stops at a NaN, and at the end constrains what moving averages were put into.

    Chapter 6.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop if the loss was NaN."""
        if np.isnan((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Constrain each weight."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if getattr(optimizer, "use_ema", False):
            for variable in self.model.trainable_variables:
                if variable.constraint is not None:
                    variable.assign(variable.constraint(variable))


def refuse_nan(history: keras.callbacks.History) -> None:
    """Raises `ValueError` if a training has ended at a NaN.

    Chapter 6.
    """
    losses = history.history.get("loss")
    if losses and np.isnan(losses[-1]):
        raise ValueError(
            f"The loss was NaN in epoch {history.epoch[-1] + 1}, so training has ended. "
            "Look for NaN in the images first; a learning rate that is too high makes it, too."
        )


def _refuse_workers(model: keras.Model) -> None:
    """Say what to do in place of `fit`, in which Keras 3 would end with another error."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise NotImplementedError(
            "Keras 3 does not fit a model of MultiWorkerMirroredStrategy; use fit_on_workers of "
            "ksae_lab.keras, or the JAX backend, whose keras.distribution.DataParallel fit knows."
        )
