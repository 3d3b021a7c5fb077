"""Reader: one film in, an answer a person can trust, or a refusal with its reason.

reading     what is told of a film
decoding    a film as large as each network needs it, decoded as few times as can be
loading     classifiers with what is attached to them
chain       gate, lungs, lesions, classifiers: `Reader`
answering   a probability, its interval, and when not to decide
looking     exposure, contrast, size: what speaks against believing a film
mapping     where on the film a classifier finds what raises its label
plain       a reading for machines
drawing     a reading drawn on its film
folder      many films
"""

from hilum.reader.chain import Reader
from hilum.reader.decoding import Decoded, decode
from hilum.reader.drawing import annotated, annotated_name
from hilum.reader.folder import read_films
from hilum.reader.plain import as_json
from hilum.reader.reading import Answer, Held, Outcome, Policy, Reading, Refusal

__all__ = [
    "Answer",
    "Decoded",
    "Held",
    "Outcome",
    "Policy",
    "Reader",
    "Reading",
    "Refusal",
    "annotated",
    "annotated_name",
    "as_json",
    "decode",
    "read_films",
]
