"""What every model here adds to `keras.Model`: its input is its target, and nothing goes unsaid."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from ksae_lab.keras.devices import for_each_image_alike

# Keras' docstrings are Markdown, and long: ours say what is different.
_WITHOUT_DOC = [name for name in functools.WRAPPER_ASSIGNMENTS if name != "__doc__"]


def _of_images(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of `keras.Model` that is told images, `x`: refused here if their width is wrong.

    Once TensorFlow has met two widths it makes one graph for all, in which none can be named.
    """
    signature = inspect.signature(method)

    @functools.wraps(method, assigned=_WITHOUT_DOC)
    def checked(self: "Reconstruction", *args: Any, **options: Any) -> Any:
        given = signature.bind(self, *args, **options)
        x: Any = given.arguments.get("x")
        if hasattr(x, "shape"):
            self.check_shape(x.shape)
        weighted = given.arguments.get("sample_weight") is not None
        if weighted and given.arguments.get("y") is None:
            # Without a target Keras would leave the weights out, and not say so.
            given.arguments["y"] = x
        return method(*given.args, **given.kwargs)

    checked.__doc__ = f"What `keras.Model.{method.__name__}` does, for images x (batch, d)."
    return checked


class Reconstruction(keras.Model):  # type: ignore[misc] # Keras has no types
    """A model of images x (batch, d) whose target is x, wherever Keras is given no other.

    Images of another width are refused. A NaN in an epoch's loss ends training. Where the optimizer
    puts moving averages in place of the weights (`use_ema`), they are brought back to what the
    constraints of the weights ask for, such as rows of length 1; the averages that
    `SwapEMAWeights` shows in between are as they are.

    Raises `ValueError` for images of another width and, once training has ended, for a NaN;
    `NotImplementedError` from `fit` where several TensorFlow processes should share a training.

    Chapter 6.
    """

    n_pixels: int

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

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises `ValueError` for a shape that is not (batch, d)."""
        if len(shape) != 2 or shape[1] != self.n_pixels:
            raise ValueError(
                f"The images have shape {tuple(shape)}; expected (batch, {self.n_pixels})."
            )


_fit = _of_images(keras.Model.fit)


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
