"""Simulated chest radiographs, made from one real CT, whose truth is known exactly.

`volume` finds and prepares the CT, `anatomy` draws patients, `lesions` puts disease into their lungs, `optics` turns
them into films, `sites` and `shortcuts` say how hospitals differ, `cohort` writes data sets, `sheet` shows them.
"""
