"""A trial of which only the name counts, for what is stored under it."""

from llfc.specs import Pair, Recipe, Trial

PAIR = Pair(
    architecture="vgg11",
    width=1,
    norm="batch",
    dataset="made",
    limit_train=None,
    seed=0,
    spawn_epoch=None,
    recipe=Recipe(epochs=1, batch_size=1, optimizer="sgd", lr=0.1),
)
TRIAL = Trial(pair=PAIR, matching="weights")
