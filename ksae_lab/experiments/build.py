"""The training that an experiment's settings describe: the one place that reads them."""

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.engine.choose import step_of
from ksae_lab.experiments import settings
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.auxiliary_losses import AuxK, DeCov
from ksae_lab.nn.module import Model
from ksae_lab.nn.selectors import Relaxation, TopK
from ksae_lab.training.callbacks import Freeze, InputNoise, PixelShifts, Scheduled
from ksae_lab.training.dead_units import DeadUnitMonitor, ResetDeadUnits, ReviveDead
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import SGD, AdaGrad, Adam, BaseOptimizer, RMSprop
from ksae_lab.training.schedules import geometric, k_curriculum, linear


def build(experiment: settings.Experiment, dataset: Dataset) -> Trainer:
    """The training that an experiment describes, ready to go.

    Lab 2.
    """
    rng = np.random.default_rng(experiment.seed)
    x, validation = dataset.x_train, (dataset.x_val,)
    if experiment.fit_on == "train+validation":
        x = dataset.joined("train", "val")
    optimizer, length = _optimizer(experiment.optimizer), experiment.training
    n_units = (experiment.dream or experiment.model).n_units
    monitor = DeadUnitMonitor(n_units, after=length.dead_after or len(x))
    callbacks: list[Callback] = [monitor]
    if length.shifts:
        if dataset.image is None:
            raise ValueError(
                f"`training.shifts` moves images, and {dataset.name} holds none; leave it out."
            )
        callbacks.append(PixelShifts(dataset.image, length.shifts))
    if length.noise:
        callbacks.append(InputNoise(length.noise))
    if experiment.optimizer.decay_from is not None:
        rate, begin = experiment.optimizer.learning_rate, experiment.optimizer.decay_from
        callbacks.append(Scheduled(optimizer, "learning_rate", linear(rate, 0.0, begin=begin)))
    model: Model
    if experiment.dream:
        model, own = _dream(experiment.dream, x, rng, monitor)
    else:
        model, own = _k_sparse(experiment, x, rng, monitor)
    return Trainer(
        model,
        (x,),
        optimizer,
        length.epochs,
        length.batch_size,
        rng,
        validation=validation if experiment.fit_on == "train" else None,
        callbacks=[*callbacks, *own],
        make_step=step_of(length.engine or "plain"),
    )


def trained(run: Trainer) -> KSparseAutoencoder:
    """Do a training to its end, without a bar of progress, and give its network.

    Raises `TypeError`, before it trains, for a model of another kind.

    Lab 2.
    """
    if not isinstance(model := run.model, KSparseAutoencoder):
        raise TypeError(f"The model is a {type(model).__name__}; expected a KSparseAutoencoder.")
    run.quiet = True
    run.fit()
    return model


def _optimizer(wanted: settings.Optimizer) -> BaseOptimizer:
    rate, lazy = wanted.learning_rate, wanted.lazy
    match wanted.name:
        case "sgd":
            return SGD(rate, wanted.momentum, lazy=lazy)
        case "rmsprop":
            return RMSprop(rate, lazy=lazy)
        case "adagrad":
            return AdaGrad(rate, lazy=lazy)
        case "adam":
            return Adam(rate, lazy=lazy)


def _k_sparse(
    experiment: settings.Experiment,
    x: np.ndarray,
    rng: np.random.Generator,
    monitor: DeadUnitMonitor,
) -> tuple[KSparseAutoencoder, list[Callback]]:
    wanted = experiment.model
    model = KSparseAutoencoder(
        x.shape[1],
        wanted.n_units,
        TopK(wanted.k, by=wanted.by),
        wanted.activation,
        tied=wanted.tied,
        rng=rng,
    )
    if wanted.start == "data":
        model.init_from_data(x, rng)
    elif wanted.start == "mean":
        model.b_dec[:] = x.mean(axis=0)
    callbacks: list[Callback] = []
    if curriculum := experiment.curriculum:
        fewer = k_curriculum(curriculum.k_start, wanted.k, finish=curriculum.finish)
        callbacks.append(Scheduled(model, "k", fewer))
    if resets := experiment.resets:
        callbacks.append(ResetDeadUnits(monitor, resets.every, resets.until))
    if soft := experiment.selection:
        model.selector = Relaxation(
            soft.name, model.k, soft.temperature, samples=soft.samples, rng=rng
        )
        if soft.end is not None:
            cooling = geometric(soft.temperature, soft.end)
            callbacks.append(Scheduled(model.selector, "temperature", cooling))
    if auxk := experiment.auxk:
        model.auxiliary_losses.append(AuxK(monitor, auxk.k_aux, auxk.weight))
    if diversity := experiment.diversity:
        model.auxiliary_losses.append(DeCov(diversity.weight))
    return model, callbacks


def _dream(
    wanted: settings.Dream, x: np.ndarray, rng: np.random.Generator, monitor: DeadUnitMonitor
) -> tuple[SparseDream, list[Callback]]:
    model = SparseDream(
        x.shape[1],
        wanted.n_units,
        wanted.penalty,
        wanted.sparsity,
        wanted.norm_weight,
        wanted.init,
        images=x,
        inhibition=wanted.inhibition,
        rng=rng,
    )
    callbacks: list[Callback] = []
    if wanted.sparsity_start is not None:
        rising = linear(wanted.sparsity_start, wanted.sparsity, finish=0.5)
        callbacks.append(Scheduled(model, "sparsity", rising))
    if wanted.wake_rate is not None:
        callbacks.append(ReviveDead(monitor, wanted.wake_rate))
    if wanted.frozen:
        callbacks.append(Freeze(model, *wanted.frozen))
    return model, callbacks
