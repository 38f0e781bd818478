"""Decision trees: questions, answers, and which answers lead to which question."""
