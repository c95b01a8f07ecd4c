"""Methods judged where the truth is known: noise is planted into labels that are right."""
