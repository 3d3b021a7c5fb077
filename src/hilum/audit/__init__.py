"""Does a classifier look at disease or at the data set? Each module asks one question, with evidence and a limit."""
