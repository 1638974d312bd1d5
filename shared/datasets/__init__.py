"""Training sets: samples around events, cut from a frozen batch or an archive by a process of its own."""
