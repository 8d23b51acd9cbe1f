"""What other programs call ganzoo's settings; only hints use it."""

from __future__ import annotations

import re

__all__ = ["synonyms"]


def synonyms(word: str) -> tuple[tuple[str, ...], ...]:
    """Return the settings, or options of their components, that other programs call so.

    A path is a setting, or a setting and an option of its components, or a setting, the component
    that has the option, and the option.
    """
    key = re.sub(r"[-_. ]", "", word.casefold())
    return tuple(tuple(path.split(".")) for path in _SYNONYMS.get(key, ()))


_SYNONYMS = {
    word: tuple(paths.split())
    for paths, words in {
        "g_optimizer.lr d_optimizer.lr": "lr learningrate rate baselr",
        "g_optimizer.lr": "glr lrg generatorlr lrgenerator",
        "d_optimizer.lr": "dlr lrd discriminatorlr criticlr lrdiscriminator",
        "g_optimizer d_optimizer": "optimizer optim optimiser opt",
        "g_optimizer.betas d_optimizer.betas": "betas beta1 beta2 b1 b2 adambetas",
        "g_optimizer.weight_decay d_optimizer.weight_decay": "weightdecay",
        "batch_size": "batch bs bsize minibatch",
        "steps": "iterations iters niter niters maxiter maxiters maxsteps totalsteps",
        "epochs": "nepochs numepochs maxepochs",
        "d_steps": "ncritic criticiters diters nd ndis",
        "g_steps": "giters ngen",
        "latent": "z nz zdim dimz latentdim latentsize noise noisedim",
        "size": "imagesize imgsize imsize resolution res cropsize loadsize",
        "workers": "numworkers nworkers threads jobs",
        "dataset": "data dataroot datapath datadir datafolder images",
        "arch": "model architecture net network gan",
        "loss": "criterion objective lossfunction ganmode losstype",
        "schedule": "scheduler lrscheduler lrschedule lrpolicy",
        "device": "gpu gpus gpuid gpuids cuda usecuda cpu",
        "precision": "amp fp16 fp32 bf16 half mixedprecision dtype",
        "average.decay": "ema emabeta emadecay averaging",
        "average.half-life.images": "emahalflife emakimg emaimages",
        "average.half-life.ramp": "emaramp emarampup",
        "clip_grad": "gradclip clip clipnorm maxgradnorm gradientclipping",
        "checkpoint_every": "saveevery savefreq saveinterval snap ckptevery",
        "log_every": "logfreq loginterval printevery printfreq",
        "sample_every": "sampleinterval samplefreq displayfreq",
        "evaluate_every": "evalevery evalfreq fidevery",
        "out": "outputdir outputfolder savedir savepath logdir resultsdir rundir",
        "conditional": "cond classconditional classes",
        "seed": "randomseed manualseed rng",
        "init_from": "pretrained initweights warmstart transfer",
        "trackers": "logger tensorboard tracker",
        "patience": "earlystopping earlystop",
        "metrics": "metric scores",
        "resize_mode": "fit resize preprocess",
    }.items()
    for word in words.split()
}
"""By words without hyphens: settings, or options of their components."""
