"""The training that an experiment's settings describe: the one place that reads them."""

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.losses import AuxK, DeCov
from ksae_lab.nn.selectors import Relaxation, TopK
from ksae_lab.training.callbacks import Freeze, InputNoise, Scheduled
from ksae_lab.training.dead_units import DeadUnitMonitor, ResetDeadUnits, ReviveDead
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import SGD, AdaGrad, Adam, RMSprop
from ksae_lab.training.schedules import geometric, k_curriculum, linear


def build(experiment: Experiment, dataset: Dataset) -> Trainer:
    """The training that an experiment describes, ready to go.

    Lab 2.
    """
    rng = np.random.default_rng(experiment.seed)
    x, validation = dataset.x_train, (dataset.x_val,)
    if experiment.fit_on == "train+validation":
        x, validation = np.concatenate([x, dataset.x_val]), None

    rule, length = experiment.optimizer, experiment.training
    rules = {"rmsprop": RMSprop, "adagrad": AdaGrad, "adam": Adam}
    if rule.name == "sgd":
        optimizer = SGD(rule.learning_rate, rule.momentum, lazy=rule.lazy)
    else:
        optimizer = rules[rule.name](rule.learning_rate, lazy=rule.lazy)

    n_units = (experiment.dream or experiment.model).n_units
    monitor = DeadUnitMonitor(n_units, after=length.dead_after or len(x))
    callbacks: list[Callback] = [monitor]
    if length.noise:
        callbacks.append(InputNoise(length.noise))
    if rule.decay_from is not None:
        falling = linear(rule.learning_rate, 0.0, begin=rule.decay_from)
        callbacks.append(Scheduled(optimizer, "learning_rate", falling))
    network = _dream if experiment.dream else _k_sparse
    model, own = network(experiment, x, rng, monitor)
    return Trainer(
        model,
        (x,),
        optimizer,
        length.epochs,
        length.batch_size,
        rng,
        validation=validation,
        callbacks=[*callbacks, *own],
    )


def _k_sparse(
    experiment: Experiment, x: np.ndarray, rng: np.random.Generator, monitor: DeadUnitMonitor
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
    if plan := experiment.curriculum:
        fewer = k_curriculum(plan.k_start, wanted.k, finish=plan.finish)
        callbacks.append(Scheduled(model, "k", fewer))
    if plan := experiment.resets:
        callbacks.append(ResetDeadUnits(monitor, plan.every, plan.until))
    if plan := experiment.selection:
        model.selector = Relaxation(
            plan.name, model.k, plan.temperature, samples=plan.samples, rng=rng
        )
        if plan.end is not None:
            cooling = geometric(plan.temperature, plan.end)
            callbacks.append(Scheduled(model.selector, "temperature", cooling))
    if term := experiment.auxk:
        model.auxiliary_losses.append(AuxK(monitor, term.k_aux, term.weight))
    if term := experiment.diversity:
        model.auxiliary_losses.append(DeCov(term.weight))
    return model, callbacks


def _dream(
    experiment: Experiment, x: np.ndarray, rng: np.random.Generator, monitor: DeadUnitMonitor
) -> tuple[SparseDream, list[Callback]]:
    wanted = experiment.dream
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
