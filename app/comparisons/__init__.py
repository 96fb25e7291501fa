"""Models trained again without some passages, each beside the model of the whole corpus."""
