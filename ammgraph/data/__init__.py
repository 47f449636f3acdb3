"""Images, labels and who gets them: data sets as tensors, their splits and labelled subsets, batches of indices."""
