"""Kernels: what runs for each call at each tick, compiled to machine code. Plain Python to a reader.

`declare` says what a kernel is; `compile` makes an object file of them, once, in a process of its own, which
alone imports numba; `library` finds that file and calls into it. With NUMBA_DISABLE_JIT=1 they run as Python.
"""
