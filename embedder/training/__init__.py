"""Training models of one's own, from folders of pictures to a model folder.

Only ``network``, ``objective``, ``trainer``, ``export`` and ``classifier`` need PyTorch, which the extra
``train`` brings.
"""
