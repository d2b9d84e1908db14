"""Alert rules as a typed list, and the files that follow from it."""
