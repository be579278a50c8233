"""What a recipe may say of ``ppo``, for the kind and for its trainer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftcore.training.methods._reinforcement import Reinforced


class PpoSettings(Reinforced):
    """Clipped policy gradients with a value head."""

    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Clip range of a token's probability ratio in a step."""
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    """Clip range of the value estimates in a step."""
    value_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the value head's squared error in the loss."""
    kl: Annotated[float, Field(ge=0)] = 0.05
    """Penalty on the reward for each nat by which a token is likelier than to the reference."""
    discount: Annotated[float, Field(gt=0, le=1)] = 1
    """What a reward one token later is worth: γ."""
    gae: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Trust in rewards that came against values that were estimated: λ of generalised advantage estimation."""
    passes: Annotated[int, Field(ge=1)] = 2
    """Optimization epochs over the answers of a batch."""
    minibatch: Annotated[int, Field(ge=1)] = 8
    """Answers of an optimiser step; a batch is ``train.batch_size`` prompts with an answer each."""
