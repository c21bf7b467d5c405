"""Training models of one's own, from folders of pictures to a model folder.

Only ``nets`` needs PyTorch, which the extra ``train`` brings.
"""
