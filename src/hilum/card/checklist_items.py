"""The items of two reporting checklists, and which places of a card answer each; `checklists` says which editions.

A row is a number, a topic in our own words, and the parts that have to be told; `paper` alone for an item about a
manuscript. A part is what is asked and where a card may tell it; one that asks nothing tells more where it can.
"""

from dataclasses import dataclass

from hilum.card import places
from hilum.card.asked import ASKED, MORE
from hilum.card.places import Place, always, answer, cells, checked, fact, pairs, written

PAPER = "paper"
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked, and where on a card it may be told."""

    asked: str
    places: tuple[Place, ...]


PARTS = {key: Part(asked, (answer(key),)) for key, (_, asked) in (ASKED | MORE).items()} | {
    "intended use": Part("what it is for", (fact("use", "Intended use"),)),
    "misuse": Part("", (fact("use", "Misuse"),)),
    "views": Part("", (fact("input", "Views"),)),
    "sources": Part("which sources the films come from", (cells("data", "Sources trained on"),)),
    "labels by": Part(
        "who gave the labels or drew the masks of each source",
        (cells("data", "Sources trained on", "labels or masks by"),),
    ),
    "licences": Part("", (cells("data", "Sources trained on", "licence of its films"),)),
    "films": Part("films trained on", (fact("data", "Films trained on"), cells("data", "Sources trained on", "films"))),
    "meanings": Part("what each label means", (cells("what", "Meaning of each", "meaning"),)),
    "frame": Part("how a film becomes the network's input", (fact("input", "Frame"), fact("input", "Steps before"))),
    "channels": Part("how its grey levels are scaled", (fact("input", "Channels"),)),
    "region": Part("which part of a film is used", (fact("input", "Part of the film"),)),
    "same for all": Part("", (always("The same steps for every film"),)),
    "pixels": Part("what it predicts from", (always("The film's pixels and nothing else"),)),
    "judged": Part("who drew the masks that the input is cut by", (places.unjudged,)),
    "refused": Part("which films it refuses", (fact("input", "Refused"),)),
    "limits": Part("", (cells("input", "Plausible limits"),)),
    "subset": Part("which of the sources' films were taken", (written("films"), answer("eligibility"))),
    "split": Part("how films were split into train, tune and test", (fact("recipe", "Split"),)),
    "level": Part(
        "what the split keeps together: patients, films, sources", (places.level, checked("groups-across-folds"))
    ),
    "network": Part("which network", (fact("recipe", "Network"), fact("recipe", "Encoder"))),
    "output": Part("what comes out", (fact("what", "Kind"),)),
    "software": Part("libraries and their versions", (pairs("origin", "Versions"),)),
    "start": Part("from which weights training started", (fact("recipe", "Starting weights"),)),
    "training": Part(
        "loss, optimiser, steps and learning rate",
        tuple(
            fact("recipe", name) for name in ("Loss", "Optimiser", "Epochs, at most", "Films a step", "Learning rate")
        ),
    ),
    "augmentation": Part("how films were varied in training", (written("augmentation"),)),
    "one network": Part("whether networks are put together", (always("One network: a bundle holds no more"),)),
    "weighting": Part(
        "whether rare classes were weighted or repeated", (written("schedule.class_weights", "oversampling.copies"),)
    ),
    "metrics": Part("by which metrics it was measured", (places.metrics,)),
    "intervals": Part("an interval for every figure", (places.intervals,)),
    "performance": Part("figures on films kept out of training", (places.performance,)),
    "decided": Part("figures of what it decides, with intervals", (places.decided,)),
    "inside": Part("figures on new films of the sources trained on", (places.inside,)),
    "outside": Part("figures of this bundle on films of another source", (places.outside,)),
    "elsewhere": Part("", (places.elsewhere,)),
    "by source": Part("figures by source, some kept out of training", (places.by_source, checked("unseen-source"))),
    "counted": Part("films and groups of every figure", (places.counted,)),
    "differences": Part("how the films of each figure differ from those trained on", (places.differences,)),
    "dates": Part("first and last year of the films", (places.dates,)),
    "failures": Part("examples of failures", (places.failures,)),
    "reasons": Part("why each of them fails", (places.reasons,)),
    "robustness": Part(MORE["robustness"][1], (answer("robustness"), checked("perturbation", "seeds"))),
    "explanations": Part(
        MORE["explanations"][1],
        (answer("explanations"), checked("lungs-out", "saliency-in-lungs", "saliency-on-lesions")),
    ),
    "audit": Part("", (fact("audit", "Verdict"),)),
    "clean": Part("", (checked("hygiene", "duplicates"),)),
    "attributes": Part("", (checked("attributes"),)),
    "decides": Part("", (fact("what", "Decides"),)),
    "points": Part(
        "how its thresholds were found", (cells("figures", "Operating points"), places.highest, answer("thresholds"))
    ),
    "calibration": Part("", (fact("figures", "Calibration"),)),
    "recipe": Part("the whole of what training was told", (places.recipe,)),
    "protocol, if any": Part("", (answer("protocol"),)),
    "practice, if any": Part("", (answer("practice"),)),
    "tool": Part(
        "how predictions are made", (always("By hilum, with the frame, network and thresholds of the bundle"),)
    ),
    "bundle": Part("where the trained network is", (always("The bundle is the trained network"),)),
    "weights": Part("the trained network itself", (cells("origin", "Files"),)),
    "restrictions": Part("", (fact("use", "Licences of its films"),)),
}
"""Part -> what is asked and where it may be told; those of `notes.Answers` go by the same keys."""

CLAIM: tuple[Row, ...] = (
    ("1", "Title or abstract names the technology", PAPER),
    ("2", "Abstract", PAPER),
    ("3", "Background and intended role", "intended use", "background"),
    ("4", "Aims and hypotheses", PAPER),
    ("5", "Prospective or retrospective", "design"),
    ("6", "Goal of the study", PAPER),
    ("7", "Sources of data", "sources"),
    ("8", "Who was taken up and who left out", "eligibility", "views"),
    ("9", "Preprocessing", "frame", "channels"),
    ("10", "Choice of parts of the data", "region", "subset"),
    ("11", "De-identification", "deidentification"),
    ("12", "Missing data", "missing_data"),
    ("13", "How images were acquired", "devices", "acquisition", "views"),
    ("14", "What the reference standard is", "meanings", "reference_standard"),
    ("15", "Why this reference standard", "reference_rationale"),
    ("16", "Who annotated", "labels by", "annotators"),
    ("17", "Annotation of the test set", "test_annotation"),
    ("18", "Agreement of annotators", "agreement"),
    ("19", "Assignment to partitions", "split"),
    ("20", "What no two partitions share", "level"),
    ("21", "Intended sample size", "sample_size"),
    ("22", "The network in detail", "network", "frame", "output"),
    ("23", "Software", "software"),
    ("24", "Starting weights", "start"),
    ("25", "Training", "training", "augmentation"),
    ("26", "Choice of the final network", "selection"),
    ("27", "Ensembles", "one network"),
    ("28", "Metrics", "metrics"),
    ("29", "Uncertainty", "intervals"),
    ("30", "Robustness", "robustness"),
    ("31", "Explanations", "explanations"),
    ("32", "Testing on the sources trained on", "inside"),
    ("33", "Testing on other sources", "outside", "elsewhere"),
    ("34", "Registration", "registration"),
    ("35", "Numbers taken up and left out", "films", "flow"),
    ("36", "Patients of each partition", "patients", "partitions"),
    ("37", "Performance with its uncertainty", "performance", "intervals"),
    ("38", "Diagnostic performance with its precision", "decided"),
    ("39", "Analysis of failures", "failures", "reasons", "audit"),
    ("40", "Limitations", "limitations", "misuse", "audit"),
    ("41", "What it means for practice", "intended use", "users", "misuse", "practice, if any"),
    ("42", "Protocol or technical details", "recipe", "protocol, if any"),
    ("43", "Availability of network, code and data", "bundle", "code_availability", "data_availability", "licences"),
    ("44", "Funding", PAPER),
)

TRIPOD_AI: tuple[Row, ...] = (
    ("1", "Title", PAPER),
    ("2", "Abstract", PAPER),
    ("3a", "Context and reasons", "background"),
    ("3b", "Whom it is for", "intended use", "users"),
    ("3c", "Known inequalities in health", "fairness"),
    ("4", "Objectives", PAPER),
    ("5a", "Sources of data", "sources", "counted", "representativeness"),
    ("5b", "Dates", "dates"),
    ("6a", "Setting and centres", "places"),
    ("6b", "Eligibility", "eligibility", "views"),
    ("6c", "Treatments", "treatments"),
    ("7", "Preparation and quality of the data", "frame", "refused", "same for all", "clean"),
    ("8a", "What is predicted", "meanings", "reference_standard", "reference_rationale"),
    ("8b", "Who judged the outcome", "labels by", "annotators"),
    ("8c", "Blinding of the outcome", "blinding"),
    ("9a", "Choice of predictors", "pixels"),
    ("9b", "Predictors and how they were measured", "frame", "devices", "acquisition"),
    ("9c", "Who judged the predictors", "judged"),
    ("10", "Sample size", "sample_size"),
    ("11", "Missing data", "missing_data"),
    ("12a", "Use of the data: development and evaluation", "split"),
    ("12b", "How predictors enter", "frame", "channels"),
    ("12c", "Kind of model and how it was built", "network", "training", "split", "selection"),
    ("12d", "How differences between clusters were looked at", "by source"),
    ("12e", "Measures of performance", "metrics"),
    ("12f", "Updating after evaluation", "updating"),
    ("12g", "How predictions were made", "tool"),
    ("13", "Class imbalance", "weighting", "calibration"),
    ("14", "Fairness", "fairness", "attributes"),
    ("15", "Output and thresholds", "output", "points", "decides"),
    ("16", "Training against evaluation data", "differences"),
    ("17", "Ethical approval", "ethics"),
    ("18a", "Funding", PAPER),
    ("18b", "Conflicts of interest", PAPER),
    ("18c", "Protocol", "protocol"),
    ("18d", "Registration", "registration"),
    ("18e", "Data sharing", "data_availability", "licences"),
    ("18f", "Code sharing", "code_availability"),
    ("19", "Patients and public", "involvement"),
    ("20a", "Flow of participants", "films", "flow"),
    ("20b", "Characteristics of participants", "films", "patients", "dates"),
    ("20c", "Development and evaluation films side by side", "partitions"),
    ("21", "Numbers in each analysis", "films", "counted", "partitions"),
    ("22", "The full model", "weights", "recipe", "restrictions"),
    ("23a", "Performance, also of subgroups", "performance", "intervals", "subgroups"),
    ("23b", "Differences between clusters", "by source"),
    ("24", "Results of updating", "updating"),
    ("25", "Interpretation", PAPER),
    ("26", "Limitations", "limitations", "misuse", "audit"),
    ("27a", "Poor or missing input", "refused", "limits"),
    ("27b", "What users do and must know", "users"),
    ("27c", "Next steps", PAPER),
)
