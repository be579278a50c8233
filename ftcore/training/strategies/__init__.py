"""How several processes train one model, one strategy a file: ``train.distributed.strategy`` names it.

``SHARES_ROWS``
    Whether each process reads rows of its own; else all read the same.
``faults(recipe)``
    What it cannot do, as ``(path in the YAML, message)``.
``held(shape, processes)``
    For the plan: what one process holds.
``spread(model, build, train)``
    What the method makes (``build``) of the base, spread over the processes; and what makes a whole model of it again.
``fit(job)``
    The training; returns its figures.
"""
