"""What ``fedsim`` itself offers a program: run, verify, train, and their results as tables.

Import from ``fedsim``, which loads a name when it is used; this package is where they are kept.
Nothing here prints, unless it is asked to, and nothing but :func:`fedsim.verify` and
:func:`fedsim.train` needs torch.
"""
