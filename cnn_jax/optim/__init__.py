"""Update rules and the learning rate: what changes the parameters, and how fast."""
