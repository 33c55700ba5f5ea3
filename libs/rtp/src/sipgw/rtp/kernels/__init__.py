"""Kernels: the functions that run for each call at each tick, written in Python, compiled to machine code.

`declare` defines kernels; `compile` makes an object file of them, once, in a process of its own, which
alone imports numba; `library` finds that file and calls into it. With NUMBA_DISABLE_JIT=1 they run as Python.
"""
