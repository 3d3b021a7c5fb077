"""Does a classifier look at disease or at the data set? Each module asks one kind of question, with evidence.

    subject     what is audited: films, labels, folds, predictions
    runs        ... of a run of hilum, or its bundle on other films
    given       ... of anybody's model: a CSV of its scores
    check       what a check asks and answers, and how it is judged
    questions   the 23 questions and their limits
    chance      permutation nulls
    probes      small classifiers of the audit's own, on films without lungs, on lungs alone, without a source
    frozen      the audited bundle on films that were changed, `changes`: how, and `asking`: what it says
    saliency    where its maps lie
    gate        pictures that its input gate should refuse
    lungless    films with their lungs hidden
    sampling    some of the films, where all would cost too much
    areas       what is left of an AUROC
    table       which function answers which question, and what it needs to know
    running     all of them, in order, to be continued where they were interrupted
    result      the audit: findings, verdict, headline
    attached    ... that goes along with a bundle, and the line in which score and verdict stand together

Nothing here needs torch but `runs` and the checks that ask a network.
"""
