"""Training a template model of one's own, from folders of pictures to a model folder.

Only ``network``, ``objective``, ``trainer`` and ``export`` need PyTorch, which the extra ``train`` brings.
"""
