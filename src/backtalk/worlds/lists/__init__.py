"""Lists world: words to sort or remove, chores to order."""
