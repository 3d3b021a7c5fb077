"""Results for people: self-contained pages, figures and terminal tables. Nothing here computes a result."""
