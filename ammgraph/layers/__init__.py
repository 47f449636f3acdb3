"""What rows of layer tables are made of: activations, operations, poolings, initial weights. One entry each."""
