"""What a network computes on the way to its logits; the networks themselves need not change."""
