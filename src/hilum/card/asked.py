"""What only people can answer: fields of `notes.Answers`, how a card calls them, and what belongs there."""

ASKED = {
    "patients": ("Patients", "age and sex of the patients behind the films"),
    "devices": ("Devices", "makers and kinds of the devices"),
    "places": ("Places and dates", "hospitals, countries and years of the films"),
    "eligibility": ("Eligibility", "which patients' films were taken up and which left out"),
    "reference_standard": ("Reference standard", "who set the reference standard, when, and how far they agreed"),
    "sample_size": ("Sample size", "why this many films"),
    "subgroups": ("Subgroups", "figures by age, sex and device"),
    "practice": ("Use in practice", "any evaluation where films are read"),
    "ethics": ("Ethics", "approval and consent"),
    "contact": ("Contact", "whom to ask"),
}
"""Asked of every bundle: each has its place on the card, told or blank."""

MORE = {
    "background": ("Background", "why it was made, and what others there are"),
    "users": ("Users", "for which patients, by whom, at which step of care and with what knowledge it is to be used"),
    "fairness": ("Fairness", "known inequalities between groups of people, and what was done about them"),
    "design": ("Design", "whether the films were collected for it or before it"),
    "representativeness": ("Representativeness", "why these sources, and whom they stand for"),
    "deidentification": ("De-identification", "how names and other marks of persons were removed"),
    "missing_data": ("Missing data", "what was missing, and what was done about it"),
    "acquisition": ("Acquisition", "how the films were taken: technique, distance, exposure"),
    "treatments": ("Treatments", "what treatment the patients had before the film, where it matters"),
    "reference_rationale": ("Choice of the reference", "why this reference standard"),
    "annotators": ("Annotators", "training and experience of those who labelled or drew"),
    "blinding": ("Blinding", "what those who set the reference standard did not know"),
    "test_annotation": ("Annotation of test films", "how the films of the figures were annotated"),
    "agreement": ("Agreement", "how far annotators agree with each other and with themselves"),
    "flow": ("Flow", "how many patients and films were left out at which step"),
    "partitions": ("Folds", "patients, films and labels in each of train, tune and test"),
    "selection": ("Choice of the network", "how network and settings were chosen, and among how many"),
    "thresholds": ("Choice of thresholds", "how the thresholds were found"),
    "robustness": ("Robustness", "how far results hold on changed films, other devices and other settings"),
    "explanations": ("Explanations", "how it was examined what the network looks at"),
    "updating": ("Updating", "whether it was changed after it was measured, and what that did"),
    "limitations": ("Limitations", "what the data, their number and the design leave open"),
    "registration": ("Registration", "register and number of the study, or that there is none"),
    "protocol": ("Protocol", "where the study's protocol is, or that there is none"),
    "data_availability": ("Data availability", "where the films and labels can be had"),
    "code_availability": ("Code availability", "where the code that trained and measured it can be had"),
    "involvement": ("Involvement", "whether patients or the public took part"),
}
"""Asked by checklists besides: on the card where told, and among the checklists' blanks where not."""
