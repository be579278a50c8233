"""How several processes train one model, one strategy a file: ``train.distributed.strategy`` names it."""
