"""The relay's hot path as kernels (`sipgw.rtp.kernels`): the functions that run for each row at each tick.

Nothing of sipgw is imported but kernels: their sources name the object file.
"""
