"""Processes that wait for each other: without that, one may have done all of a little before the other has started."""

MEET = '''
import os
import time

def meet(folder):
    """Wait until two processes have left their mark in this folder."""
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 30
    while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.01)
'''
"""Source to begin a module with that other processes import."""
